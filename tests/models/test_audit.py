"""Audits against dense float64 oracles, analytic coefficients and known thresholds."""

from __future__ import annotations

import copy
import inspect
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign import SpectralConv2d
from torch import Tensor, nn

import mpno
from mpno import FNO, MpnoError, RunSpec, SpectralConv, SphericalConv
from mpno.measurement import predict_bytes
from mpno.models.audit_report import LayerInSetting
from mpno.specs import FNOSpec, PrecisionSetting, get_format
from mpno.training.build import build_loss, build_model

sys.path.append(str(Path(__file__).parents[1] / "spectral"))
from sphere_oracle import dense as dense_sphere  # type: ignore[reportMissingImports]

MAX = get_format("fp16").max
TITLE = "magnitudes in full precision; spectrum: kept parts, scaled by 1/n; smallest: of those not zero"


def in_setting(audit: mpno.Audit, setting: str, layer: int = 0) -> LayerInSetting:
    return next(found for found in audit.layers[layer].settings if found.setting == setting)


def distance(y: Tensor, exact: np.ndarray) -> float:
    return float(np.linalg.norm(y.detach().double().numpy() - exact) / np.linalg.norm(exact))


def dense_fourier(conv: SpectralConv, x: Tensor) -> np.ndarray:
    """The layer by sums over all points and kept frequencies, straight from the definition."""
    assert isinstance(conv.weight, Tensor)
    w = conv.weight.detach().double().numpy()
    w = w[..., 0, :] + 1j * w[..., 1, :]  # (frequencies, frequencies, in, out)
    (n1, n2), (m1, m2) = x.shape[2:], w.shape[:2]
    k1, k2 = np.arange(m1) - m1 // 2, np.arange(m2)
    e1, e2 = (np.exp(-2j * np.pi * np.outer(k, np.arange(n)) / n) for k, n in ((k1, n1), (k2, n2)))
    s = np.einsum("ka,lc,biac->bikl", e1, e2, x.double().numpy()) / (n1 * n2)
    pairs = np.where((k2 == 0) | (2 * k2 == n2), 1.0, 2.0)
    y = np.einsum("bikl,klio,l,ka,lc->boac", s, w, pairs, e1.conj(), e2.conj()).real
    assert conv.bias is not None
    return y + conv.bias.detach().double().numpy()[:, None, None]


@pytest.mark.parametrize("transform", ["fft", "matmul"])
def test_rounding_error_is_that_against_a_dense_transform(transform: Any) -> None:
    conv, x = SpectralConv(2, 3, (4, 5), transform=transform), torch.randn(2, 2, 10, 12)
    audit = mpno.audit(nn.Sequential(conv), x, settings=("full", "half+none", "half"))
    exact = dense_fourier(conv, x)
    for setting, own in (("full", exact), ("half, stabiliser none", exact), ("half", dense_fourier(conv, x.tanh()))):
        conv.set_precision(setting)
        want = distance(conv(x), own)
        # tanh in fp32 before the oracle costs it a few units of 2^-24; half rounding is four orders above.
        assert in_setting(audit, setting).error == pytest.approx(want, rel=1e-3 if setting == "half" else 1e-6)
    assert in_setting(audit, "half").error > 1e3 * in_setting(audit, "full").error > 0


def test_rounding_error_on_the_sphere() -> None:
    conv, x = SphericalConv(2, 2, (5, 4)), torch.randn(2, 2, 12, 16)
    audit = mpno.audit(conv, x, settings=("full", "half+none"))
    analysis, synthesis = dense_sphere(12, 16, 5, 4, "equiangular")
    w = torch.complex(*conv.weight.detach().double().unbind(2))
    s = torch.einsum("lmac,biac,lio->bolm", analysis, x.to(analysis.dtype), w)
    assert conv.bias is not None
    y = torch.einsum("bolm,lmac->boac", s, synthesis).real + conv.bias.detach().double()[:, None, None]
    for setting in ("full", "half, stabiliser none"):
        conv.set_precision(setting)
        assert in_setting(audit, setting).error == pytest.approx(distance(conv(x), y.numpy()), rel=1e-5)


def test_a_constant_field_overflows_where_the_number_of_points_does() -> None:
    conv = SpectralConv(1, 1, (4, 4))
    found = {}
    for n in (128, 256):
        audit = mpno.audit(conv, torch.ones(1, 1, n, n), settings=("half+none",), grids=(128**2, 256**2))
        found[n] = in_setting(audit, "half, stabiliser none")
        assert found[n].at(n * n) == pytest.approx(n * n / MAX) and found[n].most_points == pytest.approx(MAX)
    assert not found[128].overflows and found[256].at(256**2) > 1
    assert found[128].at(256**2) == pytest.approx(found[256].at(256**2))
    assert found[256].overflows and found[256].error == math.inf and found[128].error < 1e-3
    assert [choice.name for choice in found[256].choices] == ["triple FHH", "transform matmul"]
    assert all(0 < choice.error < 1e-3 for choice in found[256].choices) and not found[128].choices
    # Two digits, rounded down.
    assert "overflows here" in audit.verdict and "triple FHH or transform matmul" in audit.verdict
    assert "65,536, fp16 ends at 65,504" in audit.layers[0].verdict


