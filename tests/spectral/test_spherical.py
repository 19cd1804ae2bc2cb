"""The spherical convolution against dense float64 harmonics, exact solutions, and the peer libraries."""

from __future__ import annotations

import warnings
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from sphere_oracle import colatitudes, dense, harmonics
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mpno import MpnoError
from mpno.numerics import RangeMonitor
from mpno.specs import PrecisionSetting, get_format
from mpno.spectral.sht import SphericalGrid, SphericalTransform, sht_forward, truncate
from mpno.spectral.spherical import SphericalConv

pytest.importorskip("torch_harmonics", reason="torch-harmonics is not installed")

GRIDS: list[SphericalGrid] = ["equiangular", "legendre-gauss"]
TRANSFORMS: list[SphericalTransform] = ["sht", "matmul"]


def dense_conv(x: Tensor, weight: Tensor, bias: Tensor, modes: tuple[int, int], grid: str) -> Tensor:
    """The layer from its definition, in complex128. x: (b, i, lat, lon)."""
    nlat, nlon = x.shape[2:]
    degrees = min(modes[0], nlat if grid == "legendre-gauss" else (nlat + 1) // 2)
    analysis, synthesis = dense(nlat, nlon, degrees, min(modes[1], degrees, (nlon + 1) // 2), grid)
    s = torch.einsum("lmkj,bikj->bilm", analysis, x.to(torch.complex128))
    s = torch.einsum("bilm,lio->bolm", s, torch.complex(*weight.double().unbind(2))[:degrees])
    return torch.einsum("lmkj,bolm->bokj", synthesis, s).real + bias.double()[:, None, None]


def make(modes: tuple[int, int] = (6, 6), **kwargs: Any) -> SphericalConv:
    torch.manual_seed(3)
    return SphericalConv(3, 2, modes, **kwargs)


def bias_of(conv: SphericalConv) -> Tensor:
    assert conv.bias is not None
    return conv.bias.detach()


def relative(got: Tensor | None, want: Tensor | None) -> float:
    assert got is not None and want is not None
    return float((got.detach().double() - want.detach().double()).norm() / want.detach().double().norm())


def tolerance(setting: PrecisionSetting, points: tuple[int, int]) -> float:
    """Of the error in the norm of the result: sixteen stored values on the way, and sums accumulated in fp32.

    At most six in either transform as in test_sht.py, the stabilised input, the weights, and in the contraction the
    products of parts and their sums.
    """
    low = max(get_format(name).unit_roundoff for name in (setting.forward, setting.contraction, setting.inverse))
    return 16 * low + 2 * sum(points) * get_format("fp32").unit_roundoff


SETTINGS = ["full", "full+tanh", "half", "half+none", "half+pre_scale", "half-bf16+none", "half-e5m4+none"]


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("points", "modes"), [((12, 24), (5, 5)), ((13, 21), (7, 4)), ((9, 16), (20, 20))])
@pytest.mark.parametrize("precision", SETTINGS)
def test_values_and_gradients_follow_the_definition(
    points: tuple[int, int], modes: tuple[int, int], precision: str, grid: SphericalGrid, transform: SphericalTransform
) -> None:
    conv = make(modes, precision=precision, transform=transform, grid=grid)
    x = torch.randn(2, 3, *points, requires_grad=True)
    y = conv(x)
    cotangent = torch.randn(y.shape)
    y.float().backward(cotangent)

    exact_x = x.detach().double().requires_grad_()
    exact_w = conv.weight.detach().double().requires_grad_()
    exact_b = bias_of(conv).double().requires_grad_()
    field = torch.tanh(exact_x) if conv.precision.stabiliser == "tanh" else exact_x
    exact = dense_conv(field, exact_w, exact_b, modes, grid)
    exact.backward(cotangent.double())

    allowed = tolerance(conv.precision, points)
    assert conv.bias is not None
    for got, want in ((y, exact), (x.grad, exact_x.grad), (conv.weight.grad, exact_w.grad)):
        assert relative(got, want) <= allowed
    # The bias' gradient sums noise over every point: its rounding errors are judged against the sum of sizes.
    sizes = cotangent.abs().sum((0, 2, 3)).double()
    assert conv.bias.grad is not None and exact_b.grad is not None
    assert ((conv.bias.grad.double() - exact_b.grad).abs() <= allowed * sizes).all()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_few_bits_are_seen(transform: SphericalTransform) -> None:
    """The control: 2 bits must break the bound that 10 bits keep, or that bound shows nothing."""
    conv = make(precision="half-e5m2+none", transform=transform)
    x = torch.randn(2, 3, 12, 24)
    exact = dense_conv(x, conv.weight.detach(), bias_of(conv), (6, 6), "equiangular")
    assert relative(conv(x), exact) > tolerance(PrecisionSetting.model_validate("half"), (12, 24))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_turning_the_input_about_the_axis_turns_the_output(transform: SphericalTransform) -> None:
    conv = make(transform=transform, precision="full+tanh")
    x = torch.randn(2, 3, 12, 24)
    turned = conv(x.roll(5, -1))
    assert relative(turned, conv(x).roll(5, -1)) <= tolerance(conv.precision, (12, 24))


@pytest.mark.parametrize("grid", GRIDS)
def test_real_weights_commute_with_every_rotation(grid: SphericalGrid) -> None:
    """A Legendre polynomial about any axis is an eigenfunction, with the weight of its degree (Funk and Hecke)."""
    conv = make((7, 7), grid=grid, bias=False)
    with torch.no_grad():
        conv.weight[:, :, 1] = 0.0
    theta, _ = colatitudes(14, grid)
    phi = 2 * np.pi * np.arange(28) / 28
    directions = np.stack(
        [np.sin(theta)[:, None] * np.cos(phi), np.sin(theta)[:, None] * np.sin(phi), np.cos(theta)[:, None] + 0 * phi]
    )
    for degree, axis in [(1, (1.0, 0.0, 0.0)), (3, (0.6, -0.48, 0.64)), (6, (0.0, 0.8, -0.6))]:
        unit = np.eye(7)[degree]
        zonal = torch.from_numpy(np.polynomial.legendre.legval(np.tensordot(axis, directions, 1), unit)).float()
        x = torch.tensor([1.0, -2.0, 0.5])[:, None, None] * zonal
        want = torch.einsum("ihw,io->ohw", x, conv.weight[degree, :, 0])
        assert relative(conv(x[None])[0], want) <= tolerance(conv.precision, (14, 28))


def test_transforms_and_layouts_give_the_same() -> None:
    conv = make(precision="half")
    x = torch.randn(2, 3, 13, 25)
    others = [make(precision="half", transform=t, channels_last=last) for t in TRANSFORMS for last in (False, True)]
    for other in others:
        y = other(x.movedim(1, -1)).movedim(-1, 1) if other.channels_last else other(x)
        assert relative(y, conv(x)) <= 2 * tolerance(conv.precision, (13, 25))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_finer_grid_is_the_same_operator(transform: SphericalTransform, grid: SphericalGrid) -> None:
    """The same function on three grids, odd ones too, gives the same function: equal coefficients."""
    conv = make(transform=transform, grid=grid)
    a = torch.randn(3, 6, 6, dtype=torch.complex128).tril()
    spectra = []
    for points in [(12, 24), (17, 29), (32, 64)]:
        theta, _ = colatitudes(points[0], grid)
        y = harmonics(6, 6, theta[:, None], 2 * np.pi * np.arange(points[1]) / points[1])
        x = torch.einsum("clm,lmkj->ckj", a, torch.from_numpy(y)).real.float()
        kept = truncate(*points, (6, 6), grid)
        spectra.append(sht_forward(conv(x[None]).movedim(1, -1), kept, transform=transform))
    for finer in spectra[1:]:
        assert relative(finer, spectra[0]) <= 2 * tolerance(conv.precision, (32, 64))


def test_setting_and_legendre_format_can_be_chosen() -> None:
    conv = make(precision="half+none")
    x = torch.randn(2, 3, 12, 24)
    half = conv(x)
    conv.set_precision("full")
    exact = conv(x)
    low, allowed = relative(half, exact), tolerance(conv.precision, (12, 24))
    assert allowed < low <= tolerance(PrecisionSetting.model_validate("half"), (12, 24))
    mixed = make(legendre="e5m4")
    assert low < relative(mixed(x), exact) <= 16 * get_format("e5m4").unit_roundoff


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("stabiliser", ["none", "tanh"])
def test_the_backward_saves_the_truncated_spectrum_and_what_tanh_needs(
    transform: SphericalTransform, stabiliser: str
) -> None:
    def saved(batch: int) -> int:
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        x = torch.randn(batch, 16, 32, 3, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            conv(x)
        return sum(sizes.values())

    conv = make(precision=f"half+{stabiliser}", transform=transform, channels_last=True)
    spectrum, field = 2 * 6 * 6 * 3, 16 * 32 * 3 if stabiliser == "tanh" else 0
    assert saved(3) - saved(1) == 2 * 4 * (spectrum + field)


def test_the_range_monitor_sees_circles_of_latitude() -> None:
    """A field of 3 has that mean on every circle: unscaled, 64 times 3 of 65,504; pre-scaled by the points, less."""
    for stabiliser, divisor in (("none", 1), ("pre_scale", 32 * 64)):
        conv = make(precision=f"half+{stabiliser}")
        with RangeMonitor(conv) as monitor:
            conv(torch.full((1, 3, 32, 64), 3.0))
        (seen,) = monitor.report().layers
        assert seen.points == 64 and seen.ratio == pytest.approx(192 / 65504 / divisor)


def test_half_is_stored_in_half_on_the_cuda_route() -> None:
    for transform in TRANSFORMS:
        with torch.device("meta"):
            conv = SphericalConv(3, 2, (6, 6), precision="half", transform=transform)
            y = conv(torch.empty(2, 3, 16, 32, requires_grad=True))
        assert y.dtype is torch.float16
        y.sum().backward()
        assert conv.weight.grad is not None and conv.weight.grad.dtype is torch.float32


class Products(TorchDispatchMode):
    """Record the dtype of every batched matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: list[torch.dtype] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.bmm.default:
            self.dtypes.append(out.dtype)
        return out


@pytest.mark.parametrize(
    ("precision", "legendre", "low"), [("half", None, "HHH"), ("full", None, "FFF"), ("half", "fp32", "FHF")]
)
def test_legendre_steps_and_contraction_each_have_their_format(precision: str, legendre: str | None, low: str) -> None:
    with torch.device("meta"):
        conv = SphericalConv(3, 2, (6, 6), precision=precision, legendre=legendre)
        x = torch.empty(2, 3, 16, 32)
    with Products() as seen:
        conv(x)
    assert seen.dtypes == [torch.float16 if letter == "H" else torch.float32 for letter in low]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_surrounding_autocast_changes_nothing(dtype: torch.dtype) -> None:
    conv, x = make(), torch.randn(2, 3, 12, 24)
    with torch.autocast("cpu", dtype=dtype):
        inside = conv(x)
    assert torch.equal(inside, conv(x))


def test_half_fails_where_the_mean_is_large_and_tanh_mends_it() -> None:
    """The sum over 64 longitudes is 128,000, beyond fp16."""
    x = torch.full((1, 3, 32, 64), 2000.0)
    assert not make(precision="half+none")(x).isfinite().all()
    assert make(precision="half")(x).isfinite().all()
    assert make(precision="half+none", transform="matmul")(x).isfinite().all()


def test_the_neuraloperator_library_agrees() -> None:
    layers = pytest.importorskip(
        "neuralop.layers.spherical_convolution", reason="neuraloperator's spherical layer cannot be imported"
    )
    # Its second number counts orders of both signs; it keeps half of them.
    peer = layers.SphericalConv(3, 2, (6, 12), factorization=None)
    conv = make()
    weight = torch.view_as_real(peer.weight.to_tensor().detach()).permute(2, 0, 3, 1)
    conv.load_state_dict({"weight": weight, "bias": peer.bias.detach().flatten()})
    x = torch.randn(2, 3, 16, 32)
    assert relative(conv(x), peer(x)) <= tolerance(conv.precision, (16, 32))


@pytest.mark.parametrize("grid", GRIDS)
def test_the_torch_harmonics_layer_agrees(grid: SphericalGrid) -> None:
    from torch_harmonics import SpectralConvS2

    degrees = 16 if grid == "legendre-gauss" else 8
    points: Any = (16, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of a default that changed
        peer = SpectralConvS2(points, points, 3, 2, grid_in=grid, grid_out=grid)
    conv = make((degrees, degrees), grid=grid, bias=False)
    weight = torch.view_as_real(peer.weight.detach()[0]).permute(2, 0, 3, 1)
    conv.load_state_dict({"weight": weight})
    x = torch.randn(2, 3, 16, 32)
    assert relative(conv(x), peer(x)) <= tolerance(conv.precision, (16, 32))


def test_mistakes_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = SphericalConv(3, 2, (4, 4))
    for wrong in (torch.ones(1, 2, 8, 16), torch.ones(1, 3, 8)):
        with pytest.raises(MpnoError, match=r"got shape .* it wants \(batch, 3, lat, lon\)"):
            conv(wrong)
    with pytest.raises(MpnoError, match="at least 1"):
        SphericalConv(3, 2, (4, 0))
    # Without the type checks of the tests, as for a user.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(MpnoError, match="did you mean equiangular"):
        SphericalConv(3, 2, (4, 4), grid="equiangula")  # type: ignore[arg-type]
    with pytest.raises(MpnoError, match=r"'fft'; .*allowed: sht, matmul"):
        SphericalConv(3, 2, (4, 4), transform="fft")  # type: ignore[arg-type]
    with pytest.raises(MpnoError, match="modes"):
        SphericalConv(3, 2, (4,))  # type: ignore[arg-type]
