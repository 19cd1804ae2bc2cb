"""The convolution in a general basis: the conformance suite of the spectral layers, and each basis for itself.

Values and gradients are held against matrices in float64. The tolerance is as in the suite of the Fourier layers:
stored results that a number passes through, times unit roundoff, times the size of what is summed over the sum's.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mpno import Basis, BasisConv, MpnoError, SphericalConv, graph_basis, haar_basis, round_to, sphere_basis
from mpno.specs import get_format
from mpno.theory import bases

DEVICES = ["cpu", "meta", *(["cuda"] if torch.cuda.is_available() else [])]
FORMATS = ["fp32", "fp16", "bf16"]


def ring(n: int) -> Tensor:
    circle = torch.eye(n, dtype=torch.float64)
    return 2 * circle - circle.roll(1, 0) - circle.roll(-1, 0)


BASES = {
    "wavelet": lambda: haar_basis(24, 3),
    "sphere": lambda: sphere_basis(9, 12, 4),
    "graph": lambda: graph_basis(ring(15) + torch.diag(torch.arange(15.0).double()), 7),
}


def exact(conv: BasisConv, x: Tensor, weight: Tensor) -> Tensor:
    """From the definition, (b, i, n) to (b, o, n): no layout, no batched product, no buffer of the layer."""
    basis = conv.basis
    assert conv.bias is not None
    coefficients = torch.einsum("bin,nk,n->bik", x, basis.synthesis, basis.weights)
    y = torch.einsum("bik,kio,nk->bon", coefficients, weight[basis.groups], basis.synthesis)
    return y + conv.bias.detach().double()[:, None]


def check(conv: BasisConv, x: Tensor, cotangent: Tensor, found: list[Tensor], format: str) -> None:
    """Value and gradients of input and weight."""
    inputs, weight = x.double().requires_grad_(), conv.weight.detach().double().requires_grad_()
    y = exact(conv, inputs, weight)
    wanted = [y.detach(), *torch.autograd.grad(y, [inputs, weight], cotangent.double())]
    plain = copy.deepcopy(conv).double()
    squares = Basis("", conv.basis.synthesis.square(), conv.basis.weights.square(), conv.basis.groups)
    plain.basis = squares
    plain.bias = torch.nn.Parameter(conv.bias.detach().double().square()) if conv.bias is not None else None
    inputs, weight = x.double().square().requires_grad_(), conv.weight.detach().double().square().requires_grad_()
    total = exact(plain, inputs, weight)
    sizes = [total.detach(), *torch.autograd.grad(total, [inputs, weight], cotangent.double().square())]
    terms = 1 if format != "fp32" else math.sqrt(x.shape[-1])
    for got, want, size in zip(found, wanted, sizes, strict=True):
        bound = 8 * get_format(format).unit_roundoff * terms * max(1.0, (size.sum().sqrt() / want.norm()).item())
        error = ((got.detach().double().cpu() - want).norm() / want.norm()).item()
        assert error <= bound, f"relative error {error:.2e}, allowed {bound:.2e}"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", BASES)
def test_values_and_gradients(name: str, format: str, device: str) -> None:
    torch.manual_seed(5)
    basis = BASES[name]()
    precision = "full" if format == "fp32" else f"half-{format}+none"
    conv = BasisConv(3, 2, basis, precision=precision)
    x, cotangent = torch.randn(2, 3, len(basis.weights)), torch.randn(2, 2, len(basis.weights))
    here = copy.deepcopy(conv).to(device)
    inputs = x.to(device).requires_grad_()
    y = here(inputs)
    y.backward(cotangent.to(device, y.dtype))
    assert inputs.grad is not None and here.weight.grad is not None and here.weight.grad.dtype is torch.float32
    if device == "meta":  # which stands for CUDA, where both 16-bit formats are stored
        assert y.dtype is {"fp16": torch.float16, "bf16": torch.bfloat16}.get(format, torch.float32)
        return
    check(conv, x, cotangent, [y, inputs.grad, here.weight.grad], format)


@pytest.mark.parametrize("name", BASES)
def test_two_bits_break_the_tolerance_of_ten(name: str) -> None:
    torch.manual_seed(5)
    basis = BASES[name]()
    conv = BasisConv(3, 2, basis, precision="half-e5m2+none")
    x, cotangent = torch.randn(2, 3, len(basis.weights), requires_grad=True), torch.randn(2, 2, len(basis.weights))
    y = conv(x)
    y.backward(cotangent)
    assert x.grad is not None and conv.weight.grad is not None
    with pytest.raises(AssertionError, match="relative error"):
        check(conv, x.detach(), cotangent, [y, x.grad, conv.weight.grad], "fp16")


@pytest.mark.parametrize("triple", ["HFF", "FHF", "FFH"])
def test_each_part_is_in_its_own_format(triple: str) -> None:
    """Written out: operands and result of a part in half are rounded, the others are not."""
    torch.manual_seed(5)
    basis, x = haar_basis(16, 3), torch.randn(2, 2, 16)
    conv = BasisConv(2, 2, basis, precision=f"half-e5m2 {triple}, stabiliser none", bias=False)
    low, contraction, inverse = (letter == "H" for letter in triple)

    def q(v: Tensor, half: bool) -> Tensor:
        return round_to(v.detach(), "e5m2") if half else v.detach()

    s = q(torch.einsum("kn,bin->bik", q(basis.analysis.float(), low), q(x, low)), low)
    s = q(torch.einsum("bik,kio->bok", q(s, contraction), q(conv.weight, contraction)), contraction)
    y = q(torch.einsum("nk,bok->bon", q(basis.synthesis.float(), inverse), q(s, inverse)), inverse)
    torch.testing.assert_close(conv(x), y)


def test_a_stabiliser_comes_first_and_what_must_be_undone_is() -> None:
    torch.manual_seed(5)
    conv, x = BasisConv(2, 2, haar_basis(16, 3), bias=False), torch.randn(2, 2, 16)
    full = conv(x)
    conv.set_precision("full+tanh")
    tanh = conv(x)
    conv.set_precision("full")
    torch.testing.assert_close(tanh, conv(x.tanh()))
    conv.set_precision("half, stabiliser pre_scale")
    assert (conv(x) - full).norm() / full.norm() < 0.01


@pytest.mark.parametrize("name", BASES)
def test_functions_are_orthonormal_under_the_masses(name: str) -> None:
    basis = BASES[name]()
    count = len(basis.groups)
    assert basis.weights.sum() == pytest.approx(1.0) and basis.weights.min() > 0
    torch.testing.assert_close(basis.analysis @ basis.synthesis, torch.eye(count, dtype=torch.float64))


def test_wavelets_are_those_of_the_theory() -> None:
    found = haar_basis(16, 3).synthesis
    wanted = [bases.haar(level, place).grid(16) for level in range(3) for place in range(2**level)]
    np.testing.assert_array_equal(found[:, 1:].T, wanted)
    assert bool((found[:, 0] == 1).all())


def test_a_graph_gives_its_smoothest_eigenvectors() -> None:
    laplacian = ring(12)
    basis = graph_basis(laplacian, 5)
    image = laplacian @ basis.synthesis
    eigenvalues = (basis.analysis @ image).diagonal()
    torch.testing.assert_close(image, basis.synthesis * eigenvalues)
    wanted = torch.tensor([2 - 2 * math.cos(2 * math.pi * k / 12) for k in (0, 1, 1, 2, 2)], dtype=torch.float64)
    torch.testing.assert_close(eigenvalues, wanted)
    assert bool((basis.synthesis.gather(0, basis.synthesis.abs().argmax(0, keepdim=True)) > 0).all())


def test_the_sphere_s_layer_is_the_zonal_convolution() -> None:
    """Against the layer by fast transforms, whose weights are made real."""
    torch.manual_seed(5)
    one, other = BasisConv(3, 2, sphere_basis(9, 12, 4), bias=False), SphericalConv(3, 2, (4, 4), bias=False)
    with torch.no_grad():
        other.weight.zero_()[:, :, 0] = one.weight
    x = torch.randn(2, 3, 9, 12)
    torch.testing.assert_close(one(x.flatten(2)).unflatten(2, (9, 12)), other(x))


def test_layouts_agree_and_the_basis_is_not_saved() -> None:
    torch.manual_seed(5)
    conv, x = BasisConv(3, 2, haar_basis(16, 3)), torch.randn(2, 3, 16)
    last = BasisConv(3, 2, haar_basis(16, 3), channels_last=True)
    last.load_state_dict(conv.state_dict())
    assert set(conv.state_dict()) == {"weight", "bias"}
    torch.testing.assert_close(last(x.mT).mT, conv(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: haar_basis(20, 3), "Haar basis of 3 levels on 20 points; give a multiple of 2\\^levels"),
        (lambda: graph_basis(torch.ones(3, 2), 1), r"of a matrix \(3, 2\); give a symmetric one"),
        (lambda: graph_basis(ring(4), 5), "5 eigenvectors .* a count from 1 to its size"),
        (lambda: sphere_basis(9, 12, 7), "sphere basis: 7 degrees on 9 x 12 points; this grid resolves 5"),
        (lambda: BasisConv(0, 1, haar_basis(4, 1)), "channels must be at least 1"),
        (lambda: BasisConv(1, 1, haar_basis(4, 1))(torch.ones(1, 1, 8)), "got 8 points; its basis .* has 4"),
        (lambda: BasisConv(1, 1, haar_basis(4, 1))(torch.ones(1, 2, 4)), "move the axes, or build the layer"),
    ],
)
def test_what_does_not_fit_is_one_line(make: object, message: str) -> None:
    with pytest.raises(MpnoError, match=message) as caught:
        make()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