def test_a_pass_that_overflows_although_its_axes_cancel() -> None:
    """Alternating signs along the first axis: no kept coefficient, but sums of 8 · 10,000 along the last axis."""
    x = 1e4 * torch.tensor([1.0, -1.0]).repeat(8)[:, None].expand(1, 1, 16, 8)
    found = in_setting(mpno.audit(SpectralConv(1, 1, (4, 4)), x, settings=("half+none",)), "half, stabiliser none")
    assert found.overflows and found.at(128) == pytest.approx(8e4 / MAX)
    # Refined twice along each axis one pass doubles, where the whole transform would quadruple.
    assert found.at(512) == pytest.approx(2 * 8e4 / MAX)


def wave(n: int) -> Tensor:
    """3 + 4·cos(2x) - 10·sin(y): coefficients 3, 2 and ±5i, so the largest part is 5."""
    t = 2 * math.pi * torch.arange(n) / n
    return (3 + 4 * torch.cos(2 * t)[:, None] - 10 * torch.sin(t)[None, :]).expand(2, 1, n, n).clone()


def test_ranges_of_a_known_spectrum() -> None:
    (layer,) = mpno.audit(SpectralConv(1, 1, (6, 6)), wave(16), settings=("half+none",)).layers
    assert layer.spectrum.largest == pytest.approx(5, rel=1e-6) and layer.input.largest == pytest.approx(17, rel=1e-6)
    assert layer.settings[0].at(64**2) == pytest.approx(5 * 64**2 / MAX, rel=1e-6)
    values = torch.tensor([0.0, 1e-3, 1.0, 4.0])[:, None].expand(1, 1, 4, 4)
    (layer,) = mpno.audit(SpectralConv(1, 1, (2, 2)), values, settings=("half",)).layers
    assert (layer.input.median, layer.input.high, layer.input.largest) == (pytest.approx(1e-3), 4.0, 4.0)
    assert layer.input.smallest == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("value", "flushed", "subnormal"),
    [(2.0**-25, 1.0, 0.0), (1.5 * 2.0**-25, 0.0, 1.0), (2.0**-15, 0.0, 1.0), (2.0**-14, 0.0, 0.0)],
)
def test_underflow_is_counted_in_the_format(value: float, flushed: float, subnormal: float) -> None:
    """A constant field has one coefficient, itself. fp16 begins at 2^-24, half of which is a tie that goes to zero."""
    audit = mpno.audit(SpectralConv(1, 1, (4, 4)), torch.full((1, 1, 8, 8), value), settings=("half+none",))
    found = in_setting(audit, "half, stabiliser none")
    assert (found.flushed, found.subnormal) == (flushed, subnormal)


def test_fewer_digits_more_error() -> None:
    conv, x = SpectralConv(4, 4, (8, 8)), torch.randn(2, 4, 16, 16)
    errors = [mpno.audit(conv, x, settings=("half",), format=f).layers[0].settings[0].error for f in ("fp16", "e5m2")]
    # Unit roundoff is 2^-3 against 2^-11.
    assert 2**6 < errors[1] / errors[0] < 2**10


@pytest.mark.parametrize("setting", ["full", "mixed"])
def test_memory_is_what_a_planned_run_needs(setting: str) -> None:
    spec = RunSpec(precision=PrecisionSetting.model_validate(setting), model=FNOSpec(modes=(8, 8), width=8))
    x = torch.randn(spec.training.batch_size, 1, 16, 16)
    (found,) = mpno.audit(build_model(spec, 1, 1), x, settings=(setting,), loss=build_loss(spec, True)).settings
    assert found.memory == predict_bytes(spec)


def someones() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 1),
        SpectralConv2d(4, 4, 5, 5),
        nn.BatchNorm2d(4),
        nn.GELU(),
        nn.Dropout(),
        SpectralConv2d(4, 4, 5, 5),
    )


def in_double(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model)._apply(lambda t: t.to(torch.cdouble if t.is_complex() else torch.double)).eval()


