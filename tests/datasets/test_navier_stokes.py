from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mpno.datasets import fourier, load_split, navier_stokes, read_attrs
from mpno.datasets.draws import normals
from mpno.datasets.navier_stokes import VISCOSITY, forcing_modes, generate, make_store, solution_grid, solve
from mpno.datasets.store import Split
from mpno.datasets.vorticity import Solver
from mpno.specs import DataSpec, MpnoError

TIME = 5.0


def change(coarse: np.ndarray, fine: np.ndarray) -> float:
    """Largest relative L2 difference of samples (count, ..., n, n)."""
    axes = (-2, -1)
    return float(np.sqrt(((coarse - fine) ** 2).sum(axes) / (fine**2).sum(axes)).max())


def small(indices: list[int], resolutions: list[int], **settings: float) -> dict[int, Split]:
    """Samples that cost little: a short time on a coarse grid."""
    return generate(0, "train", indices, resolutions, solve_grid=32, viscosity=0.05, final_time=0.5, **settings)  # type: ignore[arg-type]


def test_solution_grid_resolves_the_flow() -> None:
    """Doubling the grid changes less than 0.5 %; benchmarks/data_generation.py does the same for larger grids."""
    assert [solution_grid(viscosity) for viscosity in (1 / 50, VISCOSITY, 1 / 500)] == [64, 128, 256]
    found = [generate(0, "test", [0], [64], viscosity=1 / 50, solve_grid=n)[64].y for n in (64, 128)]
    assert 0 < change(*found) < 0.005


def test_a_grid_too_coarse_is_told_apart() -> None:
    found = [generate(0, "test", [0], [64], viscosity=VISCOSITY, solve_grid=grid)[64].y for grid in (32, 64)]
    assert change(*found) > 0.05


def test_single_precision_is_far_below_the_discretisation_error() -> None:
    """The same steps in double: the difference is less than a hundredth of what a finer grid may change."""
    forcing = forcing_modes(0, 0, "test")[None]
    single = solve(forcing, 64, viscosity=1 / 50, final_time=TIME, names=["it"])
    start = 0 * forcing
    for count in navier_stokes.steps(64, TIME):
        solver = Solver(64, viscosity=1 / 50, dt=TIME / navier_stokes.STAGES / count, dtype=torch.float64)
        state, _ = solver.run(solver.state(start), solver.state(forcing), count)
        start = solver.modes(state)
    assert 0 < change(fourier.sample(single, 64), fourier.sample(start, 64)) < 0.005 / 100


def test_time_step_is_far_below_the_discretisation_error() -> None:
    forcing = forcing_modes(0, 1, "test")[None]
    whole, halved = (
        solve(forcing, 64, viscosity=1 / 50, final_time=TIME, names=["it"], halvings=halvings) for halvings in (0, 1)
    )
    assert 0 < change(fourier.sample(whole, 64), fourier.sample(halved, 64)) < 0.005 / 100


def test_one_function_on_all_grids() -> None:
    """Grids hold the same values where they meet, below and above the solution grid, for input and output."""
    made = small([3], [16, 24, 48, 96])
    for coarse, fine in ((16, 48), (24, 48), (48, 96), (16, 96)):
        for kind in (0, 1):
            step = fine // coarse
            apart = abs(made[coarse][kind] - made[fine][kind][..., ::step, ::step]).max()
            assert apart < 4 * np.finfo(np.float32).eps * abs(made[fine][kind]).max()


def test_a_short_time_is_the_forcing_times_the_time() -> None:
    """w(T) = T f + O(T^2), whatever solves it: input and output have one orientation and one grid."""
    made = generate(0, "train", [0], [48], viscosity=0.01, final_time=1e-3, solve_grid=128)[48]
    assert change(made.y / np.float32(1e-3), made.x) < 1e-3


def test_a_sample_does_not_depend_on_its_batch() -> None:
    whole = small([0, 1, 2, 3, 4], [32])[32]
    for indices in ([3], [4, 1], [2, 3, 4, 0]):
        part = small(indices, [32])[32]
        np.testing.assert_array_equal(part.x, whole.x[indices])
        np.testing.assert_array_equal(part.y, whole.y[indices])


def test_train_and_test_share_no_sample() -> None:
    """Not one field occurs twice, nor does any resemble another more than independent fields of few modes do."""
    fields = [fourier.sample(forcing_modes(0, i, split), 32).ravel() for split in ("train", "test") for i in range(20)]
    fields += [fourier.sample(forcing_modes(1, i, "train"), 32).ravel() for i in range(20)]
    correlation = np.corrcoef(fields) - np.eye(len(fields))
    assert abs(correlation).max() < 0.8


