"""Norms and Lipschitz constants of bases against samples, integrals against closed forms, and no bound broken."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mpno.specs import MpnoError
from mpno.theory import bases, bounds
from mpno.theory.bases import BasisFunction, GraphBasis
from mpno.theory.errors import precision_error, riemann
from mpno.theory.functions import Nodal, random_nodal
from mpno.theory.systems import of_format

ALL = [
    bases.fourier((2,)),
    bases.fourier((1, 1)),
    bases.legendre(0),
    bases.legendre(5),
    bases.haar(0, 0),
    bases.haar(3, 5),
    bases.daubechies(),
    bases.daubechies(3),
    bases.spherical(2, 1),
    bases.spherical(4, 0),
]


@pytest.fixture(scope="module")
def graph() -> GraphBasis:
    return bases.graph_basis()


@pytest.mark.parametrize("basis", ALL, ids=lambda basis: basis.name)
def test_heights_and_steepness_are_never_exceeded(basis: BasisFunction) -> None:
    fine = 20000 if basis.dim == 1 else 150
    values = basis.at(((np.arange(fine) + 0.5) / fine,) * basis.dim)
    assert np.abs(values).max() <= basis.height * (1 + 1e-12)
    slopes = np.stack([np.abs(np.gradient(values, 1 / fine, axis=axis)) for axis in range(basis.dim)])
    if not basis.jumps:
        # Central differences of a complex function, over axes: at most its Lipschitz constant.
        assert np.sqrt((slopes**2).sum(0)).max() <= basis.steep * (1 + 1e-2)
    else:
        assert basis.steep == 0


@pytest.mark.parametrize("basis", [b for b in ALL if b.dim == 1 and "Fourier" not in b.name], ids=lambda b: b.name)
def test_bases_have_mean_square_one(basis: BasisFunction) -> None:
    fine = (np.arange(2**16) + 0.5) / 2**16
    assert (np.abs(basis.at((fine,))) ** 2).mean() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("basis", ALL, ids=lambda basis: basis.name)
def test_no_random_function_breaks_the_bounds(basis: BasisFunction) -> None:
    rng = np.random.default_rng(0)
    for cells in (1, 4, 9):
        family = random_nodal(rng, 500 if basis.dim == 1 else 50, basis.dim, cells)
        exact = bases.integral(family, basis)
        for m in (1, 2, 3, 5, 8, 16, 30):
            values, wave = family.grid(m), basis.grid(m)
            limit = upper(family, basis, m)
            assert (np.abs(exact - riemann(values, wave)) <= limit * (1 + 1e-9) + 1e-13 * basis.height).all()
            for name in ("fp16", "fp8_e4m3"):
                system = of_format(name)
                flat = bounds.precision_upper(
                    system, bound=family.bound, height=basis.height, complex_basis=np.iscomplexobj(wave)
                )
                assert (precision_error(values, wave, system) <= flat).all()


def upper(family: Nodal, basis: BasisFunction, m: int) -> np.ndarray:
    return bounds.discretization_upper(
        m, basis.dim, lipschitz=family.lipschitz, bound=family.bound, steep=basis.steep, height=basis.height,
        jumps=basis.jumping_cells(m),
    )  # fmt: skip


def test_without_the_cells_it_jumps_in_haar_s_bound_is_broken() -> None:
    basis = bases.haar(0, 0)
    one = Nodal(np.ones((1, 2)))
    error = np.abs(bases.integral(one, basis) - riemann(one.grid(3), basis.grid(3)))[0]
    assert error == pytest.approx(1 / 3)
    assert basis.jumping_cells(3) == 1 and basis.jumping_cells(4) == 0
    assert error <= upper(one, basis, 3)[0] and error > upper(one, dataclasses.replace(basis, jumps=()), 3)[0]


def test_integrals_are_exact() -> None:
    family = random_nodal(np.random.default_rng(0), 5, 2, 3)
    assert bases.integral(family, bases.fourier((1, 2))) == pytest.approx(family.coefficient((1, 2)), abs=1e-13)
    one = Nodal(np.ones((1, 2, 2)))
    assert bases.integral(one, bases.spherical(0, 0))[0] == pytest.approx(np.sqrt(4 * np.pi), abs=1e-9)
    assert abs(bases.integral(one, bases.spherical(3, 0))[0]) < 1e-9
    line = Nodal(np.array([[-np.sqrt(3), np.sqrt(3)]]))
    assert bases.integral(line, bases.legendre(1))[0] == pytest.approx(1)
    assert abs(bases.integral(line, bases.daubechies())[0]) < 1e-4  # four vanishing moments, up to its interpolation


def test_no_function_on_a_graph_breaks_the_bound(graph: GraphBasis) -> None:
    functions = graph.functions(np.random.default_rng(0), 500, lipschitz=3.0, bound=1.0)
    gaps = np.abs(functions[:, :, None][:40] - functions[:, None, :][:40])
    assert (gaps <= 3.0 * graph.distances + 1e-12).all() and np.abs(functions).max() <= 1
    assert (graph.values**2).mean() == pytest.approx(1)
    assert (np.abs(graph.values[:, None] - graph.values) <= graph.steep * graph.distances + 1e-9).all()
    for n in (1, 5, 40, 200):
        chosen, mass, distance = graph.cells(n)
        assert mass.sum() == pytest.approx(1) and len(set(chosen)) == n
        error = np.abs((functions * graph.values).mean(1) - (functions[:, chosen] * graph.values[chosen]) @ mass)
        assert (error <= (3.0 * graph.height + graph.steep) * distance).all()


def test_a_graph_bound_without_the_basis_is_broken(graph: GraphBasis) -> None:
    constant = np.ones((1, len(graph.values)))
    chosen, mass, distance = graph.cells(5)
    error = np.abs((constant * graph.values).mean(1) - (constant[:, chosen] * graph.values[chosen]) @ mass)[0]
    assert 0 < error <= graph.steep * distance


def test_what_is_no_basis_is_one_line() -> None:
    with pytest.raises(MpnoError, match="place must be from 0 to 3"):
        bases.haar(2, 4)
    with pytest.raises(MpnoError, match="taps from 3 on"):
        bases.daubechies(2)
    with pytest.raises(MpnoError, match="not connected"):
        bases.graph_basis(nodes=40, seed=24)
