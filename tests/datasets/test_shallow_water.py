"""The shallow water solver against exact solutions and its library's own steps; the samples against their law."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import Tensor

from mpno.datasets import load_split, read_attrs, shallow_water, verify
from mpno.datasets.shallow_water import (
    AMPLITUDES,
    COURANT,
    GRAVITY,
    HEIGHT,
    MEAN,
    OMEGA,
    RADIUS,
    SECONDS,
    Solver,
    drawn_degrees,
    fresh,
    generate,
    make_store,
    random_state,
    scales,
    time_steps,
)
from mpno.specs import DataSpec, MpnoError

harmonics = pytest.importorskip("torch_harmonics", reason="torch-harmonics is not installed")

ROOT = math.sqrt(4 * math.pi)


def undamped(degrees: int) -> Solver:
    solver = Solver(degrees, degrees - 1)
    solver.damping = torch.zeros_like(solver.damping)
    return solver


def drawn(count: int, degrees: int, solved: int) -> Tensor:
    """States of the test split as spectra of `solved` degrees."""
    states = np.stack([random_state(0, 1, index, degrees) for index in range(count)])
    return torch.nn.functional.pad(torch.from_numpy(states), (0, solved - degrees) * 2)


def at_rest(degrees: int) -> Tensor:
    state = torch.zeros(1, 3, degrees, degrees, dtype=torch.complex128)
    state[0, 0, 0, 0] = ROOT * MEAN
    return state


def test_zonal_flow_in_balance_is_steady() -> None:
    """Williamson et al., "A standard test set for the shallow water equations", 1992, case 2, for half a day."""
    speed = 2 * math.pi * RADIUS / (12 * 86400)
    state = torch.zeros(1, 3, 16, 16, dtype=torch.complex128)
    # vorticity = 2 u/R sin(latitude); geopotential = g h0 - (R Omega u + u²/2) sin²(latitude), sin² = 1/3 + 2/3 P2
    depth = RADIUS * OMEGA * speed + speed**2 / 2
    state[0, 1, 1, 0] = 2 * speed / RADIUS * ROOT / math.sqrt(3)
    state[0, 0, 0, 0] = ROOT * (2.94e4 - depth / 3)
    state[0, 0, 2, 0] = -ROOT / math.sqrt(5) * depth * 2 / 3
    later = undamped(16).advance(state, 43200, 72)
    # The library keeps the factors 1/(l(l + 1)) of its vector transform in float32: terms balance to its roundoff.
    roundoff = 2.0**-24
    assert float((later - state)[0, 0].norm()) <= roundoff * float(state[0, 0, 2, 0].abs())
    assert float((later - state)[0, 1:].norm()) <= roundoff * float(state[0, 1].norm())


@pytest.mark.parametrize("degree", [2, 7])
def test_small_waves_on_a_globe_at_rest_follow_the_linear_equations(degree: int) -> None:
    """Without rotation: d(geopotential)/dt = -mean · div, d(div)/dt = l(l + 1)/R² geopotential - damping · div."""
    solver = Solver(8, 7)
    solver.operators.coriolis.zero_()
    stiffness, damping = degree * (degree + 1) / RADIUS**2, (degree * (degree + 1) / 56) ** 4 / 7200
    state = at_rest(8)
    state[0, :, degree, 1] += torch.tensor([1e-3, 1e-12, 1e-9])
    later = solver.advance(state, SECONDS, 24)[0, :, degree, 1]
    want = expm(SECONDS * np.array([[0.0, -MEAN], [stiffness, -damping]])) @ [1e-3, 1e-9]
    # Fields are 1e-8 of the mean, which is what products of them are below the linear terms; a wave turns by 0.014
    # per step at most, and the method's error per step is that to the fifth over 120.
    assert later[0].item() == pytest.approx(want[0], rel=1e-6) and later[2].item() == pytest.approx(want[1], rel=1e-6)
    assert later[1].item() == pytest.approx(1e-12 * math.exp(-damping * SECONDS), rel=1e-6)


def test_tendency_is_the_library_s() -> None:
    solver = Solver(12, 11)
    states = drawn(3, 12, 12)
    for state, got in zip(states, solver.tendency(states), strict=True):
        want = solver.operators.dudtspec(state)
        assert ((got - want).abs().amax((1, 2)) <= 1e-12 * want.abs().amax((1, 2))).all()


def test_the_library_s_steps_converge_to_ours() -> None:
    """Adams-Bashforth of order 3 that starts by Euler's method: errors fall as the square of the step."""
    state = drawn(1, 8, 8)
    ours = undamped(8).advance(state, SECONDS, 12)[0] - state[0]
    errors = []
    for steps in (90, 180):
        library = harmonics.examples.ShallowWaterSolver(12, 24, SECONDS / steps, 8, 8, "legendre-gauss")
        library.hyperdiff = torch.ones_like(library.hyperdiff)
        theirs = library.timestep(state[0].clone(), steps) - state[0]
        errors.append(((theirs - ours).norm(dim=(1, 2)) / ours.norm(dim=(1, 2))).numpy())
    assert (errors[1] < 2e-4).all() and np.allclose(errors[0] / errors[1], 4, rtol=0.1)


