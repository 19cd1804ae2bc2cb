"""The spherical harmonic transform against dense float64 harmonics, in every format, and against torch-harmonics."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sphere_oracle import colatitudes, dense, harmonics
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mpno.numerics import round_to
from mpno.specs import MpnoError, get_format
from mpno.spectral import sht
from mpno.spectral.sht import SphericalGrid, SphericalTransform, Truncation, sht_forward, sht_inverse, truncate

harmonic = pytest.importorskip("torch_harmonics", reason="torch-harmonics is not installed")

GRIDS: list[SphericalGrid] = ["equiangular", "legendre-gauss"]
TRANSFORMS: list[SphericalTransform] = ["sht", "matmul"]
# Even, odd with fewer orders than degrees, more modes than are resolved.
CASES = [((12, 24), (5, 5)), ((13, 21), (7, 4)), ((9, 16), (20, 20))]
FORMATS = [("fp32", "fp32"), ("fp16", "fp16"), ("bf16", "bf16"), ("fp16", "fp32"), ("fp32", "e5m4")]


def tolerance(kept: Truncation, *formats: str) -> float:
    """Of the error in the norm of the result, for fields of noise, whose rounding errors are noise as well.

    On its way a value is stored six times at most: operand, matrix and result of either step, and the Fourier
    coefficient before it is scaled. Besides, two sums of nlat and nlon terms are accumulated in fp32.
    """
    low = max(get_format(name).unit_roundoff for name in formats)
    return 7 * low + (kept.nlat + kept.nlon) * get_format("fp32").unit_roundoff


def relative(got: Tensor | None, want: Tensor | None) -> float:
    assert got is not None and want is not None
    return float((got.detach().double() - want.detach()).norm() / want.detach().norm())


def pairs(s: Tensor) -> Tensor:
    """Complex (b, degrees, orders, c) as (b, 2, degrees, orders, c)."""
    return torch.stack([s.real, s.imag], 1)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("points", "modes"), CASES)
@pytest.mark.parametrize(("fourier", "legendre"), FORMATS)
def test_both_directions_and_their_gradients_follow_the_definition(
    points: tuple[int, int],
    modes: tuple[int, int],
    fourier: str,
    legendre: str,
    grid: SphericalGrid,
    transform: SphericalTransform,
) -> None:
    kept = truncate(*points, modes, grid)
    analysis, synthesis = dense(*points, kept.degrees, kept.orders, grid)
    how: dict[str, Any] = {"fourier": fourier, "legendre": legendre, "transform": transform}
    allowed = tolerance(kept, fourier, legendre)

    x = torch.randn(2, *points, 3, requires_grad=True)
    s = sht_forward(x, kept, **how)
    exact_x = x.detach().double().requires_grad_()
    exact_s = pairs(torch.einsum("lmkj,bkjc->blmc", analysis, exact_x.to(torch.complex128)))
    cotangent = torch.randn(exact_s.shape)
    s.float().backward(cotangent)
    exact_s.backward(cotangent.double())
    assert relative(s, exact_s) <= allowed and relative(x.grad, exact_x.grad) <= allowed

    a = torch.randn(2, 2, kept.degrees, kept.orders, 3, requires_grad=True)
    y = sht_inverse(a, kept, **how)
    exact_a = a.detach().double().requires_grad_()
    exact_y = torch.einsum("lmkj,blmc->bkjc", synthesis, torch.complex(exact_a[:, 0], exact_a[:, 1])).real
    cotangent = torch.randn(exact_y.shape)
    y.float().backward(cotangent)
    exact_y.backward(cotangent.double())
    assert relative(y, exact_y) <= allowed and relative(a.grad, exact_a.grad) <= allowed


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("step", ["fourier", "legendre"])
def test_few_bits_are_seen_in_either_step(step: str, transform: SphericalTransform) -> None:
    """The control: rounding one step to 2 bits must break the bound that 10 bits keep, or that bound shows nothing."""
    kept = truncate(12, 24, (6, 6))
    x = torch.randn(2, 12, 24, 3)
    exact = sht_forward(x, kept, transform=transform)
    coarse = sht_forward(x, kept, transform=transform, **{step: "e5m2"})  # type: ignore[arg-type]
    assert relative(coarse, exact.double()) > tolerance(kept, "fp16")


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("grid", GRIDS)
def test_a_harmonic_has_one_coefficient(grid: SphericalGrid, transform: SphericalTransform) -> None:
    """Re Y is (Y + conj Y) / 2, which leaves 1/2 for positive orders and 1 for order 0."""
    kept = truncate(14, 28, (7, 7), grid)
    theta, _ = colatitudes(14, grid)
    fields = harmonics(7, 7, theta[:, None], 2 * np.pi * np.arange(28) / 28)
    for degree, order in [(0, 0), (3, 0), (4, 2), (6, 6)]:
        x = torch.from_numpy(fields[degree, order].real).float().reshape(1, 14, 28, 1)
        want = torch.zeros(1, 2, 7, 7, 1)
        want[0, 0, degree, order] = 0.5 if order else 1.0
        got = sht_forward(x, kept, transform=transform)
        assert float((got - want).abs().max()) <= tolerance(kept, "fp32")


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("points", [(12, 24), (13, 25)])
def test_band_limited_fields_come_back(
    points: tuple[int, int], grid: SphericalGrid, transform: SphericalTransform
) -> None:
    kept = truncate(*points, (99, 99), grid)
    s = torch.randn(2, 2, kept.degrees, kept.orders, 3).tril()
    s *= torch.ones(kept.degrees, kept.orders).tril()[..., None]
    s[:, 1, :, 0] = 0.0
    x = sht_inverse(s, kept, transform=transform)
    assert relative(sht_forward(x, kept, transform=transform), s.double()) <= 2 * tolerance(kept, "fp32")


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("points", [(32, 64), (33, 65)])
def test_torch_harmonics_agrees(points: tuple[int, int], grid: SphericalGrid) -> None:
    kept = truncate(*points, (12, 12), grid)
    sizes: dict[str, Any] = {"lmax": 12, "mmax": 12, "grid": grid}
    x = torch.randn(2, *points, 3)
    theirs = harmonic.RealSHT(*points, **sizes)(x.movedim(-1, 1))
    fields = harmonic.InverseRealSHT(*points, **sizes)(theirs).movedim(1, -1)
    s = pairs(theirs.movedim(1, -1))
    for transform in TRANSFORMS:
        assert relative(sht_forward(x, kept, transform=transform), s.double()) <= tolerance(kept, "fp32")
        assert relative(sht_inverse(s, kept, transform=transform), fields.double()) <= tolerance(kept, "fp32")


def test_what_is_kept() -> None:
    assert truncate(32, 64, (99, 99), "legendre-gauss") == Truncation(32, 64, 32, 32, "legendre-gauss")
    assert truncate(32, 64, (99, 99)).degrees == 16 and truncate(33, 64, (99, 99)).degrees == 17
    assert truncate(32, 9, (16, 16)).orders == 5 and truncate(32, 8, (16, 16)).orders == 4
    assert (truncate(32, 64, (6, 9)).degrees, truncate(32, 64, (6, 9)).orders) == (6, 6)


@pytest.mark.parametrize(("value", "overflows"), [(255.0, False), (256.0, True)])
def test_simulated_half_overflows_where_a_gpu_does(value: float, overflows: bool) -> None:
    """The unscaled mean of a circle of 256 points is 256 times the value: 65,280 fits fp16, 65,536 does not."""
    kept = truncate(6, 256, (3, 3))
    x = torch.full((1, 6, 256, 1), value)
    assert sht_forward(x, kept, fourier="fp16").isfinite().all() == (not overflows)
    assert sht_forward(x, kept, fourier="fp16", transform="matmul").isfinite().all()
    # Back again nothing is scaled: the field itself must fit the format.
    s = sht_forward(x * 512, kept)
    assert not sht_inverse(s, kept, fourier="fp16").isfinite().all()


def test_tanh_keeps_circles_of_any_used_length_finite() -> None:
    """One circle has far fewer points than a grid: bounded by 1, even 32,768 of them add up to less than 65,504."""
    x = torch.tanh(torch.full((1, 4, 32768, 1), 20.0))
    assert sht_forward(x, truncate(4, 32768, (2, 2)), fourier="fp16", legendre="fp16").isfinite().all()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_simulated_results_hold_format_values_alone(transform: SphericalTransform) -> None:
    kept = truncate(8, 16, (4, 4))
    s = sht_forward(torch.randn(2, 8, 16, 3), kept, fourier="fp16", legendre="fp16", transform=transform)
    y = sht_inverse(s, kept, fourier="fp16", legendre="fp16", transform=transform)
    for value in (s, y):
        assert torch.equal(value, round_to(value, "fp16")) and not torch.equal(value, round_to(value, "e5m9"))


class Dtypes(TorchDispatchMode):
    """Record the dtype that every operation on meta tensors gives."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, set[torch.dtype]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.device.type == "meta":
            self.seen.setdefault(func.overloadpacket.__name__, set()).add(out.dtype)
        return out


