"""One suite for every spectral convolution: layer x format x transform x kind of device.

Values and gradients are held against a Fourier series summed mode by mode in complex128, with the weight rebuilt
densely. The tolerance is (stored results that a number passes through) x (unit roundoff of the format) x (size of what
is summed over size of the sum). Rounding errors of independent terms add up as their squares do, so that the size of
what is summed is the root of the same expression over squares. Source: Higham and Mary, "A New Approach to
Probabilistic Rounding Error Analysis", SIAM J. Sci. Comput. 41, 2019.
"""

from __future__ import annotations

import copy
import itertools
from typing import NamedTuple

import pytest
import torch
from dense_oracle import RANKS, dense_contract
from torch import Tensor

from mpno import SpectralConv
from mpno.specs import ContractionSpec, get_format
from mpno.specs.names import Factorization, Transform, WeightLayout
from mpno.spectral.modes import kept_modes
from mpno.spectral.weights import SpectralWeight

DEVICES = ["cpu", "meta", *(["cuda"] if torch.cuda.is_available() else [])]
FORMATS = ["fp32", "fp16", "bf16"]
GRIDS = {"1-D": ((15,), (6,)), "2-D": ((12, 15), (6, 7)), "3-D": ((6, 7, 8), (4, 4, 6))}


class Kind(NamedTuple):
    factorization: Factorization | None
    layout: WeightLayout = "joint"

    def spec(self) -> ContractionSpec | None:
        if self.factorization is None:
            return None
        rank = RANKS[self.factorization]
        return ContractionSpec(factorization=self.factorization, rank=rank, layout=self.layout)

    def __str__(self) -> str:
        return "default" if self.factorization is None else f"{self.factorization}-{self.layout}"


KINDS = [
    Kind(None),
    *itertools.starmap(Kind, itertools.product(("dense", "cp", "tucker", "tt"), ("joint", "corners"))),
]


