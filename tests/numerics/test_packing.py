"""What is packed against the rounding engine, the bytes it takes, and gradients of models that pack what they save."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch import Tensor

from mpno import FNO, SFNO, SpectralConv, UNet, convert
from mpno.numerics import LiveBytes, hold, packing, recomputing, round_to, set_precision
from mpno.numerics.packing import Packed
from mpno.specs import FNOSpec, MpnoError, PrecisionSetting, RunSpec, UNetSpec
from mpno.specs.names import SAVED

formats = pytest.mark.parametrize("format", SAVED)


def spread(*shape: int) -> Tensor:
    return torch.randn(shape) * torch.exp2(torch.randint(-20, 6, shape).float())


@formats
@pytest.mark.parametrize("count", [1, 32, 1000])
def test_what_comes_back_is_rounded_to_the_format(format: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PIECE", 256)
    x = spread(count)
    assert torch.equal(Packed(x, format).unpack(), round_to(x, format))
    low = x.bfloat16()
    back = Packed(low, format).unpack()
    assert back.dtype is torch.bfloat16 and torch.equal(back, round_to(low.float(), format).bfloat16())


@pytest.mark.parametrize("dtype", set(packing.CODES.values()), ids=str)
def test_every_code_is_read_as_torch_reads_it(dtype: torch.dtype) -> None:
    """Three ways: with NaN among the codes, without, and with zeros of both signs."""
    codes = torch.arange(256, dtype=torch.uint8).view(dtype)
    plain = codes[codes.float().isfinite()]
    for part in (codes, plain, plain[plain.float() == 0]):
        got, want = packing._numbers(part), part.float()
        assert torch.equal(got.isnan(), want.isnan())
        assert torch.equal(torch.nan_to_num(got, nan=0.0), torch.nan_to_num(want, nan=0.0))
        assert torch.equal(got.signbit() & ~got.isnan(), want.signbit() & ~want.isnan())


@formats
def test_a_number_takes_a_byte_and_a_block_one_more(format: str) -> None:
    packed = Packed(torch.randn(6400), format)
    assert packed.nbytes == 6400 + (200 if format.startswith("mx") else 0)
    assert Packed(torch.randn(6400, device="meta"), format).nbytes == packed.nbytes


def test_a_block_that_is_not_finite_comes_back_as_no_number() -> None:
    x = torch.ones(96)
    x[40] = torch.inf
    back = Packed(x, "mxfp8").unpack()
    assert back[32:64].isnan().all() and (back[:32] == 1).all() and (back[64:] == 1).all()


def step(model: Any, x: Any) -> tuple[Tensor, Tensor]:
    """The output and all gradients of a step, the latter in one vector."""
    model.zero_grad(set_to_none=True)
    y = model(x)
    (y.double() ** 2).sum().backward()
    return y.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def fno(**more: Any) -> FNO:
    torch.manual_seed(0)
    return FNO(in_channels=1, out_channels=1, modes=(8, 8), width=24, layers=2, **more)


def off(model: Any, x: Any, plain: str, saved: str) -> float:
    """How far the gradient is from that with nothing packed, relative; the output must not have changed."""
    set_precision(model, plain)
    want, exact = step(model, x)
    set_precision(model, f"{plain}, saved {saved}")
    got, gradient = step(model, x)
    assert torch.equal(got, want)
    return float((gradient - exact).norm() / exact.norm())


@pytest.mark.parametrize(
    ("plain", "transform", "recompute"),
    [("full", "fft", False), ("mixed", "fft", True), ("mixed-bf16", "matmul", True), ("amp", "matmul", False)],
)
def test_outputs_are_the_same_bits_and_gradients_near(plain: str, transform: Any, recompute: bool) -> None:
    model, x = fno(transform=transform, recompute=recompute), torch.randn(4, 1, 24, 24)
    # Rounding errors of 2^-4 at most, of many numbers that a gradient sums.
    assert 1e-4 < off(model, x, plain, "mxfp8") < 0.04


def test_gradients_against_float64() -> None:
    """The gradient of a pointwise layer in float64 from operands rounded by another library's rule."""
    torch.manual_seed(0)
    x, w = torch.randn(512, 48, requires_grad=True), torch.nn.Parameter(torch.randn(48, 40))
    given = torch.randn(512, 40)
    with recomputing(False, saved="mxfp8", apart=[w]):
        y = x @ w
    y.backward(given)
    rounded = _by_blocks(x.detach().double())
    assert x.grad is not None and w.grad is not None
    assert torch.allclose(w.grad.double(), rounded.T @ given.double(), rtol=1e-5, atol=1e-4)
    # The parameter is there anyway: what meets it is exact.
    assert torch.allclose(x.grad.double(), given.double() @ w.detach().double().T, rtol=1e-5, atol=1e-4)


