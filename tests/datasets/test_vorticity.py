"""The solver against solutions known in closed form, its own conservation laws, and an independent right-hand side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy
import torch
from scipy.integrate import simpson, solve_ivp

from mpno.datasets import fourier
from mpno.datasets.vorticity import Solver, kept
from mpno.specs import MpnoError

EPS = float(np.finfo(np.float64).eps)


def points(n: int) -> tuple[np.ndarray, np.ndarray]:
    x = 2 * np.pi * np.arange(n) / n
    return np.meshgrid(x, x, indexing="ij")  # type: ignore[return-value]


def state(solver: Solver, field: np.ndarray) -> torch.Tensor:
    return solver.state(fourier.analyse(field[None], kept(solver.n)))


def advance(w: np.ndarray, f: np.ndarray, *, viscosity: float, time: float, steps: int) -> np.ndarray:
    """Field (n, n) after `steps` steps in double precision."""
    solver = Solver(len(w), viscosity=viscosity, dt=time / steps, dtype=torch.float64)
    result, _ = solver.run(state(solver, w), state(solver, f), steps)
    return fourier.sample(solver.modes(result), len(w))[0]


def smooth(n: int, seed: int, cut: int = 5) -> np.ndarray:
    """A random field of mean zero with wavenumbers up to `cut`; the same function on every grid."""
    shape = (2 * cut + 1, cut + 1)
    generator = np.random.default_rng(seed)
    modes = generator.normal(size=shape) + 1j * generator.normal(size=shape)
    modes[0, 0] = 0
    return fourier.sample(modes, n) / 8


def shell(n: int) -> np.ndarray:
    """A function of the wavenumbers with |k| = 5: its advection of itself vanishes, term against term."""
    x, y = points(n)
    return 3 * np.cos(5 * x) + 2 * np.sin(3 * x + 4 * y) - np.cos(4 * x - 3 * y) + np.sin(5 * y)


def test_taylor_green_vortices_decay_exactly() -> None:
    """Advection cancels and viscosity is exact: what is left is the rounding of the advection term, of the size of
    eps times speed (2), wavenumber (5), vorticity and time, times the few operations on each number."""
    n, viscosity, time = 32, 0.02, 1.0
    for w, squares in ((np.cos(points(n)[0]) * np.cos(points(n)[1]), 2), (shell(n), 25)):
        found = advance(w, 0 * w, viscosity=viscosity, time=time, steps=40)
        assert abs(found - w * np.exp(-viscosity * squares * time)).max() < 100 * EPS * abs(w).max()


def test_forced_flow_from_rest_follows_the_closed_form() -> None:
    """A force of one shell drives w = f (1 - exp(-25 nu t)) / (25 nu). The step's error is (25 nu dt)^4 / 120 of it."""
    n, viscosity, time, steps = 32, 0.02, 2.0, 100
    f = shell(n)
    expected = f * -np.expm1(-25 * viscosity * time) / (25 * viscosity)
    found = advance(0 * f, f, viscosity=viscosity, time=time, steps=steps)
    assert abs(found / time - expected / time).max() < (25 * viscosity * time / steps) ** 4 * abs(f).max()


