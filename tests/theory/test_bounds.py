"""No random, built or searched function breaks a bound, and a bound a little smaller is broken."""

from __future__ import annotations

import dataclasses
import math

import attempts
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpno.numerics import round_to
from mpno.specs import MpnoError
from mpno.theory import bounds
from mpno.theory.errors import discretization_error, fourier_precision_error, precision_error
from mpno.theory.functions import Kink, Nodal, Ramp, plane_wave, random_nodal, random_trigonometric, waves
from mpno.theory.systems import geometric, of_format
from mpno.theory.worst_case import Biased, search_discretization

DIMS = (1, 2, 3)
HOLDS = 1 + 1e-9


@pytest.mark.parametrize("dim", DIMS)
def test_no_function_breaks_the_discretization_bounds(dim: int) -> None:
    assert attempts.discretization_ratio(dim, 1000) <= HOLDS
    assert attempts.searched_ratio(dim) <= HOLDS
    assert attempts.periodic_ratio(dim, 1000) <= HOLDS


@pytest.mark.parametrize("dim", DIMS)
def test_no_function_breaks_the_precision_bound(dim: int) -> None:
    assert attempts.precision_ratio(dim, 200) <= HOLDS
    for system in attempts.systems():
        assert attempts.tie_ratio(system) <= HOLDS


