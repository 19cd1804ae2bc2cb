"""What a contraction stores: dtypes on the route of a GPU, and what it leaves for the backward."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from dense_oracle import make
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mpno.specs import ContractionSpec
from mpno.specs.names import ContractionOption, Factorization, WeightLayout
from mpno.spectral.modes import kept_modes
from mpno.spectral.weights import SpectralWeight

FACTORIZATIONS: tuple[Factorization, ...] = get_args(Factorization)
OPTIONS: tuple[ContractionOption, ...] = get_args(ContractionOption)
LAYOUTS: tuple[WeightLayout, ...] = get_args(WeightLayout)


class Dtypes(TorchDispatchMode):
    """The dtype and shape of every tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.made: set[tuple[torch.dtype, tuple[int, ...]]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        views = {x.untyped_storage()._cdata for x in tree_leaves(args) if isinstance(x, Tensor)}
        for x in tree_leaves(out):
            if isinstance(x, Tensor) and x.untyped_storage()._cdata not in views:
                self.made.add((x.dtype, tuple(x.shape)))
        return out


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("factorization", FACTORIZATIONS)
def test_everything_is_half_on_the_route_of_a_gpu(
    factorization: Factorization, option: ContractionOption, dtype: torch.dtype
) -> None:
    format = "fp16" if dtype is torch.float16 else "bf16"
    spec = ContractionSpec(factorization=factorization, rank=None if factorization == "dense" else 0.5, option=option)
    kept = kept_modes((16, 16), (8, 8))
    with torch.device("meta"):
        weight = SpectralWeight(4, 6, (8, 8), spec=spec)
        s = torch.empty(3, *kept.counts, 4, 2, dtype=dtype, requires_grad=True)
    with Dtypes() as forward:
        y = weight.contract(s, kept, inputs=format, weights=format)
    assert y.dtype is dtype and y.shape == (3, *kept.counts, 6, 2)
    signs = (torch.float32, (2 ** (1 + len(list(weight.parameters()))), 2))
    complexes = {torch.complex32} if factorization == "cp" and (option, format) == ("C", "fp16") else set()
    assert {made for made, shape in forward.made if (made, shape) != signs} == {dtype} | complexes
    with Dtypes() as backward:
        y.backward(torch.empty_like(y))
    # fp32 appears in the gradients of the fp32 parameters alone.
    shapes = {shape for p in weight.parameters() for shape in (tuple(p.shape), tuple(n for n in p.shape if n > 1))}
    assert {shape for made, shape in backward.made if made is torch.float32} <= shapes
    assert s.grad is not None and s.grad.dtype is dtype
    assert all(p.grad is not None and p.grad.dtype is torch.float32 for p in weight.parameters())


def test_weights_only_in_half_promotes_where_they_meet_the_spectrum() -> None:
    weight, kept, _ = make("cp")
    weight = weight.to("meta")
    s = torch.empty(2, *kept.counts, 3, 2, device="meta")
    with Dtypes() as seen:
        y = weight.contract(s, kept, inputs="fp32", weights="fp16")
    assert y.dtype is torch.float32
    assert {torch.float16, torch.float32} <= {made for made, _ in seen.made}


def saved_elements(weight: SpectralWeight, batch: int, modes: tuple[int, ...]) -> int:
    """Elements that a forward pass leaves for the backward, parameters and the spectrum apart."""
    kept = kept_modes(modes, modes, weight.spec.layout)
    s = torch.randn(batch, *kept.counts, weight.in_channels, 2, requires_grad=True)
    apart = {x.untyped_storage().data_ptr() for x in (s, *weight.parameters())}
    saved: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        if x.untyped_storage().data_ptr() not in apart:
            saved[x.untyped_storage().data_ptr()] = x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        weight.contract(s, kept)
    return sum(saved.values())


@pytest.mark.parametrize("option", ["B", "C"])
def test_products_without_a_sum_are_not_kept(option: ContractionOption) -> None:
    """A CP layer of the Navier-Stokes kind keeps the weight its path rebuilds, and not the two factors' products."""
    spec = ContractionSpec(factorization="cp", rank=40, layout="corners", option=option, path="memory")
    weight = SpectralWeight(8, 8, (8, 8), spec=spec)
    assert [step.sums for step in weight.plan(kept_modes((8, 8), (8, 8), "corners"), 4).steps].count(False) == 3
    corners = 2
    assert saved_elements(weight, 4, (8, 8)) == corners * 2 * (8 * 8 * 4 * 4)


def test_dense_keeps_nothing_of_its_own() -> None:
    assert saved_elements(SpectralWeight(3, 2, (4, 4), spec=ContractionSpec()), 2, (4, 4)) == 0


def test_a_single_grid_point_resolves_no_negative_frequency() -> None:
    weight, kept, s = make("cp", (4, 4), (1, 8), layout="corners")
    y = weight.contract(s, kept, inputs="fp16", weights="fp16")
    assert kept.counts == (1, 2) and y.shape == (2, 1, 2, 2, 2)
    y.sum().backward()
    negative, positive = weight.parts
    assert all(p.grad is None for p in negative.parameters()) and all(p.grad is not None for p in positive.parameters())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_only_where_they_are_wanted(layout: WeightLayout) -> None:
    weight, kept, s = make("tucker", layout=layout)
    weight.requires_grad_(False)
    weight.contract(s, kept).sum().backward()
    assert s.grad is not None and all(p.grad is None for p in weight.parameters())
    weight.requires_grad_(True)
    weight.contract(s.detach(), kept).sum().backward()
    assert all(p.grad is not None for p in weight.parameters())