def test_time_steps_are_of_order_four() -> None:
    # Without the degrees that only products fill: those are damped within a step.
    solver, state = Solver(11, 10), drawn(2, 11, 11)
    exact = solver.advance(state, SECONDS, 96)
    errors = [float((solver.advance(state, SECONDS, steps) - exact)[:, 2].norm()) for steps in (6, 12, 24)]
    assert np.allclose(-np.diff(np.log2(errors)), 4, atol=0.3)


def energy(solver: Solver, state: Tensor) -> float:
    """Mean of geopotential · wind² / 2 + geopotential² / 2 over the sphere, above that of the fluid at rest."""
    o = solver.operators
    geopotential, wind = o.spec2grid(state[:, 0]), o.getuv(state[:, 1:])
    rest = (state[:, 0, 0, 0].real / ROOT).reshape(-1, 1, 1)
    density = 0.5 * geopotential * wind.square().sum(1) + 0.5 * (geopotential - rest).square()
    return float(o.integrate_grid(density, dimensionless=True).sum() / (4 * math.pi))


def test_mass_and_energy_are_kept() -> None:
    state = drawn(4, 11, 22)
    steps = time_steps(11)
    solver = undamped(22)
    later = solver.advance(state, SECONDS, steps)
    mass, mass_later = (solver.operators.integrate_grid(solver.operators.spec2grid(s[:, 0])) for s in (state, later))
    assert torch.allclose(mass_later, mass, rtol=1e-14)
    # The method shrinks a wave that turns by c per step by c^6 / 144; the highest degrees drawn have c = COURANT.
    drift = 1 - energy(solver, later) / energy(solver, state)
    assert 0 <= drift <= 2 * steps * COURANT**6 / 144
    damped = Solver(22, 10).advance(state, SECONDS, steps)
    assert energy(solver, damped) < (1 - 10 * drift) * energy(solver, state)


@pytest.mark.parametrize("degrees", [6, 11])
def test_twice_the_degrees_points_and_steps_change_less_than_half_a_percent(degrees: int) -> None:
    fields = []
    for factor in (1, 2):
        solver = Solver(2 * factor * degrees, degrees - 1)
        state = drawn(3, degrees, 2 * factor * degrees)
        fields.append(solver.advance(state, SECONDS, factor * time_steps(degrees)))
    for n in (3 * degrees - 1, 6 * degrees):
        coarse, fine = (shallow_water._on_grid(state, n, degrees) for state in fields)
        change, size = (torch.linalg.vector_norm(field, dim=(0, 2, 3)) for field in (coarse - fine, fine))
        assert (change < 0.005 * size).all() and (change > 0).all()


