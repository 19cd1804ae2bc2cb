"""A model of a step's time on a card: every operation by the bytes it moves or the arithmetic it does.

An operation takes as long as the slower of the two, and its launches; a step takes as long as its operations one after
the other, or as the host needs to ask for them. What it does not know: caches, the shape of tiles, fusion by a
compiler, how well a library's kernel fits a shape, clocks that fall under load.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from mpno.measurement.cards import BANDWIDTH_SHARE, HOST, LAUNCH, RATE_SHARE, Card

Kind = Literal["products", "transforms", "elementwise"]
Phase = Literal["forward", "backward", "optimiser"]

FORMATS = {
    torch.float32: "fp32", torch.complex64: "fp32", torch.float16: "fp16", torch.complex32: "fp16",
    torch.bfloat16: "bf16",
}  # fmt: skip
_ATEN = torch.ops.aten
_TRANSFORMS = {_ATEN._fft_r2c: 2.5, _ATEN._fft_c2c: 5.0, _ATEN._fft_c2r: 2.5}
"""Operations of a transform of n points over n log2 n: five of a complex one, half for a real one."""
_ALLOCATIONS = {
    _ATEN.empty, _ATEN.empty_like, _ATEN.new_empty, _ATEN.empty_strided, _ATEN.new_empty_strided, _ATEN.empty_permuted,
}  # fmt: skip
_CONSTANTS = {_ATEN.zeros_like, _ATEN.new_zeros, _ATEN.ones_like, _ATEN.new_ones, _ATEN.full_like, _ATEN.new_full}
"""Take a tensor for its shape and dtype, and read none of it."""
_OVERWRITES = {_ATEN.copy_, _ATEN.fill_, _ATEN.zero_}
"""Change a tensor without reading it."""
_PLACED = {_ATEN.slice_backward, _ATEN.select_backward}
"""Fill a tensor with zeros, then copy the gradient into its place."""


@dataclass(frozen=True)
class Operation:
    """What one operation does.

    Attributes:
        name: of the aten operation.
        bytes: read and written.
        flops: floating-point operations.
        kind: products have units of their own in low formats.
        format: of its operands.
        phase: in which it was asked for; what is computed again belongs to the backward pass.
        launches: of kernels.
    """

    name: str
    bytes: int
    flops: int
    kind: Kind
    format: str
    phase: Phase = "forward"
    launches: int = 1

    def seconds(self, card: Card) -> float:
        """On a card."""
        rate = card.rate(self.format if self.kind == "products" else "fp32")
        work = max(self.bytes / (BANDWIDTH_SHARE * card.bandwidth), self.flops / (RATE_SHARE * rate))
        return work + LAUNCH * self.launches


def trace_costs(step: Callable[[], object]) -> list[Operation]:
    """The operations of `step`, which runs on meta tensors and has one backward pass, in their order.

    Views and allocations cost nothing. What the optimiser does tensor by tensor here it does on a GPU to all of them at
    once, so that its operations of one name count as one.
    """
    with _Costs() as costs, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ComplexHalf support is experimental")  # shapes alone are asked of it
        step()
    return _at_once(costs.operations)


def predict_seconds(operations: Sequence[Operation], card: Card) -> float:
    """Seconds of a step, by the model."""
    device = sum(operation.seconds(card) for operation in operations)
    return max(device, HOST * sum(operation.launches for operation in operations))


def in_tf32(operations: Iterable[Operation]) -> list[Operation]:
    """The same with products of fp32 rounded to TF32, as torch does where it is allowed."""
    return [
        replace(operation, format="tf32") if (operation.kind, operation.format) == ("products", "fp32") else operation
        for operation in operations
    ]


def by_kind(operations: Iterable[Operation], card: Card) -> dict[Kind, float]:
    """Seconds of the device by what the operations are."""
    return _sums(((operation.kind, operation.seconds(card)) for operation in operations), get_args(Kind))


def by_phase(operations: Iterable[Operation], card: Card) -> dict[Phase, float]:
    """Seconds of the device by when the operations were asked for."""
    return _sums(((operation.phase, operation.seconds(card)) for operation in operations), get_args(Phase))


def _sums(pairs: Iterable[tuple[Any, float]], names: tuple[Any, ...]) -> dict[Any, float]:
    found: dict[Any, float] = dict.fromkeys(names, 0.0)
    for name, value in pairs:
        found[name] += value
    return found


def _at_once(operations: Iterable[Operation]) -> list[Operation]:
    found: list[Operation] = []
    update: dict[tuple[str, str], list[Operation]] = {}
    for operation in operations:
        if operation.phase != "optimiser":
            found.append(operation)
        else:
            update.setdefault((operation.name, operation.format), []).append(operation)
    for same in update.values():
        moved, flops = (sum(getattr(each, what) for each in same) for what in ("bytes", "flops"))
        found.append(replace(same[0], bytes=moved, flops=flops))
    return found


class _Costs(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.phase: Phase = "forward"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if torch._C._current_autograd_node() is not None:
            self.phase = "backward"
        elif self.phase == "backward":
            self.phase = "optimiser"
        read, written = _operands(func, args, kwargs, out)
        if written and func.overloadpacket not in _ALLOCATIONS:
            self.operations.append(_operation(func, args, kwargs, out, read, written, self.phase))
        return out


def _operands(func: Any, args: Any, kwargs: Any, out: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Tensors that an operation reads and those that it writes; a view is neither."""
    packet, given = func.overloadpacket, _tensors((args, kwargs))
    changed: list[Tensor] = []
    unread: set[int] = set()
    for argument, value in _named(func, args, kwargs):
        if argument.alias_info is not None and argument.alias_info.is_write:
            changed += _tensors(value)
            if argument.is_out or packet in _OVERWRITES:
                unread |= {id(tensor) for tensor in _tensors(value)}
    storages = {tensor.untyped_storage()._cdata for tensor in given}
    made = [tensor for tensor in _tensors(out) if tensor.untyped_storage()._cdata not in storages]
    read = [] if packet in _CONSTANTS else [tensor for tensor in given if id(tensor) not in unread]
    return read, changed + made


