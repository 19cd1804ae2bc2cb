"""Real layers in a low format, against float64 arithmetic on rounded operands."""

from __future__ import annotations

import pytest
import torch

from mpno.numerics import (
    PointwiseLinear,
    evidence_of,
    hold,
    matmul_is_native,
    refuse_shortcuts,
    round_to,
    stabilise,
    widest,
)
from mpno.specs import PrecisionSetting
from mpno.specs.names import Transform

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.mark.parametrize("format", ["e5m2", "e5m10"])
def test_a_linear_layer_rounds_operands_and_result(format: str) -> None:
    layer = PointwiseLinear(5, 3, format=format)
    x = torch.randn(7, 5, requires_grad=True)
    y = layer(x)
    assert layer.bias is not None
    operands = [round_to(t.detach(), format).double() for t in (x, layer.weight, layer.bias)]
    exact = operands[0] @ operands[1].T + operands[2]
    # The sum is exact to fp32, so the stored result is the rounded one, or its neighbour at a tie.
    spacing = 2.0 ** -int(format.partition("m")[2]) * exact.abs()
    assert ((y.double() - exact).abs() <= 0.5 * spacing + 1e-6).all()
    assert torch.equal(y, round_to(y, format))
    # Without rounded operands the result lies elsewhere: the bound above must be able to fail.
    plain = x.detach().double() @ layer.weight.detach().double().T + layer.bias.detach().double()
    assert ((y.double() - plain).abs() > 0.5 * spacing + 1e-6).any()

    cotangent = torch.randn(7, 3)
    y.backward(cotangent)
    assert x.grad is not None and torch.equal(x.grad, round_to(x.grad, format))
    exact_grad = round_to(cotangent, format).double() @ operands[1]
    roundoff = 2.0 ** -(int(format.partition("m")[2]) + 1)
    assert ((x.grad.double() - exact_grad).abs() <= roundoff * exact_grad.abs() + 1e-6).all()


def test_promotion() -> None:
    assert widest("fp16", "fp16") == "fp16" and widest("fp16", "fp32") == widest("bf16", "fp16") == "fp32"


def test_the_stabiliser_bounds_its_result() -> None:
    x = 100 * torch.randn(1000)
    assert stabilise(x, "tanh", "fp16").abs().max() <= 1
    assert torch.equal(stabilise(x, "none", "fp32"), x)


@pytest.mark.parametrize(
    ("setting", "transform", "here", "on_a_gpu"),
    [
        ("full", "fft", "native", "native"),
        ("full+tanh", "matmul", "native", "native"),
        ("half", "fft", "simulated", "native"),
        ("mixed", "fft", "simulated", "native"),
        ("mixed", "matmul", "emulated", "native"),
        ("amp", "fft", "emulated", "native"),
        ("mixed-bf16", "fft", "simulated", "simulated"),  # no processor has a bf16 FFT in torch
        ("mixed-e5m2", "matmul", "emulated", "emulated"),
        ("half weights-only", "matmul", "emulated", "native"),
        ("full [1: half]", "fft", "simulated", "native"),  # one layer is enough
        ("schedule", "matmul", "emulated", "native"),
        ("half [0: half-bf16 HFF]", "fft", "simulated", "simulated"),
    ],
)
def test_evidence_classes(
    monkeypatch: pytest.MonkeyPatch, setting: str, transform: Transform, here: str, on_a_gpu: str
) -> None:
    monkeypatch.setattr("mpno.numerics.native._cpu_has", lambda _format: False)
    precision = PrecisionSetting.model_validate(setting)
    assert evidence_of(precision, transform, CPU) == here
    assert evidence_of(precision, transform, META) == on_a_gpu


def test_processor_features_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    from mpno.numerics import native

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True, "avx512_fp16": False})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    native._cpu_has.cache_clear()
    assert matmul_is_native("bf16", CPU) and not matmul_is_native("fp16", CPU)
    native._cpu_has.cache_clear()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert not matmul_is_native("bf16", CPU)
    native._cpu_has.cache_clear()


def test_held_in_its_own_dtype_where_native() -> None:
    assert hold(torch.empty(3, device="meta"), "fp16").dtype is torch.float16
    assert hold(torch.empty(3, device="meta"), "e5m2").dtype is torch.float32


def test_products_on_a_gpu_are_what_their_format_says() -> None:
    """No TF32 for fp32, no partial sums in half: switches of the process, which any program may have set otherwise."""
    switches = {torch.backends.cuda.matmul: ("allow_tf32", "allow_fp16_reduced_precision_reduction",
                "allow_bf16_reduced_precision_reduction"), torch.backends.cudnn: ("allow_tf32",)}  # fmt: skip
    before = {(module, name): getattr(module, name) for module, names in switches.items() for name in names}
    try:
        for module, name in before:
            setattr(module, name, True)
        refuse_shortcuts()
        assert not any(getattr(module, name) for module, name in before)
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)
