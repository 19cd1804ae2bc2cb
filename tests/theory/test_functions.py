"""Integrals against quadrature, norms and Lipschitz constants against samples, systems against brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad

from mpno.specs import MpnoError, get_format
from mpno.theory import aliasing, bounds
from mpno.theory.errors import discretization_error, precision_error, riemann
from mpno.theory.functions import (
    Family,
    Kink,
    Nodal,
    Ramp,
    hat_weights,
    plane_wave,
    random_nodal,
    random_trigonometric,
    tent,
)
from mpno.theory.systems import Floating, Geometric, geometric, of_format


def gauss(values, dim: int, pieces: int) -> complex:
    """The integral over the cube of a function of points (p, d), by Gauss rules of 12 points on every piece."""
    x, share = np.polynomial.legendre.leggauss(12)
    line = np.concatenate([(i + (x + 1) / 2) / pieces for i in range(pieces)])
    weights = np.tile(share / 2 / pieces, pieces)
    points = np.stack(np.meshgrid(*[line] * dim, indexing="ij"), -1).reshape(-1, dim)
    total = math.prod  # a product of weights for every point
    return sum(total(pair) * v for pair, v in zip(itertools.product(weights, repeat=dim), values(points), strict=True))


@pytest.mark.parametrize("k", [0, 1, 3, -2])
@pytest.mark.parametrize("cells", [1, 4, 300])
def test_hats_weigh_what_quadrature_says(cells: int, k: int) -> None:
    weights = hat_weights(cells, k)
    for node in {0, 1, cells}:
        total = 0j
        for cell in (node - 1, node):
            if 0 <= cell < cells:
                a, b = cell / cells, (cell + 1) / cells
                for part, one in ((np.cos, 1), (np.sin, 1j)):
                    total += one * quad(lambda x: (1 - abs(x * cells - node)) * part(2 * np.pi * k * x), a, b)[0]  # noqa: B023
        assert weights[node] == pytest.approx(total, abs=1e-14)


def test_multilinear_functions_are_integrated_exactly() -> None:
    for dim, w in ((1, (2,)), (2, (1, -1))):
        nodal = random_nodal(np.random.default_rng(0), 3, dim, 3)

        def product(points: np.ndarray, nodal: Nodal = nodal, w: tuple[int, ...] = w) -> list[complex]:
            lines = [np.unique(points[:, axis]) for axis in range(len(w))]
            return (nodal.at(tuple(lines))[0].ravel() * np.exp(2j * np.pi * points @ np.array(w))).tolist()

        assert nodal.coefficient(w)[0] == pytest.approx(gauss(product, dim, 3), abs=1e-13)


@pytest.mark.parametrize("family", [Ramp((1, 2), 0.7), Kink((2, 0)), Kink((0, 1)), Ramp((0, 0))])
def test_the_built_functions_coefficients_are_limits_of_their_sums(family: Family) -> None:
    for w in ((0, 0), (1, 2), (1, 0), (3, 0), (0, 3)):
        # Left-corner sums are off by A/m + B/m^2 and so on; two steps of Richardson's extrapolation leave m^-3.
        sums = [riemann(family.grid(m), plane_wave(m, w))[0] for m in (200, 400, 800)]
        first = [2 * b - a for a, b in itertools.pairwise(sums)]
        assert family.coefficient(w)[0] == pytest.approx((4 * first[1] - first[0]) / 3, abs=2e-6)


def test_a_trigonometric_coefficient_is_that_of_the_real_part() -> None:
    family = random_trigonometric(np.random.default_rng(0), 4, 2, 2)
    for w in ((0, 0), (1, -2), (2, 2), (3, 0)):
        assert family.coefficient(w) == pytest.approx(riemann(family.grid(16), plane_wave(16, w)), abs=1e-14)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_norms_and_lipschitz_constants_are_not_exceeded_and_nearly_reached(dim: int) -> None:
    rng = np.random.default_rng(dim)
    lines = tuple(np.sort(rng.random(12)) for _ in range(dim))
    points = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, dim)
    nodal = random_nodal(rng, 30, dim, 3)
    values = nodal.at(lines).reshape(30, -1)
    assert (np.abs(values).max(1) <= nodal.bound + 1e-15).all()
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    for row, limit in zip(values, nodal.lipschitz, strict=True):
        steep = np.abs(row[:, None] - row[None])[apart > 0] / apart[apart > 0]
        assert steep.max() <= limit * (1 + 1e-9)
    plane = Nodal(np.asarray(sum(np.meshgrid(*[np.linspace(0, 2, 4)] * dim, indexing="ij")))[None])
    assert plane.lipschitz[0] == pytest.approx(2 * math.sqrt(dim))


def test_turns_are_the_variation_of_the_periodic_slope() -> None:
    tent_line = Nodal(np.array([[0.5, 0.0, 0.5]]))
    assert tent_line.turns[0, 0] == pytest.approx(4)  # slopes -1 and 1, jumps of 2 at both kinks
    with pytest.raises(MpnoError, match="values at both ends of axis 0 differ"):
        _ = Nodal(np.array([[0.0, 1.0]])).turns


def test_the_wave_is_exact_where_it_can_be() -> None:
    wave = plane_wave(8, (1,))
    assert wave[0] == 1 and wave[2] == 1j and wave[4] == -1 and wave[6] == -1j
    assert plane_wave(1000, (7, 3))[999, 1] == pytest.approx(np.exp(2j * np.pi * (7 * 999 + 3) / 1000), abs=1e-12)


def test_tents_coefficients_are_quadrature_s() -> None:
    for k in range(5):
        found = quad(lambda x: abs(x - 0.5) * math.cos(2 * math.pi * k * x), 0, 1, points=[0.5])[0]  # noqa: B023
        assert tent(k) == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize("name", ["fp16", "fp8_e4m3", "e5m2"])
def test_a_format_s_ties_and_roundoff_are_those_of_all_its_numbers(name: str) -> None:
    system, fmt = of_format(name), get_format(name)
    steps = [fmt.smallest_subnormal * i for i in range(int(1 / fmt.eps))]
    numbers = np.array(
        steps + [(1 + fmt.eps * i) * 2.0**e for e in range(1 - fmt.bias, 3) for i in range(int(1 / fmt.eps))]
    )
    numbers.sort()
    assert (system.round(numbers) == numbers).all()
    middles = (numbers[1:] + numbers[:-1]) / 2
    for below in (0.3, 1.0, 1.0001, 3.99, fmt.smallest_normal * 1.9, fmt.smallest_subnormal * 1.2):
        at = np.flatnonzero(middles <= below)[-1]
        assert system.tie(below) == (middles[at], (numbers[at + 1] - numbers[at]) / 2)
    normal = middles > fmt.smallest_normal
    assert (np.diff(numbers) / 2 / middles)[normal].max() == pytest.approx(system.roundoff, rel=1e-12)
    assert np.diff(numbers)[~normal].max() / 2 == system.underflow
    with pytest.raises(MpnoError, match="no midpoint"):
        system.tie(fmt.smallest_subnormal / 4)


def test_the_geometric_system_rounds_to_the_nearest_of_its_numbers() -> None:
    system = geometric(0.01, 0.3, 30)
    numbers = np.array([0.0, *(0.01 * 1.3**i for i in range(31))])
    numbers = np.concatenate([-numbers, numbers])
    x = np.random.default_rng(0).normal(size=2000) * 10 ** np.random.default_rng(1).uniform(-4, 1, 2000)
    assert system.round(x) == pytest.approx(numbers[np.abs(numbers - x[:, None]).argmin(1)])
    inside = np.abs(x) <= system.largest
    assert (np.abs(system.round(x) - x) <= np.maximum(system.roundoff * np.abs(x), system.underflow) + 1e-15)[
        inside
    ].all()
    middle, half = system.tie(1.0)
    assert system.round(np.array([middle - half, middle + half])) == pytest.approx([middle - half, middle + half])
    with pytest.raises(MpnoError, match="no midpoint"):
        system.tie(0.01)


def test_what_is_no_system_is_one_line() -> None:
    with pytest.raises(MpnoError, match="must be positive"):
        geometric(0.0, 0.1, 3)
    with pytest.raises(MpnoError, match="share scales"):
        of_format("mxfp8")
    assert isinstance(of_format("bf16"), Floating) and isinstance(geometric(1, 1, 1), Geometric)


def test_weights_of_cells_take_the_place_of_equal_volumes() -> None:
    rng = np.random.default_rng(0)
    values, basis, system = rng.normal(size=(3, 8)), rng.normal(size=8), of_format("fp8_e4m3")
    even = np.full(8, 1 / 8)
    assert riemann(values, basis, even) == pytest.approx(riemann(values, basis))
    assert precision_error(values, basis, system, even) == pytest.approx(precision_error(values, basis, system))
    rounded = np.abs((values * basis - system.round(values) * system.round(basis)).mean(1))
    assert precision_error(values, basis, system) == pytest.approx(rounded)


def test_the_mean_distance_is_that_of_random_points() -> None:
    for d in (1, 2, 3, 4):
        points = np.random.default_rng(0).random((200_000, d))
        found = np.linalg.norm(points, axis=1).mean()
        assert bounds.mean_distance(d) == pytest.approx(found, rel=4e-3) or (d == 4 and bounds.mean_distance(d) > found)
        assert bounds.mean_distance(d) <= math.sqrt(d / 3)


def test_the_alias_sum_is_the_error() -> None:
    for m, w in itertools.product((3, 4, 5, 8, 9, 64), (0, 1, 2)):
        direct = discretization_error(Kink((0,)), m, (w,))[0]
        assert float(aliasing.tent_error(m, w)) == pytest.approx(direct, abs=1e-15)
    series = aliasing.random_series(np.random.default_rng(0), 5, 60, 2.0)
    for m in (5, 16):
        k = np.arange(61)
        values = 2 * np.real(series @ np.exp(2j * np.pi * np.outer(k, np.arange(m) / m)))
        error = np.abs(np.conj(series[:, 1]) - riemann(values, plane_wave(m, (1,))))
        assert aliasing.series_error(series, m, 1) == pytest.approx(error, abs=1e-15)
        for s in (0.6, 1.0, 1.4):
            limit = aliasing.sobolev_upper(m, (1,), s=s, seminorm=1.0) * aliasing.series_seminorm(series, s)
            assert (error <= limit).all()


def test_a_single_alias_comes_near_the_sobolev_bound() -> None:
    """All of v at the two frequencies next to w's alias: a bound a tenth as large is broken."""
    m, w, s = 8, 4, 1.0
    series = np.zeros((1, 5), dtype=complex)
    series[0, 4] = 1.0
    error = aliasing.series_error(series, m, w)[0]
    limit = aliasing.sobolev_upper(m, (w,), s=s, seminorm=float(aliasing.series_seminorm(series, s)[0]))
    assert limit / 3 < error <= limit


def test_an_analytic_function_s_error_falls_beyond_float64() -> None:
    errors = [aliasing.analytic_error(m, 1) for m in (8, 16, 32)]
    exact = quad(lambda x: math.exp(math.cos(2 * math.pi * x)) * math.cos(2 * math.pi * x), 0, 1, epsabs=1e-14)[0]
    angles = np.pi * np.arange(8) / 4
    assert float(errors[0]) == pytest.approx(abs(exact - (np.exp(np.cos(angles)) * np.cos(angles)).mean()), rel=1e-6)
    assert errors[1] < 1e-13 and 0 < errors[2] < 1e-30


def test_where_the_sobolev_bound_does_not_hold_it_is_refused() -> None:
    with pytest.raises(MpnoError, match=r"needs s > 1\.0"):
        aliasing.sobolev_upper(8, (1, 0), s=1.0, seminorm=1.0)
    with pytest.raises(MpnoError, match=r"\|w_i\| <= 4"):
        aliasing.sobolev_upper(8, (5,), s=1.0, seminorm=1.0)
