"""Contraction paths: sizes against a search of every order, the paper's Navier-Stokes layer, the cache."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, get_args

import numpy as np
import opt_einsum
import pytest
import torch
from opt_einsum.paths import BranchBound

from mpno.specs import ContractionSpec
from mpno.specs.names import ContractionOption, Factorization, PathStrategy
from mpno.spectral.modes import kept_modes
from mpno.spectral.paths import LeastMemory, Plan, Shapes, plan_along, plan_cache_clear, plan_cache_info, plan_of
from mpno.spectral.weights import SpectralWeight


def load_benchmark(name: str) -> Any:
    """Import ``benchmarks/<name>.py``, which belongs to no package: its einsums are the ones to hold."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / f"{name}.py"
    spec = spec_from_file_location(f"benchmarks_{name}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STRATEGIES: tuple[PathStrategy, ...] = get_args(PathStrategy)
LAYERS = load_benchmark("paths").LAYERS


def einsum_of(name: str) -> tuple[str, Shapes]:
    return LAYERS[name].einsum()


def every_order(terms: tuple[frozenset[str], ...], output: frozenset[str]) -> Iterator[list[tuple[frozenset, bool]]]:
    """Results of every way to contract in pairs, each with whether it sums: plain enumeration."""
    if len(terms) == 1:
        yield []
    for one, two in itertools.combinations(range(len(terms)), 2):
        rest = tuple(t for n, t in enumerate(terms) if n not in (one, two))
        both = terms[one] | terms[two]
        result = both & output.union(*rest)
        for later in every_order((*rest, result), output):
            yield [(result, result != both), *later]


@pytest.mark.parametrize("option", ["B", "C"])
@pytest.mark.parametrize("name", ["Navier-Stokes CP", "Darcy CP", "Navier-Stokes TT", "Car TT"])
def test_no_order_has_a_smaller_real_view(name: str, option: ContractionOption) -> None:
    equation, shapes = einsum_of(name)
    terms = equation.split("->")[0].split(",")
    sizes = {k: n for term, shape in zip(terms, shapes, strict=True) for k, n in zip(term, shape, strict=True)}
    factor = {"B": (4, 4), "C": (2, 4)}[option]
    least = min(
        max(math.prod(sizes[k] for k in result) * factor[sums] for result, sums in order)
        for order in every_order(tuple(map(frozenset, terms)), frozenset(equation.split("->")[1]))
    )
    assert plan_of(equation, shapes, "memory", option).real_largest == least


@pytest.mark.parametrize("name", LAYERS)
def test_the_memory_path_is_never_larger_than_others(name: str) -> None:
    """Where all steps count alike, it is BranchBound's by size, once that is kept from pruning by FLOPs."""
    equation, shapes = einsum_of(name)
    ours = plan_of(equation, shapes, "memory", "B")
    others = [plan_of(equation, shapes, "flops", "B"), plan_of(equation, shapes, "default", "B")]
    pruned = plan_along(equation, shapes, BranchBound(minimize="size"), "B")
    complete = plan_along(equation, shapes, BranchBound(minimize="size", cutoff_flops_factor=10**6), "B")
    assert all(ours.largest <= other.largest for other in [*others, pruned])
    assert (ours.largest, ours.flops) == (complete.largest, complete.flops)


def test_branch_and_bound_by_size_misses_the_least_memory_of_3d_layers() -> None:
    """Its cut-off by FLOPs, a factor of 4, is why it does not stand behind the memory strategy."""
    for name, factor in (("Ahmed Tucker", 1.18), ("Car TT", 4.6)):
        equation, shapes = einsum_of(name)
        pruned = plan_along(equation, shapes, BranchBound(minimize="size"), "B")
        assert pruned.largest > factor * plan_of(equation, shapes, "memory", "B").largest


@pytest.mark.parametrize("option", ["B", "C"])
def test_the_papers_navier_stokes_layer(option: ContractionOption) -> None:
    """Batch 32, rank 1092, one corner: the memory path's largest intermediate is 64 · 64 · 32 · 32 elements."""
    equation, shapes = einsum_of("Navier-Stokes CP")
    assert shapes == ((32, 32, 32, 64), (1092,), (64, 1092), (64, 1092), (32, 1092), (32, 1092))
    assert plan_of(equation, shapes, "memory", option).largest == 4_194_304
    assert plan_of(equation, shapes, "flops", option).largest == 4_472_832
    assert plan_of(equation, shapes, "default", option).largest == 35_782_656


def test_the_smallest_next_intermediate_is_not_enough() -> None:
    """Chosen step by step, each the smallest there is, intermediates grow as large as on the path by FLOPs."""
    equation, shapes = einsum_of("Navier-Stokes CP")
    inputs, output = equation.split("->")
    sizes = {
        k: n for term, shape in zip(inputs.split(","), shapes, strict=True) for k, n in zip(term, shape, strict=True)
    }
    terms, seen = [frozenset(term) for term in inputs.split(",")], []
    while len(terms) > 1:
        choices = []
        for one, two in itertools.combinations(range(len(terms)), 2):
            rest = [t for n, t in enumerate(terms) if n not in (one, two)]
            result = (terms[one] | terms[two]) & frozenset(output).union(*rest)
            choices.append((math.prod(sizes[k] for k in result), len(choices), [*rest, result]))
        size, _, terms = min(choices)
        seen.append(size)
    assert max(seen) == 4_472_832


def test_darcy_ties() -> None:
    equation, shapes = einsum_of("Darcy CP")
    assert {plan_of(equation, shapes, s, "C").largest for s in STRATEGIES} == {2_097_152}


def test_numbers_are_opt_einsums() -> None:
    for name, strategy in itertools.product(["Navier-Stokes CP", "Car Tucker", "Navier-Stokes TT"], STRATEGIES):
        equation, shapes = einsum_of(name)
        plan = plan_of(equation, shapes, strategy, "C")
        optimise = {"flops": "optimal", "memory": LeastMemory("C"), "default": "auto"}[strategy]
        _, info = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize=optimise)
        assert plan.flops == info.opt_cost and plan.largest == info.largest_intermediate


