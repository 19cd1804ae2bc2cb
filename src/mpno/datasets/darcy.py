"""Darcy flow, solved here: -div(a grad u) = 1 on the unit square, u = 0 on its boundary.

The coefficient a takes two values, by the sign of a Gaussian field with covariance (-Laplacian + tau^2)^-alpha,
Neumann boundary conditions (cosine modes) and no constant mode. Two media are named below: the one the public
16 and 32 set was found to be made of, which is what :func:`generate` draws unless told otherwise, and the one
usually quoted from the FNO paper.

Grids. The public set was cut from the 512 x 512 cell centres (i + 1/2) / 512, every 32nd for 16 points and every 16th
for 32: its points are i/n + 1/1024, which the slope of y at the four edges gives to six digits. Data made here are
sampled at the same points for every n, so that grids nest as the public ones do. The solver is cell-centred on
its own grid of 128, 256 or 512 cells, the first that is not below the finest resolution asked for, and the solution
is interpolated linearly to the points (on 512 cells the points are cell centres and nothing is interpolated).
Relative L2 error of the solution against 512 cells, measured on six samples of the public set's medium:
0.3 to 1.0 % on 128 cells, 0.1 to 0.3 % on 256.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pyamg
import scipy.sparse as sparse
from scipy.linalg import solveh_banded
from tqdm import tqdm

from mpno.datasets.draws import normals
from mpno.datasets.solved import write_solved
from mpno.datasets.store import Split
from mpno.specs import DataSpec, MpnoError

CITATION = "Li et al., Fourier Neural Operator for Parametric Partial Differential Equations, ICLR 2021"
MODES = 256
"""Cosine modes per axis, on every grid. Those left out hold 1.1e-5 of the field's variance or less, for both media."""
CELLS = (128, 256, 512)
"""Cells per axis of the grids that samples are solved on."""
ORIGIN = 1 / 1024
"""First point of every data grid, half a cell of the public set's fine grid."""
DIRECT_CELLS = 128
"""Up to here Cholesky factors of the band, above conjugate gradients with an algebraic multigrid. Timed: 13 and 36 ms
on 128 cells, 0.15 s for both on 256; on 512 the band would take 1 GB, the multigrid takes 0.7 s."""
BATCH = 64
"""Samples solved before they are written."""
AMG_TOLERANCE = 1e-10
AMG_ITERATIONS = 100


@dataclass(frozen=True)
class Medium:
    """A two-valued random coefficient: `high` where the field is positive, else `low`.

    `tau` and `alpha` are those of the field's covariance (-Laplacian + tau^2)^-alpha.
    """

    high: float
    low: float
    tau: float
    alpha: float


SHIPPED = Medium(high=0.36, low=0.02, tau=10.0, alpha=3.0)
"""What the public set is made of, found from its arrays: see the description that :mod:`mpno.datasets.fetch` keeps."""
FNO2020 = Medium(high=12.0, low=3.0, tau=3.0, alpha=2.0)
"""As usually quoted from Li et al., Fourier Neural Operator, ICLR 2021. The public set does not agree with it."""


def points(resolution: int) -> np.ndarray:
    """Coordinates of a data grid along one axis: i/n + 1/1024.

    Raises:
        MpnoError: the resolution is below 2 or above 512.
    """
    if not 2 <= resolution <= CELLS[-1]:
        raise MpnoError(f"darcy: resolution {resolution}; allowed: 2 to {CELLS[-1]}")
    return np.arange(resolution) / resolution + ORIGIN


def coefficient(
    seed: int,
    index: int,
    resolution: int,
    split: str,
    *,
    medium: Medium = SHIPPED,
    grid: Literal["data", "cells"] = "data",
) -> np.ndarray:
    """Coefficient of one sample, (n, n) float64: one continuous field per (seed, split, index), sampled.

    `grid` is ``"data"`` (i/n + 1/1024) or ``"cells"``, (i + 1/2)/n, which :func:`solve` takes.

    Raises:
        MpnoError: an unknown split, a negative seed or index, or a resolution out of range.
    """
    where = points(resolution) if grid == "data" else (np.arange(resolution) + 0.5) / resolution
    return _two_valued(_field(_modes(seed, index, split), where, medium), medium)


