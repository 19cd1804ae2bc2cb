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
        values = _numbers(self._codes)
        if self._scales is not None:
            values = values.unflatten(0, (-1, BLOCK)).mul_(self._scales.float()[:, None]).flatten()
        return values[: self._length].to(self._dtype)


def _numbers(codes: Tensor) -> Tensor:
    """The codes as fp32. A processor has torch convert them one by one; by way of fp16 is several times faster."""
    if codes.device.type != "cpu":
        return codes.float()
    if codes.dtype is torch.float8_e5m2:  # the upper half of an fp16 number
        return codes.view(torch.uint8).to(torch.int16).bitwise_left_shift_(8).view(torch.float16).float()
    # One exponent bit less, so the fraction starts one place lower, and a bias less by 8; subnormals become normal
    # with it. The code of a NaN is then 480 and the only one above 448.
    bits = codes.view(torch.int8).to(torch.int16)
    signs = bits & -0x8000
    numbers = bits.bitwise_left_shift_(7).bitwise_and_(0x3F80).bitwise_or_(signs).view(torch.float16).float().mul_(256)
    return numbers.masked_fill_(numbers.abs() > 448, torch.nan) if bool(numbers.amax() > 448) else numbers
