"""A model of a step's time on a card: every operation by the bytes it moves or the arithmetic it does.

An operation takes as long as the slower of the two, and a launch; a step takes as long as its operations one after the
other, or as the host needs to ask for them. What it does not know: caches, the shape of tiles, fusion by a compiler,
how well a library's kernel fits a shape, clocks that fall under load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from mpno.measurement.cards import BANDWIDTH_SHARE, HOST, LAUNCH, RATE_SHARE, Card

FORMATS = {
    torch.float32: "fp32", torch.complex64: "fp32", torch.float16: "fp16", torch.complex32: "fp16",
    torch.bfloat16: "bf16",
}  # fmt: skip
_ATEN = torch.ops.aten
_TRANSFORMS = {_ATEN._fft_r2c: 2.5, _ATEN._fft_c2c: 5.0, _ATEN._fft_c2r: 2.5}
"""Operations of a transform of n points over n log2 n: five of a complex one, half for a real one."""


@dataclass(frozen=True)
class Operation:
    """What one kernel does.

    Attributes:
        name: of the aten operation.
        bytes: read and written.
        flops: floating-point operations.
        product: whether they are a matrix product's, which has units of its own in low formats.
        format: of its operands.
    """

    name: str
    bytes: int
    flops: int
    product: bool
    format: str

    def seconds(self, card: Card) -> float:
        """On a card."""
        rate = card.rate(self.format) if self.product else card.rate("fp32")
        work = max(self.bytes / (BANDWIDTH_SHARE * card.bandwidth), self.flops / (RATE_SHARE * rate))
        return work + LAUNCH


def trace_costs(step: Callable[[], object]) -> list[Operation]:
    """The operations of `step`, which runs on meta tensors, in their order. Views cost nothing."""
    with _Costs() as costs:
        step()
    return costs.operations


def predict_seconds(operations: Sequence[Operation], card: Card) -> float:
    """Seconds of a step, by the model."""
    return max(sum(operation.seconds(card) for operation in operations), HOST * len(operations))


def by_kind(operations: Iterable[Operation], card: Card) -> dict[str, float]:
    """Seconds of products, transforms and everything else, as the device takes them."""
    seconds: dict[str, float] = dict.fromkeys(("products", "transforms", "elementwise"), 0.0)
    for operation in operations:
        kind = "products" if operation.product else "transforms" if "_fft_" in operation.name else "elementwise"
        seconds[kind] += operation.seconds(card)
    return seconds


class _Costs(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_iter((args, kwargs or {})) if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_iter(out) if isinstance(leaf, Tensor)]
        inside = {tensor.untyped_storage()._cdata for tensor in given}
        written = [t for t in made if t.untyped_storage()._cdata not in inside or func._schema.is_mutable]
        if not written or func.overloadpacket in (_ATEN.empty, _ATEN.empty_like, _ATEN.new_empty, _ATEN.empty_strided):
            return out
        flops, product = self._flops(func, args, kwargs or {}, given, out)
        operands = [t for t in given if t.dtype in FORMATS]
        format = FORMATS[operands[0].dtype] if operands else "fp32"
        moved = sum(_touched(tensor) for tensor in (*given, *written))
        self.operations.append(Operation(str(func.overloadpacket), moved, flops, product, format))
        return out

    @staticmethod
    def _flops(func: Any, args: Any, kwargs: Any, given: Sequence[Tensor], out: Any) -> tuple[int, bool]:
        packet = func.overloadpacket
        if packet in flop_registry:
            complex_numbers = any(tensor.is_complex() for tensor in given)
            return flop_registry[packet](*args, **kwargs, out_val=out) * (4 if complex_numbers else 1), True
        if packet in _TRANSFORMS:
            points = math.prod(max(given[0].shape[d], out.shape[d]) for d in args[1])
            count = max(given[0].numel(), out.numel()) / points
            return int(_TRANSFORMS[packet] * count * points * math.log2(max(2, points))), False
        return sum(t.numel() for t in tree_iter(out) if isinstance(t, Tensor)), False


def _touched(tensor: Tensor) -> int:
    """Bytes of the distinct elements: an expanded axis is read once."""
    distinct = math.prod(n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return distinct * tensor.element_size()
