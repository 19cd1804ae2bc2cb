"""The dtype trace against what torch itself says of the same operations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mpno import FNO
from mpno.numerics import hold, trace_dtypes
from mpno.specs import FNOSpec
from mpno.spectral import SphericalConv

SPEC = FNOSpec(modes=(6, 6), width=8, layers=2)
SHAPE = (2, 1, 16, 16)


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x).to(torch.bfloat16)
        return y.view(-1).add_(1.0)


def test_every_operation_with_its_module_dtypes_and_bytes() -> None:
    trace = trace_dtypes(Toy(), (5, 4))
    found = [(r.module, r.operation, r.inputs, r.output, r.elements, r.bytes) for r in trace.operations]
    assert found == [
        ("inner", "mm", "float32, float32", "float32", 15, 60),
        ("", "to_copy", "float32", "bfloat16", 15, 30),
        ("", "add_", "bfloat16", "bfloat16", 15, 0),  # in place: nothing new is stored
    ]


def test_the_paper_s_block_is_in_half_on_the_cuda_route() -> None:
    trace = trace_dtypes(FNO(1, 1, SPEC, precision="mixed"), SHAPE)
    for index in range(SPEC.layers):
        block = trace.of(f"blocks.{index}.conv")
        transforms = {row.operation: (row.inputs, row.output) for row in block if row.operation.startswith("fft")}
        assert transforms["fft_r2c"] == ("float16", "complex32") and transforms["fft_c2r"] == ("complex32", "float16")
        products = [row for row in block if row.operation in ("mm", "bmm", "addmm", "baddbmm")]
        assert products and all(row.output == "float16" for row in products)


@pytest.mark.parametrize("triple", ["FFH", "FHF", "HFF", "FHH", "HHH"])
def test_each_letter_moves_its_own_operation(triple: str) -> None:
    block = trace_dtypes(FNO(1, 1, SPEC, precision=f"half {triple}"), SHAPE).of("blocks.0.conv")
    forward = next(row for row in block if row.operation == "fft_r2c")
    product = next(row for row in block if row.operation == "bmm")
    inverse = next(row for row in block if row.operation == "fft_c2r")
    assert "".join("H" if row.format == "fp16" else "F" for row in (forward, product, inverse)) == triple


def test_amp_leaves_the_transform_in_full_and_full_has_no_half() -> None:
    amp = trace_dtypes(FNO(1, 1, SPEC, precision="amp"), SHAPE)
    assert all(row.format == "fp32" for row in amp.of("blocks.0.conv") if "fft" in row.operation)
    assert any(row.format == "fp16" for row in amp.of("blocks.0.skip"))
    assert set(trace_dtypes(FNO(1, 1, SPEC), SHAPE).summary()) == {"fp32"}


def test_the_model_stays_as_it_was_and_other_devices_show_what_runs_there() -> None:
    model = FNO(1, 1, SPEC, precision="mixed-e5m2")
    before = {name: p.clone() for name, p in model.named_parameters()}
    trace = trace_dtypes(model, SHAPE, device="cpu")
    assert set(trace.summary()) == {"fp32"}, "a format without a dtype is emulated in float32"
    assert all(torch.equal(p, before[name]) and p.device.type == "cpu" for name, p in model.named_parameters())


def test_totals_are_those_of_the_outputs() -> None:
    class Cast(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return hold(x, "fp16")

    trace = trace_dtypes(Cast(), (7, 3))
    assert trace.summary()["fp16"] == {"calls": 1, "elements": 21, "bytes": 42}
    assert trace.records()[-1]["output"] == "float16"
    text = str(trace)
    assert text.splitlines()[0].split() == ["module", "operation", "inputs", "output", "calls", "elements", "bytes"]
    assert "fp16" in text.splitlines()[-1] and "shapes alone" in text


def test_tables_made_once_are_no_part_of_a_pass() -> None:
    pytest.importorskip("torch_harmonics", reason="torch-harmonics is not installed")
    # A grid that nothing else uses, so that its tables, which are made in float64, are not there yet.
    trace = trace_dtypes(SphericalConv(1, 1, (4, 4)), (1, 1, 19, 34))
    assert set(trace.summary()) == {"fp32"}