@pytest.mark.parametrize("factorization", ["dense", "cp", "tucker", "tt"])
def test_steps_compute_the_einsum(factorization: Factorization) -> None:
    """Followed with numpy, a plan's steps give what numpy gives for the whole equation."""
    spec = ContractionSpec(factorization=factorization, rank=None if factorization == "dense" else 0.7)
    equation = SpectralWeight(3, 2, (4, 3, 5), spec=spec).equation
    terms = equation.split("->")[0].split(",")
    sizes = {k: 2 + n % 3 for n, k in enumerate(dict.fromkeys("".join(terms)))}
    tensors = [np.random.default_rng(0).standard_normal([sizes[k] for k in term]) for term in terms]
    for strategy in STRATEGIES:
        values = list(tensors)
        for step in plan_of(equation, tuple(x.shape for x in tensors), strategy, "C").steps:
            values.append(np.einsum(f"{step.left},{step.right}->{step.out}", values[step.first], values[step.second]))
        assert np.allclose(values[-1], np.einsum(equation, *tensors, optimize=True), rtol=1e-12)


def test_a_path_is_found_once_per_equation_and_shapes() -> None:
    plan_cache_clear()
    spec = ContractionSpec(factorization="cp", rank=4)
    weight = SpectralWeight(3, 2, (4, 4), spec=spec)

    def run(weight: SpectralWeight, batch: int) -> tuple[int, int]:
        kept = kept_modes((8, 8), (4, 4))
        weight.contract(torch.randn(batch, *kept.counts, 3, 2), kept)
        info = plan_cache_info()
        return info.hits, info.misses

    assert [run(weight, 2), run(weight, 2), run(weight, 3), run(weight, 2)] == [(0, 1), (1, 1), (1, 2), (2, 2)]
    uncached = SpectralWeight(3, 2, (4, 4), spec=spec.model_copy(update={"cached": False}))
    assert run(uncached, 2) == (2, 2)


def test_plans_are_values() -> None:
    equation, shapes = einsum_of("Darcy CP")
    one, two = (plan_of(equation, shapes, "memory", "C", cached=False) for _ in range(2))
    assert isinstance(one, Plan) and one == two and one is not two


def test_the_table_holds_every_layer_and_strategy() -> None:
    rows = load_benchmark("paths").table(["Darcy CP"])
    assert [row["path"] for row in rows] == ["flops", "default", "branch flops", "branch size", "memory"]
    assert all(row["largest"] == 2_097_152 and row["peak MiB"] > row["kept MiB"] > 0 for row in rows if row["peak MiB"])
