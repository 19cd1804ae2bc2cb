"""The spectral convolution against a dense float64 Fourier series, values and gradients."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mpno import MpnoError, SpectralConv
from mpno.numerics import round_to
from mpno.specs import ContractionSpec, get_format
from mpno.specs.names import Factorization, Transform
from mpno.spectral.fft import fft_forward, fft_inverse
from mpno.spectral.modes import kept_modes
from mpno.spectral.weights import SpectralWeight

# Grids: even, odd, more modes than the grid resolves, all modes, one to three axes.
CASES = [
    ((16,), (8,)),
    ((15,), (7,)),
    ((16, 16), (12, 12)),
    ((15, 13), (6, 5)),
    ((8, 8), (8, 8)),
    ((8, 8), (12, 12)),
    ((6, 8, 10), (4, 4, 6)),
]


def frequencies(grid: tuple[int, ...], modes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The kept modes written down anew: the k lowest of each axis, the last one-sided."""
    axes = []
    for n, m in zip(grid[:-1], modes[:-1], strict=True):
        k = min(n, m)
        axes.append(list(range(-(k // 2), k - k // 2)))
    axes.append(list(range(min(grid[-1] // 2, modes[-1] // 2) + 1)))
    return list(itertools.product(*axes))


def dense_conv(x: Tensor, weight: Tensor, bias: Tensor, modes: tuple[int, ...]) -> Tensor:
    """Sum the Fourier series mode by mode in complex128, straight from the definition. x: (b, i, *grid)."""
    grid = tuple(x.shape[2:])
    points = torch.stack(torch.meshgrid(*[torch.arange(n) / n for n in grid], indexing="ij"), -1).double()
    y = torch.zeros(x.shape[0], weight.shape[-1], *grid, dtype=torch.float64)
    for k in frequencies(grid, modes):
        phase = torch.exp(2j * torch.pi * (points @ torch.tensor(k, dtype=torch.float64)))
        coefficient = (x.double() * phase.conj()).flatten(2).mean(-1)
        # Weights are centred: frequency 0 of an axis with m modes stands at m // 2.
        where = (*[f + m // 2 for f, m in zip(k[:-1], modes[:-1], strict=True)], k[-1])
        matrix = torch.complex(*weight.double().unbind(-2))[where]
        out = torch.einsum("bi,io->bo", coefficient, matrix)
        nyquist = grid[-1] % 2 == 0 and k[-1] == grid[-1] // 2
        factor = 1.0 if k[-1] == 0 or nyquist else 2.0
        y = y + factor * (out.reshape(*out.shape, *[1] * len(grid)) * phase).real
    return y + bias.double().reshape(-1, *[1] * len(grid))


def bias_of(conv: SpectralConv) -> Tensor:
    assert conv.bias is not None
    return conv.bias.detach()


def weight_of(conv: SpectralConv) -> Tensor:
    assert isinstance(conv.weight, Tensor)
    return conv.weight


def make(
    grid: tuple[int, ...], modes: tuple[int, ...], precision: str, transform: Transform
) -> tuple[SpectralConv, Tensor]:
    torch.manual_seed(3)
    conv = SpectralConv(3, 2, modes, precision=precision, transform=transform)
    return conv, torch.randn(2, 3, *grid)


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize(("grid", "modes"), CASES)
@pytest.mark.parametrize("precision", ["full", "full+tanh", "half", "half+none", "half-bf16+none", "half-e5m4+none"])
def test_values_and_gradients_follow_the_series(
    grid: tuple[int, ...], modes: tuple[int, ...], precision: str, transform: Transform
) -> None:
    conv, x = make(grid, modes, precision, transform)
    x.requires_grad_()
    y = conv(x)
    cotangent = torch.randn_like(y)
    y.backward(cotangent)

    exact_x = x.detach().double().requires_grad_()
    exact_w = weight_of(conv).detach().double().requires_grad_()
    exact_b = bias_of(conv).double()
    field = torch.tanh(exact_x) if conv.precision.stabiliser == "tanh" else exact_x
    exact = dense_conv(field, exact_w, exact_b, modes)
    exact.backward(cotangent.double())

    # Each value passes through 2·axes + 4 stored results, each off by at most one unit roundoff of its own
    # size; sizes are bounded by the root sum of squares of what was summed, so errors are taken in that norm.
    roundoff = get_format(conv.precision.forward).unit_roundoff
    steps = 2 * len(grid) + 4
    tolerance = steps * roundoff * (1 if roundoff > 1e-6 else np.prod(grid) ** 0.5)
    for got, want in ((y, exact), (x.grad, exact_x.grad), (weight_of(conv).grad, exact_w.grad)):
        assert got is not None and want is not None
        error = (got.double() - want).norm() / want.norm()
        assert error <= tolerance, f"relative error {error:.2e}, allowed {tolerance:.2e}"


@pytest.mark.parametrize("transform", ["fft", "matmul"])
def test_few_bits_are_seen(transform: Transform) -> None:
    """The control: rounding to 2 bits must break the bound that 10 bits keep, or that bound shows nothing."""
    conv, x = make((16, 16), (12, 12), "half-e5m2+none", transform)
    exact = dense_conv(x, weight_of(conv).detach(), bias_of(conv), (12, 12))
    assert (conv(x).double() - exact).norm() / exact.norm() > 8 * get_format("fp16").unit_roundoff


@pytest.mark.parametrize(
    ("grid", "overflows"),
    [
        ((16384,), False),
        ((128, 128), False),
        ((32, 32, 32), False),
        ((65536,), True),
        ((256, 256), True),
        ((64, 64, 64), True),
    ],
)
def test_simulated_half_fft_overflows_where_a_gpu_does(grid: tuple[int, ...], overflows: bool) -> None:
    """tanh bounds an unscaled coefficient by the number of points: 32,768 fits fp16, 65,536 does not."""
    kept = kept_modes(grid, (4,) * len(grid))
    x = torch.tanh(torch.full((1, *grid, 1), 20.0))
    assert fft_forward(x, kept, "fp16").isfinite().all() == (not overflows)
    assert fft_forward(x, kept, "bf16").isfinite().all(), "bf16 has the range of fp32"
    # Fields of either sign sum to less: the bound is reached by a constant alone.
    assert fft_forward(torch.tanh(torch.randn_like(x)), kept, "fp16").isfinite().all()


@pytest.mark.parametrize(("side", "overflows"), [(32, False), (64, True)])
def test_uniform_noise_overflows_as_reported_of_gpus(side: int, overflows: bool) -> None:
    """Half rfft of uniform noise on [0, 1): finite on 32 cubed, not on 64 cubed (pytorch 33485)."""
    x = torch.rand(1, side, side, side, 1)
    assert fft_forward(x, kept_modes((side,) * 3, (4, 4, 4)), "fp16").isfinite().all() == (not overflows)


def test_scaled_matmul_does_not_overflow() -> None:
    conv = SpectralConv(1, 1, (4, 4), precision="half+none", transform="matmul", bias=False)
    assert conv(torch.full((1, 1, 256, 256), 2.0)).isfinite().all()


@pytest.mark.parametrize("grid", [(8,), (7,), (8, 6), (5, 8), (4, 5, 6)])
def test_only_the_hermitian_part_of_a_spectrum_reaches_the_field(grid: tuple[int, ...]) -> None:
    """Against the complex Fourier series of an arbitrary spectrum, of which the field is the real part."""
    kept = kept_modes(grid, grid)
    torch.manual_seed(0)
    s = torch.randn(1, *kept.counts, 2, dtype=torch.complex64)
    axes = [torch.arange(n) / n for n in grid]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).double()
    exact = torch.zeros(*grid, 2, dtype=torch.float64)
    for where in itertools.product(*(range(count) for count in kept.counts)):
        k = [kept.frequencies(axis)[i] for axis, i in enumerate(where)]
        phase = torch.exp(2j * torch.pi * (points @ torch.tensor(k, dtype=torch.float64)))
        once = k[-1] == 0 or (grid[-1] % 2 == 0 and k[-1] == grid[-1] // 2)
        exact += (1 if once else 2) * (phase[..., None] * s[0][where].to(torch.complex128)).real
    before = s.clone()
    for hermitian in (True, False):
        y = fft_inverse(s, kept, "fp32", hermitian=hermitian)
        assert torch.allclose(y[0].double(), exact, atol=1e-5)
    assert torch.equal(s, before), "the caller's spectrum was changed"


def test_half_is_stored_in_half_on_the_cuda_route() -> None:
    """Meta tensors take the route CUDA would: complex32 out of the transform, fp16 out of the block."""
    x = torch.empty(2, 16, 16, 3, dtype=torch.float16, device="meta")
    assert fft_forward(x, kept_modes((16, 16), (8, 8)), "fp16").dtype is torch.complex32
    with torch.device("meta"):
        conv = SpectralConv(3, 2, (8, 8), precision="half")
        y = conv(torch.empty(2, 3, 16, 16, requires_grad=True))
    assert y.dtype is torch.float16
    y.sum().backward()
    gradient = weight_of(conv).grad
    assert gradient is not None and gradient.dtype is torch.float32


def test_bfloat16_matmul_route_agrees_with_its_emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with bf16 instructions stores bf16; torch computes that anywhere, if slowly."""
    conv, x = make((16, 16), (8, 8), "half-bf16", "matmul")
    monkeypatch.setattr("mpno.numerics.rounding.matmul_is_native", lambda _format, _device: False)
    emulated = conv(x)
    monkeypatch.setattr("mpno.numerics.rounding.matmul_is_native", lambda _format, _device: True)
    native = conv(x)
    assert native.dtype is torch.bfloat16 and emulated.dtype is torch.float32
    bound = 8 * get_format("bf16").unit_roundoff
    assert (native.float() - emulated).norm() <= bound * emulated.norm()


def test_simulated_passes_only_hold_format_values() -> None:
    conv, x = make((16, 16), (8, 8), "half", "fft")
    y = conv(x)
    assert torch.equal(y, round_to(y, "fp16")) and not torch.equal(y, round_to(y, "e5m9"))


PEER = {"dense": None, "cp": "cp", "tucker": "tucker", "tt": "tt"}


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("factorization", PEER)
@pytest.mark.parametrize(
    ("grid", "modes"),
    [
        ((16,), (8,)),
        ((15,), (7,)),
        ((16, 20), (12, 12)),
        ((16, 15), (12, 7)),
        ((8, 6, 10), (4, 6, 6)),
        ((6, 8, 9), (4, 4, 5)),
    ],
)
def test_peer_library_agrees(
    grid: tuple[int, ...], modes: tuple[int, ...], factorization: Factorization, transform: Transform
) -> None:
    """With equal weights; even sizes on all axes but the last, since the peer's shift of odd axes is wrong."""
    layers = pytest.importorskip("neuralop.layers.spectral_convolution", reason="neuraloperator is not installed")
    torch.manual_seed(2)
    rank = None if factorization == "dense" else 0.6
    peer = layers.SpectralConv(
        3, 2, modes, factorization=PEER[factorization], rank=rank or 1.0, implementation="factorized"
    )
    spec = ContractionSpec(factorization=factorization, rank=rank)
    conv = SpectralConv(3, 2, modes, transform=transform, contraction=spec)
    assert isinstance(conv.weight, SpectralWeight) and conv.bias is not None
    with torch.no_grad():
        for own, theirs in zip(conv.weight.parameters(), _tensors(peer.weight, factorization), strict=True):
            own.copy_(torch.view_as_real(theirs.normal_()))
        conv.bias.copy_(peer.bias.flatten())
    x = torch.randn(2, 3, *grid)
    y, z = conv(x), peer(x)
    assert ((y - z).norm() / z.norm()).item() < 64 * get_format("fp32").unit_roundoff * max(grid) ** 0.5
    if factorization == "dense":
        plain = SpectralConv(3, 2, modes, transform=transform)
        with torch.no_grad():
            weight_of(plain).copy_(conv.weight.dense().movedim(-1, -2))
            bias_of(plain).copy_(conv.bias)
        assert ((plain(x) - z).norm() / z.norm()).item() < 64 * get_format("fp32").unit_roundoff * max(grid) ** 0.5


def _tensors(weight: Any, factorization: str) -> list[Tensor]:
    if factorization == "dense":
        return [weight.tensor.data.permute(*range(2, weight.tensor.ndim), 0, 1)]
    first = {"cp": ["weights"], "tucker": ["core"], "tt": []}[factorization]
    return [*(getattr(weight, name).data for name in first), *(factor.data for factor in weight.factors)]


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("format", ["fp16", "bf16"])
@pytest.mark.parametrize("factorization", [None, "cp"])
def test_weights_may_be_stored_in_half(format: str, transform: Transform, factorization: Factorization | None) -> None:
    torch.manual_seed(2)
    spec = None if factorization is None else ContractionSpec(factorization=factorization, rank=4)
    conv = SpectralConv(3, 2, (6, 6), precision=f"half-{format}", transform=transform, contraction=spec)
    x = torch.randn(2, 3, 12, 12)
    want = conv(x)
    want.float().square().sum().backward()
    gradients = [p.grad for p in conv.parameters()]
    low = copy.deepcopy(conv).to({"fp16": torch.float16, "bf16": torch.bfloat16}[format])
    low.zero_grad()
    got = low(x)
    # The setting rounds weights to the same format on their way into the product: storing them there changes nothing.
    assert torch.equal(got, want)
    got.float().square().sum().backward()
    for full, p in zip(gradients, low.parameters(), strict=True):
        assert p.grad is not None and p.grad.dtype is p.dtype and full is not None
        assert torch.allclose(p.grad.float(), full, rtol=4 * get_format(format).unit_roundoff, atol=1e-6)


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("kind", [None, ContractionSpec(factorization="tt", rank=0.6)])
def test_a_surrounding_autocast_has_no_part_in_the_formats(transform: Transform, kind: ContractionSpec | None) -> None:
    conv = SpectralConv(3, 2, (6, 6), transform=transform, contraction=kind)
    x = torch.randn(2, 3, 12, 12)
    want = conv(x)
    with torch.autocast("cpu", torch.bfloat16):
        got = conv(x)
    assert got.dtype is torch.float32 and torch.equal(got, want)


def test_shapes_are_checked_in_one_line() -> None:
    conv = SpectralConv(3, 2, (4, 4))
    for wrong in (torch.ones(1, 2, 8, 8), torch.ones(1, 3, 8)):
        with pytest.raises(MpnoError, match=r"got shape .* it wants \(batch, 3, n, n\)"):
            conv(wrong)
    with pytest.raises(MpnoError, match="at least 1"):
        SpectralConv(3, 0, (4, 4))