def test_formats_on_the_cuda_route() -> None:
    """Meta tensors take the route CUDA would: complex32 out of the half transform, float16 products."""
    kept = truncate(16, 32, (8, 8))
    x = torch.empty(2, 16, 32, 3, device="meta", requires_grad=True)
    with Dtypes() as forward:
        s = sht_forward(x, kept, fourier="fp16", legendre="fp16")
    assert forward.seen["_fft_r2c"] == {torch.complex32} and forward.seen["bmm"] == {torch.float16}
    with Dtypes() as inverse:
        y = sht_inverse(s, kept, fourier="fp16", legendre="fp16")
    assert inverse.seen["_fft_c2r"] == {torch.float16} and inverse.seen["bmm"] == {torch.float16}
    assert s.dtype is y.dtype is torch.float16
    with Dtypes() as backward:
        y.sum().backward()
    assert backward.seen["bmm"] == {torch.float16} and backward.seen["_fft_r2c"] == {torch.complex32}

    with Dtypes() as split:
        sht_forward(x, kept, fourier="fp16", legendre="fp32")
    assert split.seen["_fft_r2c"] == {torch.complex32} and split.seen["bmm"] == {torch.float32}
    with Dtypes() as products:
        sht_inverse(sht_forward(x, kept, fourier="fp16", transform="matmul"), kept, transform="matmul")
    dtypes = set().union(*products.seen.values())
    assert not any(dtype.is_complex for dtype in dtypes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_surrounding_autocast_changes_nothing(dtype: torch.dtype, transform: SphericalTransform) -> None:
    kept = truncate(8, 16, (4, 4))
    x = torch.randn(2, 8, 16, 3)
    s = sht_forward(x, kept, transform=transform)
    with torch.autocast("cpu", dtype=dtype):
        inside = sht_forward(x, kept, transform=transform)
        assert torch.equal(sht_inverse(inside, kept, transform=transform), sht_inverse(s, kept, transform=transform))
    assert torch.equal(inside, s)


def test_autocast_is_a_trap_without_the_guard() -> None:
    """Why torch-harmonics' own modules are not called: should this fail one day, the guard may go."""
    transform, x = harmonic.RealSHT(8, 16, lmax=4, mmax=4), torch.randn(1, 8, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # complex32 is experimental
        with torch.autocast("cpu", dtype=torch.float16):
            assert transform(x).dtype is torch.complex32
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(RuntimeError, match="BFloat16"):
        transform(x)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_nothing_of_the_field_is_saved_for_the_backward(transform: SphericalTransform) -> None:
    def saved(batch: int) -> int:
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        x = torch.randn(batch, 8, 16, 3, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            s = sht_forward(x, kept, fourier="fp16", legendre="fp16", transform=transform)
            sht_inverse(s, kept, fourier="fp16", legendre="fp16", transform=transform)
        return sum(sizes.values())

    kept = truncate(8, 16, (4, 4))
    assert saved(1) == saved(64)


def test_tables_do_not_take_on_what_surrounds_their_first_use() -> None:
    sht._table.cache_clear()
    kept = truncate(8, 16, (4, 4))
    with torch.inference_mode():
        first = sht_forward(torch.ones(1, 8, 16, 1), kept)
    x = torch.ones(1, 8, 16, 1, requires_grad=True)
    with torch.device("meta"):
        sht_inverse(sht_forward(x, kept), kept).sum().backward()
    assert torch.equal(first, sht_forward(x, kept)) and x.grad is not None


def test_errors_say_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MpnoError, match=r"1 x 16 points.*allowed are 2 points"):
        truncate(1, 16, (4, 4))
    kept = truncate(8, 20, (4, 4))
    x = torch.empty(1, 8, 20, 1, device="meta")
    for way_out in ({"fourier": "fp32"}, {"fourier": "fp16", "transform": "matmul"}):
        sht_forward(x, kept, **way_out)  # type: ignore[arg-type]
    with pytest.raises(MpnoError, match=r"20 longitudes; allowed: powers of two; .* matmul"):
        sht_forward(x, kept, fourier="fp16")
    monkeypatch.setitem(sys.modules, "torch_harmonics", None)
    sht._table.cache_clear()
    with pytest.raises(MpnoError, match="pip install"):
        sht_forward(torch.ones(1, 8, 20, 1), kept)
