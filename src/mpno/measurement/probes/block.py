"""The number format of every step of one FNO block, as a trace of its operations finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mpno.measurement.probes.inputs import ProbedArm
from mpno.models import make_model
from mpno.numerics import trace_dtypes
from mpno.numerics.trace import TracedOperation
from mpno.specs import MpnoError
from mpno.specs.grid import grid_of

BLOCK = "blocks.1"
"""A block in the middle: the first one's input comes from the lifting, the last has no activation."""


def block(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per arm and step of the block, in the dtypes that a GPU would store.

    Returns:
        Rows with ``step``, ``present`` (a stabiliser may not be there), ``format``, ``complex`` and ``operation``.

    Raises:
        MpnoError: an arm's model has no such block.
    """
    rows: list[dict[str, Any]] = []
    for arm in arms:
        spec = arm.spec
        if getattr(spec.model, "layers", 0) < 3 or spec.transform != "fft":
            raise MpnoError(f"probe block: arm {arm.name} is {spec.id}; give an FNO of 3 layers or more, with fft")
        model = make_model(spec.model, 1, 1, precision=spec.precision, transform=spec.transform)
        grid = grid_of(spec.data.resolution, spec.axes, name=spec.data.name)
        trace = trace_dtypes(model, (spec.training.batch_size, 1, *grid))
        about = {"part": arm.part, "arm": arm.name, "setting": spec.precision.label, "evidence": "predicted"}
        rows += [{**about, **step} for step in steps(trace.of(BLOCK))]
    return rows


def steps(operations: Sequence[TracedOperation]) -> list[dict[str, Any]]:
    """The steps of a block from its operations in their order."""
    inside = [row for row in operations if row.module == f"{BLOCK}.conv"]
    product = next(i for i, row in enumerate(inside) if "mm" in row.operation)
    transforms = [(i, row) for i, row in enumerate(inside) if row.operation.startswith("fft")]
    forward = next(row for i, row in transforms if i < product)
    inverse = [row for i, row in transforms if i > product][-1]

    def of(module: str, wanted: Callable[[str], bool], which: int = 0) -> TracedOperation | None:
        found = [row for row in operations if row.module == f"{BLOCK}{module}" and wanted(row.operation)]
        return found[which] if found else None

    gelu = of("", lambda name: name == "gelu")
    found: list[tuple[str, TracedOperation | None, str | None]] = [
        ("input", inside[0], inside[0].inputs.split(",")[0]),
        ("stabiliser", next((row for row in inside[:product] if row.operation == "tanh"), None), None),
        ("forward transform", forward, forward.output),
        ("contraction", inside[product], inside[product].output),
        ("inverse transform", inverse, inverse.inputs.split(",")[0]),
        ("linear skip", of(".skip.linear", lambda name: "mm" in name), None),
        ("sum", of(".skip", lambda name: name == "add"), None),
        ("activation", gelu, None),
        ("channel MLP", of(".mlp.first", lambda name: "mm" in name), None),
        ("gated skip", of(".mlp_skip", lambda name: name == "addcmul"), None),
        ("output", of("", lambda name: name == "gelu", -1), None),
    ]
    return [_step(name, row, dtype) for name, row, dtype in found]


def _step(name: str, row: TracedOperation | None, dtype: str | None) -> dict[str, Any]:
    if row is None:
        return {"step": name, "present": False, "format": "", "complex": False, "operation": ""}
    dtype = dtype or row.output
    known = {"float32": "fp32", "complex64": "fp32", "float16": "fp16", "complex32": "fp16", "bfloat16": "bf16"}
    # Complex numbers in half are multiplied as pairs of real ones.
    whole = dtype.startswith("complex") or name == "contraction"
    return {"step": name, "present": True, "format": known[dtype], "complex": whole, "operation": row.operation}