def test_a_converted_model_against_the_original_in_double() -> None:
    model, x = someones(), torch.randn(2, 1, 16, 16)
    exact = in_double(model)(x.double()).detach().numpy()
    mpno.convert(model, "full")
    audit = mpno.audit(model, x, settings=("full", "half+none", "mixed"))
    assert [layer.layer for layer in audit.layers] == ["1", "5"] and not audit.unseen
    model.eval()
    for found in audit.settings[:2]:
        mpno.set_precision(model, found.setting)
        assert found.reference == "float64"
        assert found.error == pytest.approx(distance(model(x), exact), rel=1e-4) == found.change
    half, mixed = audit.settings[1:]
    assert half.memory and half.memory["peak"] > 0 and "autocast" in mixed.why and mixed.change > 3 * mixed.error


@pytest.mark.parametrize("factorization", [None, "cp", "tucker", "tt"])
def test_a_converted_peer_layer_by_layer(factorization: str | None) -> None:
    from neuralop.layers.spectral_convolution import SpectralConv as Peer

    peer = Peer(3, 2, (6, 8), factorization=factorization, implementation="factorized", rank=0.5)
    x = torch.randn(2, 3, 16, 16)
    exact = in_double(peer)(x.double()).detach().numpy()
    mpno.convert(peer, "full")
    audit = mpno.audit(peer, x, settings=("full", "half+none"))
    for found in audit.layers[0].settings:
        mpno.set_precision(peer, found.setting)
        # The peer keeps its spectrum in complex64 in double too: each coefficient, and so the field, is 2^-24 off.
        assert found.error == pytest.approx(distance(peer(x), exact), abs=2**-24)