def test_forcing_has_the_stated_law() -> None:
    """Mean square of f at a point: the sum over k of 27^2 (|k|^2 + 9)^-4, without k = 0."""
    k = np.arange(-60, 61)
    squares = k[:, None] ** 2 + k**2
    power = 27.0**2 * (squares + 9.0) ** -4.0
    power[60, 60] = 0
    count = 400
    samples = np.stack([forcing_modes(5, index, "train") for index in range(count)])
    square = (abs(samples) ** 2 * np.where(np.arange(43) == 0, 1, 2)).sum((1, 2))
    assert abs(square.mean() - power.sum()) < 4 * square.std() / np.sqrt(count)
    # One mode alone: of both parts of c(k) the variance is half of its power.
    low = samples[:, 1, 2]
    for part in (np.real(low), np.imag(low)):
        assert part.var() == pytest.approx(27.0**2 * 14.0**-4 / 2, rel=4 * np.sqrt(2 / count))
    assert abs((np.real(low) * np.imag(low)).mean()) < 4 * 27.0**2 * 14.0**-4 / 2 / np.sqrt(count)


def test_low_modes_do_not_depend_on_how_many_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = forcing_modes(0, 7, "train")
    monkeypatch.setattr(navier_stokes, "FORCING_CUT", 10)
    navier_stokes._law.cache_clear()
    fewer = forcing_modes(0, 7, "train")
    monkeypatch.undo()
    navier_stokes._law.cache_clear()
    np.testing.assert_array_equal(fewer, fourier.resize(whole, 10))


def test_forcing_is_real_and_without_mean() -> None:
    modes = forcing_modes(2, 0, "test")
    assert modes[0, 0] == 0
    np.testing.assert_array_equal(modes[-42:, 0], modes[42:0:-1, 0].conj())


def test_longer_draws_start_with_shorter_ones() -> None:
    np.testing.assert_array_equal(normals("a", 1, "test", 2, 50)[:20], normals("a", 1, "test", 2, 20))


def test_a_sample_too_fast_for_the_step_is_solved_again_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With too few steps the two faster ones of four samples are repeated with half the step; the others stay."""
    forcing = np.stack([forcing_modes(0, index, "train") for index in range(4)])
    usual = navier_stokes.steps(32, TIME)
    monkeypatch.setattr(navier_stokes, "steps", lambda n, time: [round(count * 0.7) for count in usual])
    repeated: list[str] = []

    def watched(*args, **settings):
        if settings.get("halvings"):
            repeated.extend(settings["names"])
        return solve(*args, **settings)

    monkeypatch.setattr(navier_stokes, "solve", watched)
    names = [f"sample {index}" for index in range(4)]
    found = watched(forcing, 32, viscosity=0.02, final_time=TIME, names=names)
    assert 0 < len(set(repeated)) < 4
    slow = [row for row in range(4) if names[row] not in repeated]
    again = solve(forcing[slow], 32, viscosity=0.02, final_time=TIME, names=[names[row] for row in slow])
    np.testing.assert_array_equal(found[slow], again)
    monkeypatch.setattr(navier_stokes, "steps", lambda n, time: [4 * count for count in usual])
    exact = solve(forcing, 32, viscosity=0.02, final_time=TIME, names=names)
    assert change(fourier.sample(found, 32), fourier.sample(exact, 32)) < 1e-3


def test_a_sample_too_fast_for_any_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(navier_stokes, "steps", lambda n, time: [1] * navier_stokes.STAGES)
    monkeypatch.setattr(navier_stokes, "HALVINGS", 1)
    with pytest.raises(MpnoError, match=r"train sample 6: Courant number .* allowed: 1.35, with 10 steps"):
        generate(0, "train", [6], [32], solve_grid=64, viscosity=0.02)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"split": "tset"}, "did you mean test"),
        ({"seed": -1}, "seed -1"),
        ({"indices": []}, "ask for at least one"),
        ({"resolutions": [1]}, "resolution 1"),
        ({"viscosity": 0.0}, "above 0"),
        ({"viscosity": 1e-5}, "give the solve_grid"),
    ],
)
def test_bad_requests_are_refused(settings: dict, word: str) -> None:
    usual = {"seed": 0, "split": "test", "indices": [0], "resolutions": [16], "viscosity": 0.02}
    with pytest.raises(MpnoError, match=word):
        generate(**(usual | settings))


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpno.datasets.navier_stokes.FINAL_TIME", 0.5)
    spec = DataSpec(
        name="navier-stokes",
        source="generate",
        viscosity=1 / 50,
        resolution=16,
        test_resolutions=(32, 16),
        n_train=3,
        n_test=2,
        n_test_finer=1,
        seed=4,
    )
    for name in ("a.h5", "b.h5"):
        make_store(spec, tmp_path / name)
    a, b = (read_attrs(tmp_path / name) for name in ("a.h5", "b.h5"))
    assert a == b
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    origin = json.loads(a["origin"])
    assert (origin["viscosity"], origin["reynolds_number"], origin["solve_grid"]) == (0.02, 50, 64)
    assert len(origin["steps_per_stage"]) == 5
    train = load_split(tmp_path / "a.h5", "train", 16)
    expected = generate(4, "train", range(3), [16], viscosity=1 / 50, final_time=0.5)[16]
    np.testing.assert_array_equal(train.x, expected.x)
    np.testing.assert_array_equal(train.y, expected.y)
    coarse, fine = (load_split(tmp_path / "a.h5", "test", n).x for n in (16, 32))
    assert coarse.shape == (2, 1, 16, 16) and fine.shape == (1, 1, 32, 32)
    np.testing.assert_allclose(fine[:, :, ::2, ::2], coarse[:1], atol=1e-6)  # one function on both
