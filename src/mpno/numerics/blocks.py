"""Microscaling: blocks of values on the last axis that share a power-of-two scale.

Source: OCP Microscaling Formats Specification 1.0 (2023): MXFP8 has blocks of 32 and an E8M0 scale.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mpno.numerics.elementwise import PIECE, binade, largest_magnitude, unsigned_nearest_
from mpno.specs import Format
from mpno.specs.formats import BLOCK, SCALE_BIAS


def round_blocks(x: Tensor, fmt: Format, chance: Callable[[Tensor, Format], Tensor] | None = None) -> Tensor:
    """Round each block with the scale 2^(floor(log2 m) - top), m its largest magnitude, top the element's exponent.

    Scaled values beyond the element's maximum are clamped to it; in a format that does not clamp, a block that has any
    takes the next larger scale. A block whose scale would exceed the largest becomes
    NaN, as does one that holds an infinity or a NaN: the scale has a NaN for that. A row's last block may be shorter.
    Elements are rounded to nearest, ties to even, or by `chance`.
    """
    element = fmt.element
    if not x.numel() or element is None:
        return x
    length = x.shape[-1] if x.dim() else 1
    missing = -length % BLOCK if length > BLOCK else 0
    rows = x.reshape(-1, length)
    rounded = torch.empty_like(rows)
    count = max(1, PIECE // length) if x.device.type == "cpu" else len(rows)
    for source, target in zip(rows.split(count), rounded.split(count), strict=True):
        padded = torch.nn.functional.pad(source, (0, missing)) if missing else source
        blocks = padded.unflatten(-1, (-1, min(length, BLOCK)))
        scale = scales(blocks, fmt)
        elements = torch.div(blocks, scale, out=None if missing else target.view(blocks.shape))
        elements.clamp_(-element.max, element.max)
        # Nothing overflows once clamped, and the sign of zero comes back with that of the values.
        elements = chance(elements, element) if chance else unsigned_nearest_(elements, element)
        torch.copysign(elements.mul_(scale), blocks, out=elements)
        if missing or chance:
            target.copy_(elements.flatten(1)[:, :length])
    return rounded.reshape(x.shape)


def scales(blocks: Tensor, fmt: Format) -> Tensor:
    """The scale of each block, NaN where it has none; the last axis is the block's, and is kept."""
    element = fmt.element
    assert element is not None
    largest = largest_magnitude(blocks)
    scale = binade(largest).mul_(2.0**-element.top).clamp_(min=2.0**-SCALE_BIAS)
    if not fmt.clamps:
        scale = torch.where(largest > element.max * scale, 2 * scale, scale)
    return torch.where(scale <= 2.0**SCALE_BIAS, scale, torch.nan)
