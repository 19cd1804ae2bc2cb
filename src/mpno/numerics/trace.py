"""What exactly is in half: the dtype of every operation of a model, from a run on shapes alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mpno.numerics.aligned import aligned
from mpno.numerics.operations import is_in_place, name_of, storage_key, watching

_FORMATS = {
    torch.float64: "fp64",
    torch.complex128: "fp64",
    torch.float32: "fp32",
    torch.complex64: "fp32",
    torch.float16: "fp16",
    torch.complex32: "fp16",
    torch.bfloat16: "bf16",
    torch.float8_e4m3fn: "fp8_e4m3",
    torch.float8_e5m2: "fp8_e5m2",
}


@dataclass(frozen=True)
class TracedOperation:
    """One operation of one module, as often as it ran with these dtypes.

    Attributes:
        module: path in the model, "" for the model itself.
        operation: torch's name.
        inputs, output: dtypes, without ``torch.``.
        format: the number format of the output.
        calls: how often.
        elements: of all outputs together; a complex number is one.
        bytes: newly stored by it, 0 where it works in place.
    """

    module: str
    operation: str
    inputs: str
    output: str
    format: str
    calls: int
    elements: int
    bytes: int


@dataclass(frozen=True)
class DtypeTrace:
    """The operations of one forward pass in order of first use. Prints itself as a table with a summary."""

    device: str
    operations: tuple[TracedOperation, ...]

    def of(self, module: str) -> tuple[TracedOperation, ...]:
        """The operations of one module and all below it."""
        inside = f"{module}."
        return tuple(row for row in self.operations if row.module == module or row.module.startswith(inside))

    def records(self) -> list[dict[str, Any]]:
        """One flat mapping per operation."""
        return [asdict(row) for row in self.operations]

    def summary(self) -> dict[str, dict[str, int]]:
        """``calls``, ``elements`` and ``bytes`` per number format."""
        totals: dict[str, dict[str, int]] = {}
        for row in self.operations:
            total = totals.setdefault(row.format, {"calls": 0, "elements": 0, "bytes": 0})
            for key in total:
                total[key] += getattr(row, key)
        return totals

    def __str__(self) -> str:
        rows = [
            (row.module or "model", row.operation, row.inputs, row.output, *_counts(row.calls, row.elements, row.bytes))
            for row in self.operations
        ]
        head = ("module", "operation", "inputs", "output", "calls", "elements", "bytes")
        whole = max(1, sum(total["elements"] for total in self.summary().values()))
        summary = [
            (format, *_counts(*total.values()), f"{total['elements'] / whole:.1%}")
            for format, total in sorted(self.summary().items())
        ]
        stored = aligned(("format", "calls", "elements", "bytes", "of all elements"), summary, left=1)
        where = "CUDA (shapes alone)" if self.device == "meta" else self.device
        return f"{aligned(head, rows, left=4)}\n\nstored by the forward pass on {where}\n{stored}"


def trace_dtypes(model: nn.Module, input_shape: tuple[int, ...], *, device: str = "meta") -> DtypeTrace:
    """Say what exactly is in half: run `model` once and note the dtypes of every operation that computes.

    Args:
        model: any module that takes one fp32 tensor; it is left as it is, wherever its parameters lie.
        input_shape: batch included.
        device: ``meta`` runs on shapes alone and takes the path that CUDA would, so no GPU and no time is
            needed; another device shows what runs there (where a format is emulated, that is float32).

    Views store nothing and are left out.
    """
    found: dict[tuple[str, ...], list[int]] = {}
    state = {name: torch.empty_like(t, device=device) for name, t in _tensors(model)}
    x = torch.zeros(input_shape, device=device)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ComplexHalf support is experimental")  # shapes alone are asked of it
        # What a first pass alone makes and caches, such as the tables of a transform, is no part of a pass.
        torch.func.functional_call(model, state, x)
        with watching(model, _collector(found)):
            torch.func.functional_call(model, state, x)
    return DtypeTrace(device, tuple(TracedOperation(*key, *numbers) for key, numbers in found.items()))  # type: ignore[arg-type]


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _collector(found: dict[tuple[str, ...], list[int]]) -> Callable[..., None]:
    def see(path: str, func: Any, given: list[Tensor], made: list[Tensor]) -> None:
        in_place = is_in_place(func)
        old = {storage_key(tensor) for tensor in given}
        inputs = ", ".join(_name(tensor.dtype) for tensor in given)
        for tensor in made:
            if tensor.dtype not in _FORMATS or (storage_key(tensor) in old and not in_place):
                continue
            key = (path, name_of(func), inputs, _name(tensor.dtype), _FORMATS[tensor.dtype])
            numbers = found.setdefault(key, [0, 0, 0])
            numbers[0] += 1
            numbers[1] += tensor.numel()
            numbers[2] += 0 if in_place else tensor.numel() * tensor.element_size()

    return see


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _counts(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in numbers)