@pytest.mark.parametrize("dim", DIMS)
def test_a_smaller_constant_of_the_discretization_bound_is_broken(dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert attempts.cone_ratio(dim) == pytest.approx(1, abs=1e-4)
    kappa = bounds.mean_distance(dim)
    monkeypatch.setattr(bounds, "mean_distance", lambda d: 0.99 * kappa)
    assert attempts.cone_ratio(dim) > HOLDS


def test_in_one_dimension_the_plane_meets_the_bound_on_every_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    for m in (1, 2, 7, 100):
        plane = Ramp((0,))
        assert discretization_error(plane, m, (0,))[0] == pytest.approx(
            plane.lipschitz[0] * bounds.mean_distance(1) / m
        )
    monkeypatch.setattr(bounds, "mean_distance", lambda d: 0.49)
    assert attempts.discretization_ratio(1, 10) > HOLDS


@pytest.mark.parametrize("name", attempts.FORMATS)
def test_smaller_constants_of_the_precision_bound_are_broken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system = of_format(name)
    assert attempts.tie_ratio(system) == pytest.approx(1, rel=2e-3)
    # Without the square of u, without the second operand, with a roundoff a little less.
    changed = dataclasses.replace(system, roundoff=0.99 * system.roundoff)
    assert attempts.tie_ratio(system, claimed=changed) > HOLDS
    without_square = attempts.tie_ratio(system) * ((1 + system.roundoff) ** 2 - 1) / (2 * system.roundoff)
    assert (without_square > HOLDS) or name == "fp32"  # 6e-8 of the bound in fp32
    monkeypatch.setattr(bounds, "precision_upper", lambda s, **k: s.roundoff * k["bound"] * k["height"])
    assert attempts.tie_ratio(system) > 1.9


def test_without_the_underflow_term_the_precision_bound_is_broken() -> None:
    system = of_format("fp16")
    dry = dataclasses.replace(system, underflow=0.0)
    tiny = Nodal(np.full((1, 2), 0.99 * system.underflow))
    error = fourier_precision_error(tiny, 4, (0,), system)
    assert error[0] <= bounds.precision_upper(system, bound=tiny.bound)[0]
    assert error[0] > 100 * bounds.precision_upper(dry, bound=tiny.bound)[0]


def test_out_of_range_there_is_no_bound() -> None:
    system = of_format("fp8_e4m3")
    assert np.isfinite(bounds.precision_upper(system, bound=448.0))
    assert np.isinf(bounds.precision_upper(system, bound=449.0))


@settings(max_examples=300)
@given(
    nodes=st.integers(1, 3).flatmap(lambda d: arrays(float, (1, *[3] * d), elements=st.floats(-1e3, 1e3, width=16))),
    m=st.integers(1, 9),
    w=st.lists(st.integers(-4, 4), min_size=3, max_size=3),
    name=st.sampled_from(attempts.FORMATS),
)
def test_no_drawn_function_breaks_a_bound(nodes: np.ndarray, m: int, w: list[int], name: str) -> None:
    nodal, wave, system = Nodal(nodes), tuple(w[: nodes.ndim - 1]), of_format(name)
    room = 1e-12 * (nodal.bound + nodal.lipschitz)
    limit = bounds.fourier_upper(m, wave, lipschitz=nodal.lipschitz, bound=nodal.bound)
    assert (discretization_error(nodal, m, wave) <= limit + room).all()
    if nodal.bound[0] <= system.largest:
        found = fourier_precision_error(nodal, m, wave, system)
        assert (found <= bounds.precision_upper(system, bound=nodal.bound) + room).all()


@pytest.mark.parametrize("dim", DIMS)
def test_the_lower_bounds_are_reached_by_functions_of_the_class(dim: int) -> None:
    for w in waves(dim, 2):
        for m in (5, 6, 8, 16):
            for lipschitz, bound in ((1.0, 1.0), (30.0, 0.5)):
                ramp = Ramp(w, bounds.ramp_slope(w, lipschitz=lipschitz, bound=bound))
                assert ramp.lipschitz[0] <= lipschitz * HOLDS and ramp.bound[0] <= bound * HOLDS
                least = bounds.discretization_lower(m, w, lipschitz=lipschitz, bound=bound)
                assert discretization_error(ramp, m, w)[0] >= least / HOLDS
            if m > 5 and any(w):
                kink = Kink((w[0] - 1, *w[1:]))
                assert discretization_error(kink, m, w)[0] >= bounds.kink_lower(m, w)
            if m in (8, 16):
                for name in attempts.FORMATS:
                    system = of_format(name)
                    found = precision_error(Biased(system, w, 1.0).grid(m), plane_wave(m, w), system)[0]
                    assert found >= bounds.precision_lower(system, m, w, bound=1.0) * (1 - 1e-4)


def test_a_biased_function_of_the_geometric_system_reaches_the_lower_bound() -> None:
    system = geometric(1e-6, 1e-3, 20000)
    for w in ((0,), (1,), (3,)):
        found = [precision_error(Biased(system, w, 1.0, a).grid(8), plane_wave(8, w), system)[0] for a in (0, math.pi)]
        assert max(found) >= bounds.precision_lower(system, 8, w, bound=1.0) * (1 - 1e-4)
    assert system.roundoff <= 1e-3 / 2 and bounds.precision_upper(system, bound=1.0) <= 1e-3 + 3e-6


def test_where_a_lower_bound_does_not_hold_it_is_refused() -> None:
    with pytest.raises(MpnoError, match="m > 4"):
        bounds.discretization_lower(4, (2,), lipschitz=1.0, bound=1.0)
    with pytest.raises(MpnoError, match="period on the grid is 5"):
        bounds.precision_lower(of_format("fp16"), 5, (1,), bound=1.0)


def test_the_class_of_the_search_is_kept() -> None:
    for w, m in (((1,), 8), ((1, 0), 4), ((1, 1, 0), 3)):
        value, nodal = search_discretization(m, w, lipschitz=10.0, bound=1.0)
        assert nodal.lipschitz[0] <= 10 * HOLDS and nodal.bound[0] <= HOLDS
        assert value == pytest.approx(discretization_error(nodal, m, w)[0], rel=1e-9)
        assert value >= bounds.discretization_lower(m, w, lipschitz=10.0, bound=1.0)


@pytest.mark.parametrize(
    ("dim", "grids", "refine"), [(1, (16, 32, 64, 128), 8), (2, (6, 9, 14, 20), 2), (3, (5, 6, 8), 2)]
)
def test_the_worst_case_over_the_lipschitz_class_falls_as_the_root_of_the_points(
    dim: int, grids: tuple[int, ...], refine: int
) -> None:
    w = (1,) + (0,) * (dim - 1)
    found = [search_discretization(m, w, lipschitz=4.0, bound=1.0, refine=refine)[0] for m in grids]
    assert slope([m**dim for m in grids], found) == pytest.approx(-1 / dim, abs=0.05)
    ramp = [discretization_error(Ramp(w), m, w)[0] for m in grids]
    assert slope([m**dim for m in grids], ramp) == pytest.approx(-1 / dim, abs=0.05)


@pytest.mark.parametrize("dim", DIMS)
def test_a_smooth_periodic_function_with_a_kink_falls_twice_as_fast(dim: int) -> None:
    w, grids = (1,) + (0,) * (dim - 1), (8, 16, 32, 64)
    found = [discretization_error(Kink((0,) * dim), m, w)[0] for m in grids]
    assert slope([m**dim for m in grids], found) == pytest.approx(-2 / dim, abs=0.05)


def slope(points: list[int], values: list[float]) -> float:
    return float(np.polyfit(np.log(points), np.log(values), 1)[0])


@pytest.mark.parametrize("dim", DIMS)
def test_band_limited_functions_have_no_discretization_error(dim: int) -> None:
    assert attempts.band_limited_error(dim, 100) < 1e-14
    family = random_trigonometric(np.random.default_rng(0), 100, dim, 2)
    w = (1,) + (0,) * (dim - 1)
    assert fourier_precision_error(family, 8, w, of_format("fp16")).min() > 1e-9
    # One point fewer than band and wave together and it is there.
    assert discretization_error(family, 3, w).max() > 1e-3


def test_the_precision_bound_is_flat_and_its_average_falls() -> None:
    system, w = of_format("fp16"), (1,)
    family = random_trigonometric(np.random.default_rng(0), 300, 1, 3)
    grids = (8, 32, 128, 512)
    mean = [fourier_precision_error(family, m, w, system).mean() for m in grids]
    worst = [precision_error(Biased(system, w, 1.0).grid(m), plane_wave(m, w), system)[0] for m in grids]
    assert slope(list(grids), mean) < -0.4
    assert abs(slope(list(grids), worst)) < 0.05
    assert max(worst) < bounds.precision_upper(system, bound=1.0)


def test_stochastic_rounding_averages_out_as_the_theorem_says() -> None:
    system, w = of_format("fp16"), (1,)

    def stochastically(x: np.ndarray) -> np.ndarray:
        return round_to(torch.from_numpy(np.ascontiguousarray(x)), "fp16", rounding="stochastic").numpy()

    loud = dataclasses.replace(system, round=stochastically)
    family = Nodal(np.repeat(random_nodal(np.random.default_rng(0), 1, 1, 5).nodes, 400, 0))
    for m in (8, 128):
        wave = plane_wave(m, w)
        once = [precision_error(family.grid(m)[i : i + 1], wave, loud)[0] for i in range(400)]
        rms = math.sqrt(np.mean(np.square(once)))
        limit = bounds.stochastic_rms(system, m, bound=family.bound[0])
        assert 0.05 * limit < rms <= limit