def series(x: Tensor, matrices: Tensor, modes: list[tuple[int, ...]]) -> Tensor:
    """The convolution of (b, i, *grid) from its definition, `matrices` (len(modes), i, o) in the order of `modes`."""
    grid = x.shape[2:]
    points = torch.stack(torch.meshgrid(*[torch.arange(n) / n for n in grid], indexing="ij"), -1).double()
    y = torch.zeros(x.shape[0], matrices.shape[-1], *grid, dtype=torch.float64)
    for k, matrix in zip(modes, matrices, strict=True):
        phase = torch.exp(2j * torch.pi * (points @ torch.tensor(k, dtype=torch.float64)))
        coefficient = (x.double() * phase.conj()).flatten(2).mean(-1)
        out = coefficient @ matrix
        once = k[-1] == 0 or (grid[-1] % 2 == 0 and k[-1] == grid[-1] // 2)
        y = y + (1 if once else 2) * (out.reshape(*out.shape, *[1] * len(grid)) * phase).real
    return y


def kept_frequencies(grid: tuple[int, ...], modes: tuple[int, ...], layout: WeightLayout) -> list[tuple[int, ...]]:
    """Written down anew: joint keeps the m lowest frequencies of an axis, corners m // 2 of either sign."""
    signed = [m if layout == "joint" else 2 * (m // 2) for m in modes[:-1]]
    ends = [min(n, m) for n, m in zip(grid[:-1], signed, strict=True)]
    axes = [list(range(-(k // 2), k - k // 2)) for k in ends]
    last = modes[-1] // 2 + 1 if layout == "joint" else modes[-1] // 2
    return list(itertools.product(*axes, range(min(grid[-1] // 2 + 1, last))))


def factorised(conv: SpectralConv) -> SpectralWeight:
    """The layer's weight, or one of the dense kind that holds the same numbers."""
    if isinstance(conv.weight, SpectralWeight):
        return conv.weight
    spec = ContractionSpec(factorization="dense", layout="joint")
    weight = SpectralWeight(conv.in_channels, conv.out_channels, conv.modes, spec=spec)
    weight.load_state_dict({"parts.0.0": conv.weight.detach().movedim(-2, -1)})
    return weight


def pairs_of(fields: Tensor, modes: list[tuple[int, ...]], counts: tuple[int, ...], scale: float) -> Tensor:
    """Coefficients of fields (b, c, *grid) as pairs (b, *counts, c, 2), times `scale`."""
    spectrum = torch.fft.fftn(fields.double(), dim=tuple(range(2, fields.ndim)))
    picked = torch.stack([spectrum[(..., *k)] for k in modes], 1) * scale
    return torch.view_as_real(picked).reshape(fields.shape[0], *counts, fields.shape[1], 2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(("grid", "modes"), GRIDS.values(), ids=GRIDS)
def test_values_and_gradients(
    grid: tuple[int, ...], modes: tuple[int, ...], kind: Kind, format: str, transform: Transform, device: str
) -> None:
    torch.manual_seed(5)
    if device != "cpu" and format == "fp16" and transform == "fft":
        grid = tuple(1 << (n - 1).bit_length() for n in grid)  # all that a GPU transforms in half
    precision = "full" if format == "fp32" else f"half-{format}+none"
    conv = SpectralConv(3, 2, modes, precision=precision, transform=transform, contraction=kind.spec())
    x, cotangent = torch.randn(2, 3, *grid), torch.randn(2, 2, *grid)
    here = copy.deepcopy(conv).to(device)
    inputs = x.to(device).requires_grad_()
    y = here(inputs)
    y.backward(cotangent.to(device, y.dtype))
    assert y.shape == (2, 2, *grid) and inputs.grad is not None and inputs.grad.shape == x.shape
    assert all(p.grad is not None and p.grad.dtype is torch.float32 for p in here.parameters())
    if device == "meta":
        # Meta stands for CUDA, which stores both 16-bit formats.
        assert y.dtype is {"fp16": torch.float16, "bf16": torch.bfloat16}.get(format, torch.float32)
        return
    check(conv, x, cotangent, y, inputs.grad, weight_gradients(here), format)


def weight_gradients(conv: SpectralConv) -> list[Tensor]:
    """Those of the spectral weight, (*modes, i, o, 2) for a dense one."""
    if isinstance(conv.weight, SpectralWeight):
        return [p.grad for p in conv.weight.parameters() if p.grad is not None]
    assert conv.weight.grad is not None
    return [conv.weight.grad.movedim(-2, -1)]


def check(
    conv: SpectralConv, x: Tensor, cotangent: Tensor, y: Tensor, x_grad: Tensor, gradients: list[Tensor], format: str
) -> None:
    grid = tuple(x.shape[2:])
    kept = kept_modes(grid, conv.modes, conv.layout)
    modes = kept_frequencies(grid, conv.modes, conv.layout)
    weight = factorised(conv)
    exact_weight = copy.deepcopy(weight).double()
    exact_x = x.double().requires_grad_()
    matrices = torch.view_as_complex(cut(exact_weight.dense(), grid, conv.modes, conv.layout)).flatten(0, -3)
    assert conv.bias is not None
    exact = series(exact_x, matrices, modes) + conv.bias.detach().double().reshape(-1, *[1] * len(grid))
    wanted = [exact.detach(), *torch.autograd.grad(exact, [exact_x, *exact_weight.parameters()], cotangent.double())]

    points = torch.Size(grid).numel()
    s = pairs_of(x, modes, kept.counts, 1 / points)
    g = pairs_of(cotangent, modes, kept.counts, 1.0)
    sums = dense_contract(weight, kept, s, g)
    summed = [part[..., :1].sqrt() for part in dense_contract(squares(weight), kept, squared(s), squared(g))]
    found = [y, x_grad, *gradients]
    steps = 2 * len(grid) + 4 + 3 * len(weight.plan(kept, 2).steps)
    roundoff = get_format(format).unit_roundoff
    terms = 1 if format != "fp32" else points**0.5
    for got, want, total, size in zip(found, wanted, sums, summed, strict=True):
        tolerance = steps * roundoff * terms * max(1.0, (size.norm() / total.norm()).item())
        got = got.detach().double().cpu().reshape(want.shape)
        error = ((got - want).norm() / want.norm()).item()
        assert error <= tolerance, f"relative error {error:.2e}, allowed {tolerance:.2e}"


def squared(pairs: Tensor) -> Tensor:
    """|z|² of every number, as the real part of a pair."""
    return torch.nn.functional.pad(pairs.detach().square().sum(-1, keepdim=True), (0, 1))


def squares(weight: SpectralWeight) -> SpectralWeight:
    """The weight whose parameters are the squares of these."""
    weight = copy.deepcopy(weight).double()
    for parameter in weight.parameters():
        parameter.data = squared(parameter)
    return weight


def cut(dense: Tensor, grid: tuple[int, ...], modes: tuple[int, ...], layout: WeightLayout) -> Tensor:
    """The matrices of the kept frequencies: 0 stands at half of an axis' length, at 0 on the last."""
    for axis, k in enumerate(zip(*kept_frequencies(grid, modes, layout), strict=True)):
        zero = dense.shape[axis] // 2 if axis < len(grid) - 1 else 0
        dense = dense.index_select(axis, torch.tensor(sorted(set(k))) + zero)
    return dense


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_two_bits_break_the_tolerance_of_ten(kind: Kind) -> None:
    """The control: what fp16 passes must be failed by a format that is 256 times as coarse."""
    torch.manual_seed(5)
    conv = SpectralConv(3, 2, (6, 7), precision="half-e5m2+none", contraction=kind.spec())
    x, cotangent = torch.randn(2, 3, 12, 15, requires_grad=True), torch.randn(2, 2, 12, 15)
    y = conv(x)
    y.backward(cotangent)
    assert x.grad is not None
    with pytest.raises(AssertionError, match="relative error"):
        check(conv, x.detach(), cotangent, y, x.grad, weight_gradients(conv), "fp16")