def _named(func: Any, args: Any, kwargs: Any) -> Iterator[tuple[Any, Any]]:
    arguments = func._schema.arguments
    yield from zip(arguments, args, strict=False)
    yield from ((argument, kwargs[argument.name]) for argument in arguments if argument.name in kwargs)


def _operation(
    func: Any, args: Any, kwargs: Any, out: Any, read: list[Tensor], written: list[Tensor], phase: Phase
) -> Operation:
    packet = func.overloadpacket
    formats = [FORMATS[tensor.dtype] for tensor in (*read, *written) if tensor.dtype in FORMATS]
    moved = sum(_touched(tensor) for tensor in (*read, *written))
    kind: Kind = "elementwise"
    flops, launches = max(sum(t.numel() for t in some) for some in ([*written], *([t] for t in read))), 1
    if packet in flop_registry:
        kind = "products"
        flops = flop_registry[packet](*args, **kwargs, out_val=out) * (4 if read[0].is_complex() else 1)
    elif packet in _TRANSFORMS:
        kind = "transforms"
        flops = _transform_flops(packet, args[1], args[0], out)
        moved, launches = _passes(packet, args[0], out, len(args[1]), normalised=args[2] != 0)
    elif packet in _PLACED:
        moved, launches = moved + _touched(read[0]), 2
    return Operation(str(packet), moved, flops, kind, formats[0] if formats else "fp32", phase, launches)


def _transform_flops(packet: Any, axes: Sequence[int], operand: Tensor, result: Tensor) -> int:
    points = math.prod(max(operand.shape[axis], result.shape[axis]) for axis in axes)
    count = max(operand.numel(), result.numel()) / points
    return int(_TRANSFORMS[packet] * count * points * math.log2(max(2, points)))


def _passes(packet: Any, operand: Tensor, result: Tensor, axes: int, *, normalised: bool) -> tuple[int, int]:
    """Bytes and launches of a transform as torch has cuFFT do it.

    A pass over memory per axis; before one to real numbers a copy of the operand, which cuFFT writes over; after one
    that is normalised the scaling, in place.
    """
    spectrum = result if result.is_complex() else operand
    moved, launches = _touched(operand) + _touched(result) + 2 * (axes - 1) * _touched(spectrum), axes
    if packet is _ATEN._fft_c2r:
        moved, launches = moved + 2 * _touched(operand), launches + 1
    if normalised:
        moved, launches = moved + 2 * _touched(result), launches + 1
    return moved, launches


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_iter(tree) if isinstance(leaf, Tensor)]


def _touched(tensor: Tensor) -> int:
    """Bytes of the distinct elements: an expanded axis is read once, overlapping windows no more than they cover."""
    distinct = math.prod(n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return min(distinct * tensor.element_size(), tensor.untyped_storage().nbytes())
