from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import scipy.sparse as sparse
import sympy
from scipy.sparse.linalg import spsolve

from mpno.datasets import darcy, load_split
from mpno.datasets.darcy import FNO2020, SHIPPED, Medium, coefficient, generate, solve
from mpno.specs import MpnoError

SIZES = (16, 32, 64, 128)
Field = Callable[[np.ndarray, np.ndarray], np.ndarray]


def order(a: Field, u: Field, forcing: Field, sizes: tuple[int, ...] = SIZES) -> float:
    """Slope of the log of the L2 error against the log of the cell width, by least squares."""
    errors = []
    for n in sizes:
        x, y = np.meshgrid(*[(np.arange(n) + 0.5) / n] * 2, indexing="ij")
        errors.append(np.sqrt(np.mean((solve(a(x, y), forcing(x, y)) - u(x, y)) ** 2)))
    return float(np.polyfit(-np.log(sizes), np.log(errors), 1)[0])


def test_manufactured_solution_is_second_order() -> None:
    x, y = sympy.symbols("x y")
    a = sympy.exp(sympy.sin(3 * x) * y) + x
    u = sympy.sin(sympy.pi * x) * y * (1 - y) * sympy.exp(x)
    f = -sum(sympy.diff(a * sympy.diff(u, z), z) for z in (x, y))
    fields = (sympy.lambdify((x, y), expression, "numpy") for expression in (a, u, f))
    assert order(*fields) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("axis", [0, 1])
def test_jump_along_a_face_is_second_order(axis: int) -> None:
    """For any a(s) that is constant on either half, sin(2 pi s) sin(pi t) / a(s) solves with a continuous flux.

    An arithmetic average on the faces would be of first order here.
    """

    def a(*xy: np.ndarray) -> np.ndarray:
        return np.where(xy[axis] > 0.5, 12.0, 3.0)

    def f(*xy: np.ndarray) -> np.ndarray:
        return 5 * np.pi**2 * np.sin(2 * np.pi * xy[axis]) * np.sin(np.pi * xy[1 - axis])

    assert order(a, lambda *xy: f(*xy) / (5 * np.pi**2 * a(*xy)), f) == pytest.approx(2, abs=0.05)


def test_constant_coefficient_has_the_known_torsion_values() -> None:
    """-Laplacian(u) = 1 on the unit square: maximum 0.0736713533, integral 0.0351442 (series solutions)."""
    k, m = np.meshgrid(np.arange(1, 400, 2), np.arange(1, 400, 2))
    integral = (64 / np.pi**6 / (k**2 * m**2 * (k**2 + m**2))).sum()
    u = solve(np.ones((128, 128)))
    assert u.mean() == pytest.approx(integral, rel=5e-4)
    assert u.max() == pytest.approx(0.0736713533, rel=1e-3)


def test_large_grids_agree_with_the_direct_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    a = coefficient(0, 0, 144, "train")
    iterated = solve(a)
    monkeypatch.setattr(darcy, "DIRECT_CELLS", 144)
    np.testing.assert_allclose(iterated, solve(a), rtol=1e-8)


def assembled(a: np.ndarray) -> sparse.csc_array:
    """The matrix once more, face by face: walls take half a cell, faces the harmonic average."""
    n = len(a)
    cell = np.arange(n * n).reshape(n, n)
    rows, columns, values = [], [], []
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        conductance = (2 / (1 / a[first] + 1 / a[second])).ravel()
        i, j = cell[first].ravel(), cell[second].ravel()
        rows += [i, j, i, j]
        columns += [i, j, j, i]
        values += [conductance, conductance, -conductance, -conductance]
    for wall in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        rows, columns, values = [*rows, cell[wall]], [*columns, cell[wall]], [*values, 2 * a[wall]]
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.coo_array(entries, shape=(n * n, n * n)).tocsc()


@pytest.mark.parametrize(("medium", "n"), [(SHIPPED, 128), (FNO2020, 96), (SHIPPED, 3)])
def test_band_factors_agree_with_a_sparse_factorisation(medium: Medium, n: int) -> None:
    """Two direct solvers of one system. Its condition, about 4 n^2 / pi^2 times the contrast, times eps is 2e-11."""
    a = coefficient(0, 1, n, "train", medium=medium, grid="cells")
    forcing = 1 + np.arange(n * n).reshape(n, n) / n**2
    expected = np.asarray(spsolve(assembled(a), forcing.ravel() / n**2)).reshape(n, n)
    np.testing.assert_allclose(solve(a, forcing), expected, rtol=1e-10)