def solve(a: np.ndarray, forcing: np.ndarray | float = 1.0) -> np.ndarray:
    """Solve -div(a grad u) = forcing, u = 0 on the boundary of the unit square.

    Finite volumes on n x n cells: `a`, `forcing` and the result are values at the cell centres (i + 1/2)/n, and
    the flux through a face takes the harmonic average of the two cells. Second order where a is smooth, and where it
    jumps along faces.

    Args:
        a: positive coefficient, (n, n).
        forcing: a number or (n, n).

    Returns:
        u, (n, n) float64.

    Raises:
        MpnoError: a is not square, or has values that are not positive and finite; or the iteration does not converge.
    """
    a = np.asarray(a, dtype=np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or a.shape[0] < 2:
        raise MpnoError(f"darcy: coefficient of shape {a.shape}; allowed: (n, n) with n at least 2")
    if not (np.isfinite(a).all() and (a > 0).all()):
        raise MpnoError(f"darcy: coefficient between {a.min()} and {a.max()}; allowed: positive finite values")
    n = a.shape[0]
    load = np.broadcast_to(np.asarray(forcing, dtype=np.float64) / n**2, a.shape).ravel()
    bands = _bands(a)
    u = _factorise(bands, load) if n <= DIRECT_CELLS else _iterate(bands, load)
    return u.reshape(n, n)


def solve_cells(resolutions: Iterable[int]) -> int:
    """Cells per axis that samples at these resolutions are solved on: 128, 256 or 512."""
    finest = max(len(points(resolution)) for resolution in resolutions)
    return next(cells for cells in CELLS if cells >= finest)


def generate(
    seed: int,
    split: str,
    indices: Iterable[int],
    resolutions: Sequence[int],
    *,
    medium: Medium = SHIPPED,
    cells: int | None = None,
    progress: bool = False,
) -> dict[int, Split]:
    """Draw and solve samples, each once, and sample it at every resolution.

    A sample depends on (seed, split, index) and the cells it is solved on alone: any order, batch or share of the
    work gives the same.

    Args:
        seed, split, indices: which samples.
        resolutions: points per axis of each grid wanted.
        medium: law of the coefficient.
        cells: cells per axis to solve on; by default :func:`solve_cells` of the resolutions.
        progress: show a bar.

    Returns:
        Per resolution n: x (count, 1, n, n), 1 where the coefficient is high, else 0; y (count, 1, n, n), the
        solution; float32, at the points i/n + 1/1024.

    Raises:
        MpnoError: as :func:`coefficient`; or nothing is asked for.
    """
    wanted = list(indices)
    if not wanted or not resolutions:
        raise MpnoError("darcy: no samples or no resolutions asked for; ask for at least one of each")
    cells = cells or solve_cells(resolutions)
    shapes = {n: (len(wanted), 1, n, n) for n in resolutions}
    out = {n: Split(np.empty(shape, np.float32), np.empty(shape, np.float32)) for n, shape in shapes.items()}
    for row, index in enumerate(tqdm(wanted, desc=f"darcy {split}", unit="sample", disable=not progress)):
        modes = _modes(seed, index, split)
        centres = (np.arange(cells) + 0.5) / cells
        u = np.pad(solve(_two_valued(_field(modes, centres, medium), medium)), 1)
        for n, (x, y) in out.items():
            weights = _interpolation(cells, n)
            x[row, 0] = _field(modes, points(n), medium) > 0
            y[row, 0] = weights @ u @ weights.T
    return out


def make_store(spec: DataSpec, out: Path, *, progress: bool) -> None:
    """Generate the set that `spec` asks for and write it to `out`, a batch of samples at a time.

    Raises:
        MpnoError: as :func:`generate`, or `out` cannot be written.
    """
    # One grid for both splits, so that train and test samples carry the same discretisation error.
    resolution, tests = spec.square
    cells = solve_cells([resolution, *tests])
    medium = {"public": SHIPPED, "fno2020": FNO2020}[spec.medium]
    origin = {"generator": "mpno.datasets.darcy.generate", "medium": asdict(medium), "modes": MODES, "cells": cells}
    attrs = {
        "name": spec.name,
        "title": "Darcy flow on the unit square, two-valued coefficient, solved by finite volumes",
        "source": "generate",
        "units_x": f"1 (coefficient {medium.high:g}) or 0 (coefficient {medium.low:g})",
        "units_y": "dimensionless: -div(a grad y) = 1",
        "licence": "MIT",
        "citation": CITATION,
        "origin": json.dumps(origin),
        "seed": spec.seed,
        "periodic": False,
    }
    grid = "at the points i/n + 1/1024 of the unit square along both axes"
    descriptions = {
        "x": f"1 where the coefficient is {medium.high:g}, 0 where it is {medium.low:g}, {grid}",
        "y": f"solution of -div(a grad y) = 1, y = 0 on the boundary, {grid}",
    }

    def draw(split: str, indices: range, resolutions: list[int]) -> dict[int, Split]:
        return generate(spec.seed, split, indices, resolutions, medium=medium, cells=cells)

    write_solved(spec, out, attrs, descriptions, draw, batch=BATCH, progress=progress)


def _modes(seed: int, index: int, split: str) -> np.ndarray:
    """Standard normal coefficients of the cosine modes, (MODES, MODES), keyed by (seed, split, index)."""
    return normals("darcy", seed, split, index, MODES**2).reshape(MODES, MODES)


def _field(modes: np.ndarray, where: np.ndarray, medium: Medium) -> np.ndarray:
    """The Gaussian field on the tensor grid of `where`."""
    k = np.arange(MODES)
    squares = np.pi**2 * (k[:, None] ** 2 + k**2)
    scaled = modes * (squares + medium.tau**2) ** (-medium.alpha / 2)
    scaled[0, 0] = 0.0
    cosines = _cosines(tuple(where.tolist()))
    return cosines @ scaled @ cosines.T


@lru_cache(maxsize=16)
def _cosines(where: tuple[float, ...]) -> np.ndarray:
    """Orthonormal Neumann modes of the unit interval, (points, MODES)."""
    cosines = np.sqrt(2.0) * np.cos(np.pi * np.outer(where, np.arange(MODES)))
    cosines[:, 0] = 1.0
    return cosines


@lru_cache(maxsize=16)
def _interpolation(cells: int, resolution: int) -> np.ndarray:
    """Linear interpolation from the wall, the cell centres and the other wall to a data grid."""
    nodes = np.concatenate([[0.0], (np.arange(cells) + 0.5) / cells, [1.0]])
    return np.stack([np.interp(points(resolution), nodes, unit) for unit in np.eye(cells + 2)], axis=1)


def _two_valued(field: np.ndarray, medium: Medium) -> np.ndarray:
    return np.where(field > 0, medium.high, medium.low)


def _bands(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The five-point matrix of the fluxes out of each cell, times the cell width squared; cells row after row.

    Returns its diagonal (n^2), and what couples a cell with the next one (n^2 - 1) and with the one a row on (n^2 - n).
    """
    n = a.shape[0]
    vertical, horizontal = np.zeros((n + 1, n)), np.zeros((n, n + 1))
    vertical[1:-1] = 2 * a[1:] * a[:-1] / (a[1:] + a[:-1])
    horizontal[:, 1:-1] = 2 * a[:, 1:] * a[:, :-1] / (a[:, 1:] + a[:, :-1])
    # The wall is half a cell from the first centre, so the conductance there is doubled.
    vertical[0], vertical[-1], horizontal[:, 0], horizontal[:, -1] = 2 * a[0], 2 * a[-1], 2 * a[:, 0], 2 * a[:, -1]
    centre = (vertical[:-1] + vertical[1:] + horizontal[:, :-1] + horizontal[:, 1:]).ravel()
    beside = horizontal[:, 1:].copy()
    beside[:, -1] = 0.0  # the last cell of a row and the first of the next are no neighbours
    return centre, -beside.ravel()[:-1], -vertical[1:-1].ravel()


def _factorise(bands: tuple[np.ndarray, np.ndarray, np.ndarray], load: np.ndarray) -> np.ndarray:
    """Solve by Cholesky factors of the band: dense work on n^2 x n numbers, and no ordering to find."""
    centre, side, below = bands
    n = len(centre) - len(below)
    # In Fortran's order, which LAPACK takes as it is.
    band = np.zeros((n + 1, n * n), order="F")
    band[0], band[1, :-1], band[n, :-n] = centre, side, below
    return solveh_banded(band, load, lower=True, overwrite_ab=True, check_finite=False)


def _iterate(bands: tuple[np.ndarray, np.ndarray, np.ndarray], load: np.ndarray) -> np.ndarray:
    """Solve by conjugate gradients with an algebraic multigrid."""
    centre, side, below = bands
    n = len(centre) - len(below)
    # pyright reads the type of offsets off its default, 0.
    matrix = sparse.diags_array([centre, side, side, below, below], offsets=[0, 1, -1, n, -n])  # pyright: ignore
    hierarchy = pyamg.ruge_stuben_solver(sparse.csr_array(matrix), max_coarse=100)
    u, info = hierarchy.solve(load, tol=AMG_TOLERANCE, maxiter=AMG_ITERATIONS, accel="cg", return_info=True)
    if info != 0:
        raise MpnoError(
            f"darcy: {n} x {n} cells did not converge in {AMG_ITERATIONS} iterations; lower the contrast of the "
            f"coefficient or solve on at most {DIRECT_CELLS} cells"
        )
    return u