def test_what_is_held_of_a_parameter_stays_as_it_is() -> None:
    x, w = torch.randn(512, 48, requires_grad=True), torch.nn.Parameter(torch.randn(48, 40))
    given = torch.randn(512, 40)
    with recomputing(False, saved="mxfp8", apart=[w]):
        y = x @ hold(w, "e5m9")
    y.backward(given)
    assert x.grad is not None and torch.equal(x.grad, given @ round_to(w.detach(), "e5m9").T)


def _by_blocks(x: Tensor) -> Tensor:
    import ml_dtypes

    blocks = x.reshape(-1, 32)
    scale = torch.exp2(blocks.abs().amax(1, keepdim=True).log2().floor() - 8)
    codes = (blocks / scale).clamp(-448, 448).numpy().astype(ml_dtypes.float8_e4m3fn)
    return (torch.from_numpy(codes.astype("float64")) * scale).reshape(x.shape)


def test_a_model_keeps_a_byte_of_every_four() -> None:
    """Real tensors on this processor: what the forward pass leaves alive."""
    model, x = fno(), torch.randn(4, 1, 32, 32)
    kept = {}
    for setting in ("full", "full, saved mxfp8", "full, saved fp8_e4m3_sat"):
        set_precision(model, setting)
        gc.collect()
        counter = LiveBytes(apart=[*model.parameters(), x])
        with counter:
            y = model(x)
        kept[setting] = counter.live
        y.sum().backward()
    share = kept["full, saved mxfp8"] / kept["full"]
    assert 0.25 < share < 0.32
    assert kept["full, saved fp8_e4m3_sat"] < kept["full, saved mxfp8"]


def test_equal_steps_give_equal_bits() -> None:
    """Addresses given out anew decide nothing."""
    model, x = fno(precision="mixed, saved mxfp8"), torch.randn(4, 1, 16, 16)
    (_, first), (_, second) = step(model, x), step(model, x)
    assert torch.equal(first, second)


def test_what_changes_in_place_between_two_uses_is_packed_twice() -> None:
    x = torch.randn(2048)
    w = torch.randn(2048, requires_grad=True)
    with recomputing(False, saved="mxfp8"):
        first = (w * x).sum()
        before = x.clone()
        x.mul_(-3)
        (first + (w * x).sum()).backward()
    assert w.grad is not None and torch.equal(w.grad, round_to(before, "mxfp8") + round_to(x, "mxfp8"))


def test_the_other_models_pack_too() -> None:
    torch.manual_seed(0)
    sphere = SFNO(in_channels=1, out_channels=1, modes=(4, 4), width=16, layers=1)
    assert 1e-4 < off(sphere, torch.randn(2, 1, 8, 16), "mixed", "mxfp8") < 0.05
    unet = UNet(in_channels=1, out_channels=1, spec=UNetSpec(features=8, depth=2)).eval()
    assert 1e-4 < off(unet, torch.randn(2, 1, 32, 32), "amp", "mxfp8") < 0.1


def test_only_models_pack() -> None:
    for build in (
        lambda: SpectralConv(2, 2, (4, 4), precision="mixed, saved mxfp8"),
        lambda: convert(torch.nn.Sequential(), "full, saved mxfp8"),
        lambda: set_precision(torch.nn.Sequential(SpectralConv(2, 2, (4, 4))), "half, saved mxfp8"),
    ):
        with pytest.raises(MpnoError, match="only mpno's own models pack what is saved; leave out ', saved mxfp8'"):
            build()


def test_a_setting_says_what_is_packed() -> None:
    setting = PrecisionSetting.model_validate("compact")
    assert setting == PrecisionSetting.model_validate("mixed, saved mxfp8") and setting.saved == "mxfp8"
    assert PrecisionSetting.model_validate(setting.label) == setting
    assert str(setting).endswith("real layers in fp16; saved for the backward pass in mxfp8")
    assert setting.layer(0).saved is None
    schedule = PrecisionSetting.model_validate("schedule, saved mxfp8_e5m2, middle amp")
    assert PrecisionSetting.model_validate(schedule.label) == schedule
    assert {phase.saved for _, phase in schedule.phases} == {"mxfp8_e5m2"}
    with pytest.raises(ValueError, match="names an unknown saved"):
        PrecisionSetting.model_validate("mixed, saved fp16")
    with pytest.raises(ValueError, match="gives layer 0 a schedule or layers of its own, or packs"):
        PrecisionSetting.model_validate("mixed [0: full, saved mxfp8]")


def test_runs_without_packing_have_the_ids_they_had() -> None:
    """Ids as they were before there was packing, and before gradients had formats."""
    assert RunSpec().id == "darcy16_fno_full_fft_s0_d5676829"
    blocks = RunSpec(precision=PrecisionSetting.model_validate("mixed-mxfp8"), model=FNOSpec(width=16))
    assert blocks.id == "darcy16_fno_mixed-mxfp8_fft_s0_86b3212d"
