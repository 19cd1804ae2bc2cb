"""A spectral weight contracted densely in float64, and what rounding may do to any evaluation in pairs."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from mpno.specs import ContractionSpec, get_format
from mpno.specs.names import Factorization
from mpno.spectral.modes import KeptModes, kept_modes
from mpno.spectral.paths import Step
from mpno.spectral.ranks import resolve_rank
from mpno.spectral.weights import SpectralWeight

RANKS: dict[Factorization, Any] = {"dense": None, "cp": 5, "tucker": 0.6, "tt": 0.6}


def make(
    factorization: Factorization, modes: tuple[int, ...] = (5, 6), grid: tuple[int, ...] = (16, 16), **settings: Any
) -> tuple[SpectralWeight, KeptModes, Tensor]:
    """A weight of numbers of order one, so that none is subnormal in a half format, and a spectrum."""
    spec = ContractionSpec(factorization=factorization, rank=RANKS[factorization], **settings)
    weight = SpectralWeight(3, 2, modes, spec=spec)
    for parameter in weight.parameters():
        torch.nn.init.normal_(parameter)
    kept = kept_modes(grid, modes, spec.layout)
    return weight, kept, torch.randn(2, *kept.counts, 3, 2, requires_grad=True)


def at_kept_modes(dense: Tensor, kept: KeptModes) -> Tensor:
    """Cut a dense weight: frequency 0 stands in the middle of an axis, at 0 on the last."""
    for axis, count in enumerate(kept.counts):
        signed = axis < len(kept.counts) - 1
        dense = dense.narrow(axis, dense.shape[axis] // 2 - count // 2 if signed else 0, count)
    return dense


def with_gradients(y: Tensor, cotangent: Tensor, weight: SpectralWeight, s: Tensor) -> list[Tensor]:
    """The result, its gradient for the spectrum, and those for all parameters."""
    return [y.detach(), *torch.autograd.grad(y, [s, *weight.parameters()], cotangent)]


def dense_contract(weight: SpectralWeight, kept: KeptModes, s: Tensor, cotangent: Tensor) -> list[Tensor]:
    """Everything in complex128, one matrix per mode."""
    weight, s = copy.deepcopy(weight).double(), s.detach().double().requires_grad_()
    matrices = torch.view_as_complex(at_kept_modes(weight.dense(), kept).contiguous())
    y = torch.view_as_real(torch.einsum("b...i,...io->b...o", torch.view_as_complex(s), matrices))
    return with_gradients(y, cotangent.double(), weight, s)


def sizes_of(weight: SpectralWeight, kept: KeptModes, s: Tensor, cotangent: Tensor) -> list[Tensor]:
    """The same expressions over |re| + |im| of every number: what rounding errors are relative to."""
    weight = copy.deepcopy(weight)
    with torch.no_grad():
        for parameter in weight.parameters():
            parameter.copy_(_size(parameter))
    return [x[..., :1] for x in dense_contract(weight, kept, _size(s), _size(cotangent))]


def _size(pairs: Tensor) -> Tensor:
    return torch.nn.functional.pad(pairs.detach().abs().sum(-1, keepdim=True), (0, 1))


def assert_within(
    got: list[Tensor], want: list[Tensor], sizes: list[Tensor], *, terms: int, roundings: int = 0, format: str = "fp32"
) -> None:
    """Assert |error| <= ((1 + u_fp32)^terms · (1 + u_format)^roundings - 1) · size, element by element.

    An expression of sums and products passes through `terms` operations of fp32 and is stored `roundings` times;
    each multiplies it by 1 + d, |d| at most a unit roundoff. Source: Higham, "Accuracy and Stability of Numerical
    Algorithms", 2002, lemma 3.1.
    """
    relative = math.expm1(terms * 2.0**-24 + roundings * math.log1p(get_format(format).unit_roundoff))
    for x, exact, size in zip(got, want, sizes, strict=True):
        assert x.shape == exact.shape
        excess = ((x.double() - exact).abs() - relative * size).max().item()
        assert excess <= 0, f"{excess:.2e} beyond the {relative:.2e} relative allowed"


def longest_way(weight: SpectralWeight, kept: KeptModes, s: Tensor) -> int:
    """Operations that any result or gradient passes through, from the plan's steps.

    A step appears once in each of them, as a product or as one of its two gradients, and sums the indices that
    are left out; both parts of a complex number double every sum. Option A ends with a sum over all signs.
    """
    ranks = resolve_rank(weight.spec, (3, 2, *weight.halves))
    bonds = ranks[1:-1] if weight.spec.factorization == "tt" else ranks
    sizes = {"b": s.shape[0], "i": 3, "o": 2} | _numbered("acd", kept.counts) | _numbered("efghj", bonds)

    def length(step: Step) -> int:
        def size(letters: str) -> int:
            return math.prod(sizes.get(k, 2) for k in letters)

        return size("".join(set(step.left + step.right))) // min(map(size, (step.out, step.left, step.right)))

    steps = weight.plan(kept, s.shape[0]).steps
    return sum(2 * length(step) + 1 for step in steps) + 2 ** (len(steps) + 1) * (weight.spec.option == "A")


def _numbered(letters: str, sizes: tuple[int, ...]) -> dict[str, int]:
    return dict(zip(letters, sizes, strict=False))