def tendency(w: np.ndarray, f: np.ndarray, viscosity: float, cut: int) -> np.ndarray:
    """f - u . grad w + nu Laplacian w for rfft2 coefficients, in the plain form, with products on twice the points."""
    n = len(w)
    kx, ky = np.fft.fftfreq(n, 1 / n)[:, None], np.arange(n // 2 + 1)[None, :]
    squares = kx**2 + ky**2
    psi = w / np.where(squares == 0, 1, squares)
    u, v, wx, wy = (
        np.fft.irfft2(part, s=(n, n), norm="forward")
        for part in (1j * ky * psi, -1j * kx * psi, 1j * kx * w, 1j * ky * w)
    )
    advection = np.fft.rfft2(u * wx + v * wy, norm="forward")
    return np.where((abs(kx) <= cut) & (ky <= cut), f - advection - viscosity * squares * w, 0)


def test_agrees_with_another_integrator_of_the_plain_form() -> None:
    """The Galerkin system of 16 points, written as u . grad w on 32, by an eighth-order method to 1e-11."""
    n, viscosity, time = 16, 0.01, 1.0
    w0, f = smooth(2 * n, 0), smooth(2 * n, 1)
    start, force = np.fft.rfft2(w0, norm="forward"), np.fft.rfft2(f, norm="forward")

    def flat(_: float, w: np.ndarray) -> np.ndarray:
        return tendency(w.reshape(start.shape), force, viscosity, kept(n)).ravel()

    end = solve_ivp(flat, (0, time), start.ravel(), method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    expected = np.fft.irfft2(end.reshape(start.shape), s=w0.shape, norm="forward")[::2, ::2]
    found = advance(w0[::2, ::2], f[::2, ::2], viscosity=viscosity, time=time, steps=400)
    assert abs(expected - w0[::2, ::2]).max() > 0.1
    assert abs(found - expected).max() < 1e-9


def test_time_step_is_of_fourth_order() -> None:
    n, counts = 24, np.array([16, 32, 64, 128])
    w0, f = smooth(n, 0), smooth(n, 1)
    exact = advance(w0, f, viscosity=0.02, time=1.0, steps=1024)
    errors = [abs(advance(w0, f, viscosity=0.02, time=1.0, steps=int(c)) - exact).max() for c in counts]
    assert np.polyfit(-np.log(counts), np.log(errors), 1)[0] == pytest.approx(4, abs=0.15)


def manufactured(viscosity: float) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
    """A steady flow of all wavenumbers, and the forcing that holds it."""
    x, y = sympy.symbols("x y")
    psi = sympy.exp(sympy.sin(x) + sympy.cos(y) / 2) + sympy.sin(x + y)
    w = -(sympy.diff(psi, x, 2) + sympy.diff(psi, y, 2))
    advection = sympy.diff(psi, y) * sympy.diff(w, x) - sympy.diff(psi, x) * sympy.diff(w, y)
    f = advection - viscosity * (sympy.diff(w, x, 2) + sympy.diff(w, y, 2))
    return sympy.lambdify((x, y), w, "numpy"), sympy.lambdify((x, y), f, "numpy")


def test_manufactured_flow_converges_spectrally() -> None:
    """Every eight points more divide the error by ten and more: faster than any power of the spacing."""
    w, f = manufactured(0.05)
    errors = []
    for n in (16, 24, 32, 48):
        start = w(*points(n))
        found = advance(start, f(*points(n)), viscosity=0.05, time=0.25, steps=200)
        errors.append(abs(found - start).max() / abs(start).max())
    assert errors[1] < errors[0] / 10 and errors[2] < errors[1] / 10 and errors[3] < errors[2] / 100
    assert errors[3] < 1e-7


def budget(n: int, steps: int) -> tuple[float, float]:
    """How far energy and enstrophy are from what viscosity took and forcing gave, by Simpson's rule over the steps."""
    viscosity, time = 0.02, 1.0
    solver = Solver(n, viscosity=viscosity, dt=time / steps, dtype=torch.float64)
    w, f = state(solver, smooth(n, 0)), state(solver, smooth(n, 1))
    series = []
    for _ in range(steps + 1):
        series.append(torch.view_as_complex(w)[0].numpy())
        w, _ = solver.run(w, f, 1)
    w, f = np.stack(series), torch.view_as_complex(f)[0].numpy()
    ky, kx = np.arange(w.shape[1])[:, None], np.fft.fftfreq(n, 1 / n)[None, :]
    squares = np.maximum(kx**2 + ky**2, 1)
    twice = np.where(ky == 0, 1, 2)  # the conjugates are not kept

    def mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (twice * np.real(a * b.conj())).sum((-2, -1))

    times = np.linspace(0, time, steps + 1)
    energy, enstrophy, palinstrophy = (mean(w, w * weight) / 2 for weight in (1 / squares, 1, squares))
    energy_rate = mean(w / squares, f) - 2 * viscosity * enstrophy
    enstrophy_rate = mean(w, f) - 2 * viscosity * palinstrophy
    assert abs(energy[-1] - energy[0]) > 0.01 and abs(enstrophy[-1] - enstrophy[0]) > 0.005
    return (
        abs(energy[-1] - energy[0] - simpson(energy_rate, x=times)),
        abs(enstrophy[-1] - enstrophy[0] - simpson(enstrophy_rate, x=times)),
    )


def test_energy_and_enstrophy_budgets_close() -> None:
    """Both errors are of the fourth order of the step: they fall by 16 when it is halved."""
    coarse, fine = np.array(budget(24, 40)), np.array(budget(24, 80))
    assert (coarse / fine > 12).all()
    assert (fine < 1e-6).all()


def test_ideal_flow_conserves_energy_and_enstrophy() -> None:
    """Aliasing would break both; what is left falls with the step."""
    n, w0 = 24, smooth(24, 2, cut=7)

    def drift(steps: int) -> np.ndarray:
        solver = Solver(n, viscosity=0.0, dt=1 / steps, dtype=torch.float64)
        end, _ = solver.run(state(solver, w0), state(solver, 0 * w0), steps)
        weights = 1 / np.maximum(np.fft.fftfreq(n, 1 / n) ** 2 + (np.arange(kept(n) + 1)[:, None]) ** 2, 1)
        out = []
        for weight in (weights, np.ones_like(weights)):
            twice = np.where(np.arange(kept(n) + 1)[:, None] == 0, 1, 2) * weight
            before, after = (
                (abs(torch.view_as_complex(s)[0].numpy()) ** 2 * twice).sum() for s in (state(solver, w0), end)
            )
            out.append(abs(after / before - 1))
        return np.array(out)

    assert (drift(100) < 1e-5).all()
    assert (drift(50) / drift(100) > 12).all()


def reflect(field: np.ndarray) -> np.ndarray:
    """The field at (-x, y)."""
    return np.roll(field[::-1], 1, axis=0)


MOVES = {
    "shifted": lambda w: np.roll(w, (5, -3), axis=(0, 1)),
    "mirrored": lambda w: -reflect(w),
    "transposed": lambda w: -w.T,
    "turned": lambda w: reflect(w.T),
}


@pytest.mark.parametrize("move", MOVES)
def test_flow_moves_with_the_forcing(move: str) -> None:
    """The equation does not change under shifts and turns; under mirrors vorticity changes its sign."""
    f = smooth(32, 3)
    w = advance(0 * f, f, viscosity=0.01, time=2.0, steps=60)
    moved = advance(0 * f, MOVES[move](f), viscosity=0.01, time=2.0, steps=60)
    # Rounding of 60 steps, grown by the flow's own stretching: gradients of u of about 3 over 2 units of time.
    np.testing.assert_allclose(moved, MOVES[move](w), atol=60 * EPS * np.exp(3 * 2.0) * abs(w).max())
    assert abs(moved - w).max() > 0.1


def test_mean_vorticity_stays_zero_whatever_the_mean_of_the_forcing() -> None:
    solver = Solver(32, viscosity=0.01, dt=0.01)
    w, _ = solver.run(state(solver, smooth(32, 0) + 7), state(solver, smooth(32, 1) + 3), 50)
    assert torch.equal(w[:, 0, 0], torch.zeros(1, 2))


def test_a_sample_does_not_feel_its_batch() -> None:
    solver = Solver(64, viscosity=0.005, dt=0.005)
    forcing = torch.cat([state(solver, smooth(64, seed)) for seed in range(9)])
    whole, courant = solver.run(torch.zeros_like(forcing), forcing, 20)
    for start, stop in ((0, 1), (3, 4), (5, 8), (1, 9)):
        part, seen = solver.run(torch.zeros_like(forcing[start:stop]), forcing[start:stop].clone(), 20)
        assert torch.equal(part, whole[start:stop])
        np.testing.assert_array_equal(seen, courant[start:stop])


def test_courant_number_is_the_stated_one() -> None:
    """w = 6 (cos 3x + cos 3y) has u = -2 sin 3y and v = 2 sin 3x, whose tops 32 points meet to 0.5 %."""
    solver = Solver(32, viscosity=0.0, dt=0.01)
    w = state(solver, 6 * (np.cos(3 * points(32)[0]) + np.cos(3 * points(32)[1])))
    _, courant = solver.run(w, 0 * w, 1)
    assert courant[0] == pytest.approx(4 * 0.01 * 32 / (2 * np.pi), rel=5e-3)


@pytest.mark.parametrize("courant", [1.34, 2.5])
def test_steps_within_the_limit_are_stable_and_far_above_are_not(courant: float) -> None:
    """Small waves of every wavenumber on a strong steady flow, without viscosity: growth has to come from the step."""
    n = 48
    x, y = points(n)
    flow = np.cos(x) - np.cos(y)  # |u| + |v| = 2 at its fastest
    solver = Solver(n, viscosity=0.0, dt=courant * 2 * np.pi / n / 2, dtype=torch.float64)
    noise = np.random.default_rng(0).normal(size=(n, n)) * 1e-8
    end, _ = solver.run(state(solver, flow + noise), state(solver, 0 * flow), 600)
    kept_small = abs(fourier.sample(solver.modes(end), n)[0] - flow).max() < 1e-3  # false for what is not a number
    assert kept_small == (courant < 2)


@pytest.mark.parametrize(
    ("n", "viscosity", "dt"), [(2, 0.1, 0.1), (16, -0.1, 0.1), (16, 0.1, 0.0), (16, float("nan"), 0.1)]
)
def test_bad_arguments_are_refused(n: int, viscosity: float, dt: float) -> None:
    with pytest.raises(MpnoError, match=r"vorticity: .*allowed"):
        Solver(n, viscosity=viscosity, dt=dt)


@pytest.mark.parametrize("n", [3, 8, 11, 16, 40])
def test_sampling_is_the_fourier_sum(n: int) -> None:
    cut = 5
    generator = np.random.default_rng(1)
    modes = generator.normal(size=(11, 6)) + 1j * generator.normal(size=(11, 6))
    modes[0, 0] = modes[0, 0].real
    modes[-5:, 0] = modes[5:0:-1, 0].conj()
    x, y = points(n)
    k = np.r_[0 : cut + 1, -cut:0]
    expected = sum(
        (1 if j == 0 else 2) * (modes[i, j] * np.exp(1j * (k[i] * x + j * y))).real for i in range(11) for j in range(6)
    )
    np.testing.assert_allclose(fourier.sample(modes, n), expected, atol=1e-12)


def test_modes_come_back_from_samples_and_from_other_cuts() -> None:
    values = smooth(16, 4)
    modes = fourier.analyse(values, 5)
    np.testing.assert_allclose(fourier.sample(modes, 16), values, atol=1e-14)
    np.testing.assert_array_equal(fourier.resize(fourier.resize(modes, 9), 5), modes)
    np.testing.assert_allclose(fourier.sample(fourier.resize(modes, 9), 16), values, atol=1e-14)
    assert fourier.resize(modes, 0).shape == (1, 1)
