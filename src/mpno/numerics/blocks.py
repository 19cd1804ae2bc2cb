"""Microscaling: blocks of values on the last axis that share a power-of-two scale.

Source: OCP Microscaling Formats Specification 1.0 (2023), sections 5.2 (blocks of 32, E8M0 scale) and 6.3 (conversion).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mpno.numerics.elementwise import binade
from mpno.specs import Format
from mpno.specs.formats import BLOCK, SCALE_BIAS


def round_blocks(x: Tensor, element: Format, round_elements: Callable[[Tensor, Format], Tensor]) -> Tensor:
    """Round each block with the scale 2^(floor(log2 m) - top), m its largest magnitude, top the element's exponent.

    Scaled values beyond the element's maximum are clamped to it. A block whose scale would exceed the largest becomes
    NaN, as does one that holds an infinity or a NaN: the scale has a NaN for that. A row's last block may be shorter.
    """
    if not x.numel():
        return x
    length = x.shape[-1] if x.dim() else 1
    missing = -length % BLOCK
    rows = torch.nn.functional.pad(x.reshape(-1, length), (0, missing)) if missing else x
    blocks = rows.reshape(-1, (length + missing) // BLOCK, BLOCK)
    scale = _scales(blocks, element)
    elements = (blocks / scale).clamp_(-element.max, element.max)
    rounded = round_elements(elements, element).mul_(scale).flatten(1)
    return rounded[:, :length].reshape(x.shape)


def _scales(blocks: Tensor, element: Format) -> Tensor:
    scale = binade(blocks.abs().amax(-1, keepdim=True)).mul_(2.0**-element.top).clamp_(min=2.0**-SCALE_BIAS)
    return torch.where(scale <= 2.0**SCALE_BIAS, scale, torch.nan)
