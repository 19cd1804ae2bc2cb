"""What the backward pass needs of a tensor in eight bits: codes of a byte, and a scale for every block of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mpno.numerics.blocks import scales
from mpno.specs import get_format
from mpno.specs.formats import BLOCK

CODES: dict[str, torch.dtype] = {
    "fp8_e4m3": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}
PIECE = 2**22


class Packed:
    """Numbers as a byte each, in a format of :data:`mpno.specs.names.SAVED`; a block format has a byte more per block.

    Blocks are of neighbours in memory, whatever the axes, so that no block is short but the last.

    Args:
        values: (n,), of any float dtype, which they get back.
        format: the name of the format.

    Attributes:
        nbytes: what is kept.
    """

    def __init__(self, values: Float[Tensor, " n"], format: str) -> None:
        fmt = get_format(format)
        element = fmt.element or fmt
        self._length, self._dtype = len(values), values.dtype
        count = math.ceil(len(values) / BLOCK)
        codes = CODES[element.name.removesuffix("_sat")]
        self._codes = values.new_empty(count * BLOCK, dtype=codes)
        self._scales = values.new_empty(count, dtype=torch.float8_e8m0fnu) if fmt.element else None
        for first in range(0, len(values), PIECE):
            part = values[first : first + PIECE].float()
            blocks = torch.nn.functional.pad(part, (0, -len(part) % BLOCK)).unflatten(0, (-1, BLOCK))
            if self._scales is not None:
                scale = scales(blocks, fmt)
                blocks = blocks / scale
                self._scales[first // BLOCK :][: len(scale)] = scale.flatten().to(torch.float8_e8m0fnu)
            rounded = blocks.clamp(-element.max, element.max).flatten()
            self._codes[first : first + len(rounded)] = rounded.to(codes)

    @property
    def nbytes(self) -> int:
        return self._codes.nbytes + (0 if self._scales is None else self._scales.nbytes)

    def unpack(self) -> Any:
        """The numbers, (n,), rounded to the format."""
        values = self._codes.float()
        if self._scales is not None:
            values = values.unflatten(0, (-1, BLOCK)).mul_(self._scales.float()[:, None]).flatten()
        return values[: self._length].to(self._dtype)