def test_a_seed_is_one_function_on_every_grid() -> None:
    samples = generate(3, "test", [0, 4], [16, 25, 32], degrees=6)
    spectra = {}
    for n, split in samples.items():
        analysis = harmonics.RealSHT(n, 2 * n, lmax=(n + 1) // 2, mmax=(n + 1) // 2, csphase=False)
        spectra[n] = analysis(torch.from_numpy(np.stack([split.x, split.y])).double())
    for n in (25, 32):
        assert (spectra[n][..., :8, :8] - spectra[16]).norm() <= 1e-6 * spectra[16].norm()
        # What 16 latitudes leave out: nothing of the input, little of the target.
        rest = spectra[n].clone()
        rest[..., :8, :8] = 0.0
        missing = torch.linalg.vector_norm(rest, dim=(1, 3, 4)) / torch.linalg.vector_norm(spectra[n], dim=(1, 3, 4))
        assert (missing[0] < 1e-6).all() and (missing[1] < 0.005).all()
    # More degrees are more modes of the same function.
    assert np.array_equal(random_state(3, 1, 4, 9)[:, :6, :6], random_state(3, 1, 4, 6))


def test_random_states_follow_the_library_s_law() -> None:
    """Unit variance by channel: over 80 samples of 121 modes its standard error is 2 %; and the library's as well."""
    count, degrees = 80, 11
    units = torch.tensor(scales(degrees))[:, None, None]
    library = harmonics.examples.ShallowWaterSolver(17, 34, 1.0, 11, 11, "legendre-gauss")
    theirs = torch.stack([library.random_initial_condition(mach=0.2) for _ in range(count)])
    theirs[:, 1:, 0, 0] = 0.0
    for states in (theirs, drawn(count, degrees, degrees)):
        states[:, 0, 0, 0] -= ROOT * MEAN
        fields = library.spec2grid(states)
        square = library.integrate_grid(fields.square(), dimensionless=True).mean(0) / (4 * math.pi)
        assert np.allclose(square / units.flatten().square(), 1, atol=0.1)
    assert torch.equal(drawn(5, degrees, degrees)[:, 1:, 0, 0], torch.zeros(5, 2, dtype=torch.complex128))
    nominal = [float(library.gravity * library.hamp), *[0.2 * math.sqrt(GRAVITY * HEIGHT) / RADIUS] * 2]
    assert np.allclose(AMPLITUDES, nominal)


def test_a_sample_is_the_same_bytes_in_any_company() -> None:
    whole = generate(1, "train", range(11), [16])[16]
    for indices, grids in (([10, 2, 3], [16]), ([5], [16, 20])):
        some = generate(1, "train", indices, grids)[16]
        assert np.array_equal(some.x, whole.x[indices]) and np.array_equal(some.y, whole.y[indices])


def test_splits_seeds_and_epochs_are_separate_streams() -> None:
    train, test = (generate(1, split, range(2), [16])[16] for split in ("train", "test"))
    other = generate(2, "train", range(2), [16])[16]
    epochs = [torch.cat([x for x, _ in fresh(1, epoch, 2, 16)]).numpy() for epoch in (0, 1)]
    fields = [train.x, test.x, other.x, *epochs]
    for one, first in enumerate(fields):
        for second in fields[one + 1 :]:
            correlation = np.corrcoef(first[:, 1].ravel(), second[:, 1].ravel())[0, 1]
            assert abs(correlation) < 0.5


def test_fresh_samples_depend_on_their_place_alone() -> None:
    whole = [torch.cat(parts) for parts in zip(*fresh(1, 7, 10, 16), strict=True)]
    batches = list(fresh(1, 7, 10, 16, batch=4))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    assert all(
        torch.equal(torch.cat(parts), all_) for parts, all_ in zip(zip(*batches, strict=True), whole, strict=True)
    )
    # They are ordinary tensors, which a training may save for its backward.
    assert not whole[0].is_inference() and whole[1].dtype is torch.float32


def spec(**values: object) -> DataSpec:
    """A spec as the data set's own defaults would make it."""
    given = {"n_train": 3, "n_test": 2, "resolution": 16, "test_resolutions": (32,), "seed": 4} | values
    return DataSpec(name="shallow-water", source="generate", **given)  # type: ignore[arg-type]


def test_store_holds_what_the_spec_asks(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        make_store(spec(), tmp_path / name, progress=False)
    assert verify(tmp_path / "a.h5") == verify(tmp_path / "b.h5")
    train, fine = load_split(tmp_path / "a.h5", "train", 16), load_split(tmp_path / "a.h5", "test", 32)
    assert train.x.shape == train.y.shape == (3, 3, 16, 32) and fine.y.shape == (2, 3, 32, 64)
    # The training grid's degrees are drawn for both splits, whatever grids are tested.
    assert np.array_equal(fine.y, generate(4, "test", range(2), [32], degrees=6)[32].y)
    attrs = read_attrs(tmp_path / "a.h5")
    origin = json.loads(attrs["origin"])
    assert (attrs["seed"], origin["degrees_drawn"], origin["degrees_solved"]) == (4, 6, 12)
    assert origin["units"]["geopotential"] == scales(6)[0] and "105 m2 s-2" not in attrs["units_x"][0]
    said = zip(attrs["units_y"], ("geopotential", "vorticity", "divergence"), strict=True)
    assert all(unit.startswith(channel) for unit, channel in said)
    # Without its units a state would not be the one that was drawn.
    physical = train.x[0, 0].astype(np.float64) * origin["units"]["geopotential"] + origin["mean_geopotential"]
    assert abs(physical.mean() - random_state(4, 0, 0, 6)[0, 0, 0].real / ROOT) < 0.05 * scales(6)[0] * 36
    assert not list(tmp_path.glob(".*"))


def test_mistakes_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match="split 'tests'; did you mean test"):
        generate(0, "tests", [0], [16])
    with pytest.raises(MpnoError, match="ask for at least one"):
        generate(0, "test", [], [16])
    with pytest.raises(MpnoError, match="resolution 3; allowed: 4"):
        generate(0, "test", [0], [3, 16], degrees=6)
    with pytest.raises(MpnoError, match="sample -8"):
        generate(0, "test", [-1], [16])
    with pytest.raises(MpnoError, match="epoch -1"):
        next(fresh(0, -1, 1, 16))
    monkeypatch.setattr(shallow_water, "AMPLITUDES", AMPLITUDES * 1e9)
    with pytest.raises(MpnoError, match="samples 0 to 7: not finite"):
        make_store(spec(), tmp_path / "a.h5", progress=False)
    assert not list(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "torch_harmonics", None)
    shallow_water._solver.cache_clear()
    with pytest.raises(MpnoError, match="pip install"):
        generate(0, "test", [0], [16])


def test_degrees_and_steps() -> None:
    """ceil(n / 3) as in the paper's solver; a wave of the highest degree drawn turns by a third per step."""
    assert [drawn_degrees(n) for n in (32, 64, 256)] == [11, 22, 86]
    for degrees in (11, 86):
        frequency = math.sqrt(MEAN * degrees * (degrees - 1)) / RADIUS
        assert 0.25 < frequency * SECONDS / time_steps(degrees) <= COURANT