def test_the_finest_public_grid_is_made() -> None:
    """421 points, which no grid of cells has, against the same solution sampled at 16."""
    fine, coarse = generate(6, "test", [0], [421, 16])[421], generate(6, "test", [0], [16], cells=512)[16]
    assert fine.x.shape == fine.y.shape == (1, 1, 421, 421)
    nearest = np.rint(np.arange(16) * 421 / 16).astype(int)
    found = fine.y[0, 0][np.ix_(nearest, nearest)]
    # The nearest point is up to half a spacing away, over which u changes by its steepest slope.
    slope = abs(np.diff(fine.y[0, 0], axis=0)).max() + abs(np.diff(fine.y[0, 0], axis=1)).max()
    assert abs(found - coarse.y[0, 0]).max() <= slope / 2
    assert coarse.y.max() > 4 * slope


def test_iteration_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(darcy, "AMG_ITERATIONS", 1)
    with pytest.raises(MpnoError, match="did not converge in 1 iterations"):
        solve(coefficient(0, 0, 144, "train"))


@pytest.mark.parametrize("move", [np.rot90, np.transpose, np.flipud])
def test_solution_moves_with_the_coefficient(move: Callable[[np.ndarray], np.ndarray]) -> None:
    a = coefficient(1, 0, 48, "train", grid="cells")
    np.testing.assert_allclose(solve(move(a)), move(solve(a)), rtol=1e-9)
    assert not np.allclose(solve(a), move(solve(a)))


@pytest.mark.parametrize("medium", [SHIPPED, FNO2020])
def test_solution_obeys_maximum_principle_and_energy_bounds(medium: Medium) -> None:
    """u > 0 inside; the integral of u falls as a grows, so it lies between those of constant coefficients."""
    unit = solve(np.ones((64, 64))).mean()
    for index in range(3):
        a = coefficient(2, index, 64, "test", medium=medium)
        assert set(np.unique(a)) == {medium.high, medium.low}
        u = solve(a)
        assert u.min() > 0
        assert unit / medium.high < u.mean() < unit / medium.low


def test_linear_in_forcing_and_inverse_in_coefficient() -> None:
    a = coefficient(3, 0, 32, "train")
    np.testing.assert_allclose(solve(4 * a, 2.0), solve(a) / 2, rtol=1e-10)


