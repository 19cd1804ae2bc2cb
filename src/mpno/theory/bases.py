"""Bases other than Fourier's: functions with a sup-norm, a Lipschitz constant, places where they jump; and graphs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pywt
from jaxtyping import Float, Num
from scipy.sparse.csgraph import shortest_path
from scipy.spatial import KDTree
from scipy.special import eval_legendre, sph_harm_y

from mpno.specs import MpnoError
from mpno.theory.functions import Nodal, corners

Points = tuple[Float[np.ndarray, "p"], ...]
"""Coordinates along each axis, of a tensor product of points."""


@dataclass(frozen=True)
class BasisFunction:
    """A function phi on [0, 1]^d.

    Attributes:
        name: as written in tables.
        height: B, at least its sup-norm.
        steep: Lambda, at least its Lipschitz constant where it does not jump.
        breaks: along each axis, inner points where it is not smooth.
        at: values on the tensor product of points.
        order: of the Gauss rule that integrates it on a smooth piece, times a linear function.
        jumps: the inner points where it jumps, of one axis.
    """

    name: str
    height: float
    steep: float
    breaks: Points
    at: Callable[[Points], Num[np.ndarray, "*points"]]
    order: int
    jumps: tuple[float, ...] = ()

    @property
    def dim(self) -> int:
        return len(self.breaks)

    def grid(self, m: int) -> Num[np.ndarray, "*grid"]:
        """Values at left corners."""
        return self.at((corners(m),) * self.dim)

    def jumping_cells(self, m: int) -> int:
        """In how many of m cells it jumps; not where it jumps at a left corner, for cells are half open."""
        return len({math.floor(x * m) for x in self.jumps if x * m != math.floor(x * m)})


def fourier(w: tuple[int, ...]) -> BasisFunction:
    """exp(2 pi i <w, x>): B = 1, Lambda = 2 pi |w|."""

    def at(points: Points) -> np.ndarray:
        values = np.ones(())
        for k, x in zip(w, points, strict=True):
            values = np.multiply.outer(values, np.exp(2j * np.pi * k * x))
        return values

    steep = 2 * math.pi * math.dist(w, [0] * len(w))
    return BasisFunction(f"Fourier {w}", 1.0, steep, (np.array([]),) * len(w), at, 10 + 2 * max(map(abs, w)))


def legendre(degree: int) -> BasisFunction:
    """sqrt(2l+1) P_l(2x - 1), orthonormal: B = sqrt(2l+1), Lambda = sqrt(2l+1) l (l+1), both at the ends."""
    scale = math.sqrt(2 * degree + 1)

    def at(points: Points) -> np.ndarray:
        return scale * eval_legendre(degree, 2 * points[0] - 1)

    order = degree // 2 + 2
    return BasisFunction(f"Legendre {degree}", scale, scale * degree * (degree + 1), (np.array([]),), at, order)


def haar(level: int, place: int) -> BasisFunction:
    """2^(j/2) psi(2^j x - k), constant but for its jumps: B = 2^(j/2), Lambda = 0.

    Raises:
        MpnoError: the wavelet's support is not within [0, 1].
    """
    if not 0 <= place < 2**level:
        raise MpnoError(f"Haar wavelet ({level}, {place}): place must be from 0 to {2**level - 1}")
    scale = 2.0 ** (level / 2)

    def at(points: Points) -> np.ndarray:
        x = points[0] * 2**level - place
        return scale * (((x >= 0) & (x < 0.5)).astype(float) - ((x >= 0.5) & (x < 1)))

    ends = [(place + part) / 2**level for part in (0, 0.5, 1)]
    inner = tuple(x for x in ends if 0 < x < 1)
    return BasisFunction(f"Haar ({level}, {place})", scale, 0.0, (np.array(inner),), at, 2, inner)


DAUBECHIES_LEVEL = 7


@cache
def daubechies(taps: int = 4, level: int = 3) -> BasisFunction:
    """2^(j/2) psi(2^j x) of the Daubechies wavelet with `taps` vanishing moments, linear between dyadic points.

    The function is the interpolant of PyWavelets' cascade, so that B and Lambda are exactly its own. From 3
    vanishing moments on the wavelet has a derivative, and they converge with the cascade's level.

    Raises:
        MpnoError: fewer than 3 vanishing moments, or the support, (2 taps - 1) / 2^level, is longer than 1.
    """
    if taps < 3 or 2 * taps - 1 > 2**level:
        raise MpnoError(f"Daubechies wavelet {taps}, level {level}: give taps from 3 on and 2^level >= 2 taps - 1")
    wavelet = pywt.Wavelet(f"db{taps}")  # pyright: ignore[reportAttributeAccessIssue]
    _, psi, x = wavelet.wavefun(level=DAUBECHIES_LEVEL)
    nodes, values = np.asarray(x) / 2**level, 2.0 ** (level / 2) * np.asarray(psi)
    values[[0, -1]] = 0.0

    def at(points: Points) -> np.ndarray:
        return np.interp(points[0], nodes, values, right=0.0)

    steep = float(np.abs(np.diff(values) / np.diff(nodes)).max())
    inner = nodes[(nodes > 0) & (nodes < 1)]
    return BasisFunction(f"Daubechies {taps}", float(np.abs(values).max()), steep, (inner,), at, 2)


def spherical(degree: int, order: int) -> BasisFunction:
    """2 pi^2 sin(theta) Y_lm at theta = pi x_1, phi = 2 pi x_2: the integral over the square is that over the sphere.

    With Y = sqrt((2l+1) / 4 pi) and G = sqrt(l (l+1)) Y, the addition theorem bounds |Y_lm| by Y and its surface
    gradient by G, so that B = 2 pi^2 Y and Lambda = 2 pi^2 (2 pi G + pi Y).
    """
    top = math.sqrt((2 * degree + 1) / (4 * math.pi))
    gradient = math.sqrt(degree * (degree + 1)) * top

    def at(points: Points) -> np.ndarray:
        theta, phi = np.pi * points[0][:, None], 2 * np.pi * points[1][None]
        return 2 * np.pi**2 * np.sin(theta) * sph_harm_y(degree, order, theta, phi)

    steep = 2 * math.pi**2 * (2 * math.pi * gradient + math.pi * top)
    none = np.array([])
    return BasisFunction(f"spherical ({degree}, {order})", 2 * math.pi**2 * top, steep, (none, none), at, 8 + degree)


def integral(family: Nodal, basis: BasisFunction) -> Num[np.ndarray, "f"]:
    """The integrals of v phi, by a Gauss rule on every piece on which both are smooth; (f,)."""
    places, shares = [], []
    x, weight = np.polynomial.legendre.leggauss(basis.order)
    for cells, breaks in zip(family.cells, basis.breaks, strict=True):
        ends = np.unique(np.concatenate([np.arange(cells + 1) / cells, breaks]))
        half, middle = np.diff(ends)[:, None] / 2, ((ends[1:] + ends[:-1]) / 2)[:, None]
        places.append((middle + half * x).ravel())
        shares.append((half * weight).ravel())
    product = family.at(tuple(places)) * basis.at(tuple(places))
    for share in reversed(shares):
        product = product @ share
    return product


@dataclass(frozen=True)
class GraphBasis:
    """An eigenvector of a graph's Laplacian as a basis function, the nodes as domain, each of mass 1/N.

    Attributes:
        distances: lengths of shortest paths, (N, N).
        values: phi on the nodes, of mean square 1.
        height, steep: B and Lambda; Lambda is the steepest edge, which bounds it along every path.
    """

    distances: Float[np.ndarray, "N N"]
    values: Float[np.ndarray, "N"]
    height: float
    steep: float

    def cells(self, n: int) -> tuple[np.ndarray, Float[np.ndarray, "n"], float]:
        """n nodes, each next the one farthest from those before; the mass nearest to each; the mean distance to it."""
        chosen = [0]
        nearest = self.distances[0].copy()
        while len(chosen) < n:
            chosen.append(int(nearest.argmax()))
            nearest = np.minimum(nearest, self.distances[chosen[-1]])
        owner = self.distances[chosen].argmin(0)
        return np.array(chosen), np.bincount(owner, minlength=n) / len(self.values), float(nearest.mean())

    def functions(self, rng: np.random.Generator, count: int, *, lipschitz: float, bound: float) -> np.ndarray:
        """Random functions with L and M on the nodes, (f, N): lower envelopes of cones (McShane)."""
        found = np.empty((count, len(self.values)))
        for row in found:
            tips = rng.choice(len(self.values), 8, replace=False)
            row[:] = (rng.uniform(-bound, bound, 8)[:, None] + lipschitz * self.distances[tips]).min(0)
        return np.clip(found, -bound, bound)


def graph_basis(nodes: int = 300, number: int = 6, seed: int = 0) -> GraphBasis:
    """Eigenvector `number` of the Laplacian of random points of the unit square, each tied to its six nearest.

    Raises:
        MpnoError: the graph falls apart.
    """
    points = np.random.default_rng(seed).random((nodes, 2))
    near: tuple[Any, Any] = KDTree(points).query(points, k=7)
    weights = np.zeros((nodes, nodes))
    for i, (row, to) in enumerate(zip(*near, strict=True)):
        weights[i, to[1:]] = weights[to[1:], i] = row[1:]
    distances = shortest_path(weights, directed=False)
    if not np.isfinite(distances).all():
        raise MpnoError(f"graph of {nodes} nodes, seed {seed}: it is not connected; give another seed")
    tied = weights > 0
    laplacian = np.diag(tied.sum(1)) - tied.astype(float)
    values = np.linalg.eigh(laplacian)[1][:, number] * math.sqrt(nodes)
    steep = (np.abs(values[:, None] - values) / np.where(tied, weights, np.inf)).max()
    return GraphBasis(distances, values, float(np.abs(values).max()), float(steep))