def test_what_it_cannot_see_into_is_named() -> None:
    """Of somebody's layer the coefficients show, however they are scaled; nothing else is claimed."""

    class Theirs(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            s = torch.fft.fft(torch.fft.rfft(x, norm="ortho"), dim=-2)
            return torch.fft.irfft2(s, s=x.shape[-2:]) * 16**0.5 / 1.0

    audit = mpno.audit(nn.Sequential(Theirs(), SpectralConv(1, 1, (4, 4))), wave(16), settings=("full",))
    real, complex_ = audit.unseen
    assert (real.layer, real.name, real.points) == ("0", "fft_r2c", 16)
    # Along the last axis at cos(2x) = 1: 3 + 4 and ±5i; then the spectrum scaled by 1/4, summed over 16 points.
    assert real.largest == pytest.approx(7, rel=1e-5) and complex_.largest == pytest.approx(5 * 4, rel=1e-5)
    assert [layer.layer for layer in audit.layers] == ["1"]
    alone = mpno.audit(someones(), torch.randn(2, 1, 16, 16))
    assert {u.layer for u in alone.unseen} == {"1", "5"} and not alone.layers
    assert [found.setting for found in alone.settings] == ["full"] and "mpno.convert(model)" in alone.verdict


def test_the_model_stays_as_it_was() -> None:
    model = nn.Sequential(FNO(1, 1, FNOSpec(modes=(4, 4), width=4, layers=1), precision="mixed"), nn.BatchNorm2d(1))
    model.append(nn.Dropout())
    model[2].eval()
    x = torch.randn(2, 1, 8, 8, requires_grad=True)
    model(x).sum().backward()
    before = copy.deepcopy(model.state_dict())
    grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    state, given = torch.get_rng_state(), x.detach().clone()
    mpno.audit(model, x, settings=("full", "half"))
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(torch.equal(a, b.grad) for a, b in zip(grads, model.parameters(), strict=True) if b.grad is not None)
    assert [m.training for m in model] == [True, True, False]
    assert str(model[0].precision) == str(PrecisionSetting.model_validate("mixed"))
    assert torch.equal(state, torch.get_rng_state()) and torch.equal(x.detach(), given)
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


def test_a_schedule_counts_as_its_phases_and_formats_without_hardware_need_no_memory() -> None:
    x = torch.randn(1, 1, 8, 8)
    audit = mpno.audit(SpectralConv(1, 1, (4, 4)), x, settings=("schedule", "mixed", "full"))
    assert [s.setting for s in audit.settings] == ["mixed", "mixed FHH, stabiliser none", "full"]
    (found,) = mpno.audit(SpectralConv(1, 1, (4, 4)), x, settings=("half",), format="e4m3").settings
    assert found.setting == "half-e4m3" and found.memory is None and "no hardware" in found.why


def test_a_model_that_no_shapes_nor_float64_suit_says_so() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = SpectralConv(1, 1, (4, 4))

        def forward(self, x: Tensor) -> Tensor:
            if x.dtype is not torch.float32:
                raise TypeError("fp32 only")
            return self.conv(x) * float(x.max())

    (found,) = mpno.audit(Stubborn(), torch.randn(1, 1, 8, 8), settings=("half",)).settings
    assert found.reference == "full" and found.memory is None and found.why.startswith("no memory: the model does not")
    assert 0 < found.error < 1e-2


def test_it_prints_within_a_terminal_and_as_flat_records() -> None:
    model = FNO(1, 1, FNOSpec(modes=(4, 4), width=4, layers=2))
    audit = mpno.audit(model, torch.randn(2, 1, 12, 12))
    lines = str(audit).splitlines()
    assert max(map(len, lines)) <= 100 and lines[2] == "verdict" and lines.index("verdict") < lines.index(TITLE)
    assert not any(line.startswith("  blocks.") for line in lines)  # both layers fare alike
    (full,) = [line.split() for line in lines if line.startswith("full ")]
    assert full[2] == "\N{EN DASH}" and "flushed becomes zero in the format" in " ".join(lines)
    assert "powers of two" in audit.verdict
    rows = audit.records()
    assert len(rows) == 2 * 4 * 3 + 4 and not any(isinstance(v, dict | list | tuple) for r in rows for v in r.values())
    assert {r["points"] for r in rows[:-4] if r["measured"]} == {144}
    assert [r["evidence"] for r in rows[-4:]] == ["native", "emulated", "simulated", "simulated"]


def test_torch_s_warning_of_half_complex_numbers_is_not_the_user_s_business() -> None:
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            mpno.audit(CONV, X, settings=("half",))
    finally:
        torch.set_warn_always(False)
    assert not [w for w in seen if "ComplexHalf" in str(w.message)]


def test_what_a_model_raised_stays_the_cause() -> None:
    with pytest.raises(MpnoError, match=r"on this batch: .*; give a batch it takes$") as error:
        mpno.audit(nn.Conv2d(3, 1, 1), X)
    assert isinstance(error.value.__cause__, RuntimeError)


def test_layers_that_fare_otherwise_have_lines_of_their_own() -> None:
    """A constant of 1 overflows at 256², one of 2^-10 nowhere near."""
    first, second = SpectralConv(1, 1, (4, 4)), SpectralConv(1, 1, (4, 4))
    assert isinstance(first.weight, Tensor) and first.bias is not None
    with torch.no_grad():
        first.weight.fill_(0)
        first.bias.fill_(2.0**-10)
    audit = mpno.audit(nn.Sequential(first, second), torch.ones(1, 1, 64, 64), settings=("half+none",))
    assert "\n  0: half, stabiliser none: safe here" in str(audit) and "\n  1: half, stabiliser none: safe" in str(
        audit
    )


def test_real_layers_that_overflow_are_named_and_bf16_is_the_way_out() -> None:
    """Fields of 10^7 are beyond fp16, not beyond bf16; tanh keeps the spectral layers safe."""
    model, x = FNO(1, 1, FNOSpec(modes=(4, 4), width=4, layers=1)), 1e7 * torch.randn(1, 1, 8, 8)
    amp, mixed = mpno.audit(model, x, settings=("amp", "mixed")).verdict.splitlines()
    end = "the model's output is not finite: its real layers overflow in fp16; use bf16 for them"
    assert amp == f"amp: {end}" and mixed == f"mixed: safe in the spectral layers, but {end}"
    assert "not finite" not in mpno.audit(model, x, settings=("amp", "mixed"), format="bf16").verdict


X = torch.ones(1, 1, 8, 8)
CONV = SpectralConv(1, 1, (4, 4))


@pytest.mark.parametrize(
    ("model", "batch", "options", "words"),
    [
        (CONV, None, {}, "is a NoneType; pass the input tensor"),
        (CONV, X.int(), {}, "torch.int32; pass floating-point"),
        (CONV, X[:0], {}, "no numbers"),
        (CONV, X * math.nan, {}, "64 of 64 numbers"),
        (CONV, X.to("meta"), {}, "on meta, the model on cpu"),
        (lambda x: x, X, {}, "torch.nn.Module"),
        (nn.Conv2d(1, 1, 1), X, {}, "mpno.convert(model) first, with mpno.register_adapter"),
        (nn.Conv2d(3, 1, 1), X, {}, "audit: the model failed on this batch: Given groups=1, weight of size"),
        (CONV, X, {"settings": ("mixd",)}, "did you mean mixed?"),
        (CONV, X, {"settings": "mixed"}, "pass a sequence"),
        (CONV, X, {"format": "fp17"}, "number format 'fp17'"),
        (CONV, X, {"format": "fp32"}, "choose a lower one"),
        (CONV, X, {"grids": (0,)}, "grids holds 0"),
    ],
)
def test_wrong_inputs_are_answered_in_one_line(model: Any, batch: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(MpnoError, match=r"^[^\n]*$") as error:
        # Without the type checks that tests turn on, as a user has it.
        inspect.unwrap(mpno.audit)(model, batch, **options)
    assert words in str(error.value)