def test_one_field_on_all_grids() -> None:
    fine = coefficient(4, 1, 512, "train")
    for n in (16, 32, 128):
        np.testing.assert_array_equal(coefficient(4, 1, n, "train"), fine[:: 512 // n, :: 512 // n])
    # On 512 points the data grid is the cell centres.
    np.testing.assert_array_equal(fine, coefficient(4, 1, 512, "train", grid="cells"))


def test_field_off_the_common_points_is_the_same_function() -> None:
    """48 points: each agrees with the nearest of 512, but for those within a point of the interface."""
    fine, coarse = coefficient(4, 1, 512, "train"), coefficient(4, 1, 48, "train")
    nearest = np.rint(np.arange(48) * 512 / 48).astype(int)
    assert (fine[np.ix_(nearest, nearest)] != coarse).mean() < 0.01


def test_solution_is_sampled_at_the_stated_points() -> None:
    """Against the solution on 512 cells, whose centres the points are: a grid off by half a cell fails."""
    u = solve(coefficient(5, 0, 512, "train", grid="cells"))[::16, ::16]
    y = generate(5, "train", [0], [32])[32].y[0, 0]
    assert np.linalg.norm(y - u) < 0.015 * np.linalg.norm(u)


def test_samples_do_not_depend_on_company_or_order() -> None:
    together = generate(6, "train", range(3), [16, 24])
    for index in (2, 0):
        alone = generate(6, "train", [index], [16])[16]
        np.testing.assert_array_equal(alone.x[0], together[16].x[index])
        np.testing.assert_array_equal(alone.y[0], together[16].y[index])
    other = [coefficient(*key) for key in ((6, 1, 24, "train"), (7, 0, 24, "train"), (6, 0, 24, "test"))]
    assert all((a != coefficient(6, 0, 24, "train")).any() for a in other)


def philox(key: tuple[int, int], counter: list[int]) -> list[int]:
    """One block of Philox4x64-10, after Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011)."""
    k, c, mask = list(key), counter, 2**64 - 1
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(second >> 64) ^ c[1] ^ k[0], second & mask, (first >> 64) ^ c[3] ^ k[1], first & mask]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return c


@pytest.mark.parametrize(("seed", "index", "split"), [(0, 0, "train"), (3, 7, "test"), (2**64 - 1, 1, "test")])
def test_modes_follow_from_the_published_generator(seed: int, index: int, split: str) -> None:
    """A seed means the same field with any numpy: blocks 1, 2, ... of the key, and the normal quantile."""
    words = [w for block in (1, 2) for w in philox((seed, ("train", "test").index(split)), [block, 0, 0, index])]
    expected = [NormalDist().inv_cdf(((word >> 11) + 0.5) * 2.0**-53) for word in words]
    np.testing.assert_allclose(darcy._modes(seed, index, split).ravel()[:8], expected, rtol=1e-11)


def test_normal_modes_have_the_stated_law() -> None:
    modes = np.stack([darcy._modes(8, index, "test") for index in range(4)]).ravel()
    n = modes.size
    assert abs(modes.mean()) < 4 / np.sqrt(n)
    assert abs(modes.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((modes**4).mean() - 3) < 4 * np.sqrt(96 / n)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [((0, 0, 1, "train"), "2 to 512"), ((0, 0, 8, "tset"), "did you mean test"), ((-1, 0, 8, "test"), "seed -1")],
)
def test_unknown_samples_are_refused(arguments: tuple[int, int, int, str], word: str) -> None:
    with pytest.raises(MpnoError, match=word):
        coefficient(*arguments)


@pytest.mark.parametrize("a", [np.ones((3, 4)), np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_bad_coefficients_are_refused(a: np.ndarray) -> None:
    with pytest.raises(MpnoError, match="coefficient"):
        solve(a)


def test_nothing_asked_for_is_refused() -> None:
    with pytest.raises(MpnoError, match="ask for at least one"):
        generate(0, "train", [], [16])


def z_score(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Difference of the means of independent samples over its standard error."""
    return float((ours.mean() - theirs.mean()) / np.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs)))


def pattern_statistics(x: np.ndarray) -> dict[str, np.ndarray]:
    """Per-sample statistics of patterns (n, 16, 16) of 0 and 1, so that standard errors follow from the samples."""
    sign = 2.0 * x - 1
    out = {"fraction of high": x.mean((1, 2)), "squared imbalance": sign.mean((1, 2)) ** 2}
    for lag in (1, 2, 4, 8):
        rows = (sign[:, lag:] * sign[:, :-lag]).mean((1, 2))
        out[f"correlation at lag {lag}"] = (rows + (sign[:, :, lag:] * sign[:, :, :-lag]).mean((1, 2))) / 2
    out["correlation at the wall"] = (sign[:, 0] * sign[:, 4]).mean(1)
    return out


def patterns(medium: Medium, count: int) -> np.ndarray:
    return np.stack([coefficient(9, index, 16, "train", medium=medium) for index in range(count)]) == medium.high


def test_pattern_statistics_agree_with_the_public_set(public: Path) -> None:
    theirs = pattern_statistics(load_split(public, "train", 16).x[:, 0])
    ours = pattern_statistics(patterns(SHIPPED, 300))
    scores = {name: z_score(ours[name], theirs[name]) for name in theirs}
    assert max(map(abs, scores.values())) < 3, scores


def test_pattern_statistics_tell_media_apart(public: Path) -> None:
    """The same comparison refutes the medium usually quoted: it has the power to."""
    theirs = pattern_statistics(load_split(public, "train", 16).x[:, 0])
    ours = pattern_statistics(patterns(FNO2020, 200))
    assert z_score(ours["correlation at lag 4"], theirs["correlation at lag 4"]) > 6


def test_solution_statistics_agree_with_the_public_set(public: Path) -> None:
    theirs = load_split(public, "train", 16).y[:, 0]
    ours = generate(10, "train", range(60), [16])[16].y[:, 0]
    scores = {
        "mean": z_score(ours.mean((1, 2)), theirs.mean((1, 2))),
        "second moment": z_score((ours**2).mean((1, 2)), (theirs**2).mean((1, 2))),
        "standard deviation": z_score(ours.std((1, 2)), theirs.std((1, 2))),
        "near the first wall": z_score(ours[:, 1].mean(1), theirs[:, 1].mean(1)),
        "near the last wall": z_score(ours[:, -1].mean(1), theirs[:, -1].mean(1)),
    }
    assert max(map(abs, scores.values())) < 3, scores
