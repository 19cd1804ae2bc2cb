"""Functions on the unit cube with exact coefficients, a sup-norm and a Lipschitz constant: what the bounds are put to.

Every class holds a family of functions, its first axis. What `bound` and `lipschitz` say is never too small, so that
a function which breaks a bound breaks the theorem; the integrals are closed forms, exact to rounding in float64.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Complex, Float

from mpno.specs import MpnoError

Wave = tuple[int, ...]
"""A frequency, an integer for every axis."""


class Family(Protocol):
    """Functions v on [0, 1]^d, f of them."""

    @property
    def dim(self) -> int: ...
    @property
    def bound(self) -> Float[np.ndarray, "f"]:
        """At least the sup-norm of each."""
        ...

    @property
    def lipschitz(self) -> Float[np.ndarray, "f"]:
        """At least the Lipschitz constant of each in the Euclidean norm."""
        ...

    def grid(self, m: int) -> Float[np.ndarray, "f *grid"]:
        """Values at the left corners of m cells along each axis."""
        ...

    def coefficient(self, w: Wave) -> Complex[np.ndarray, "f"]:
        """The integral of v(x) exp(2 pi i <w, x>) over the cube."""
        ...


def corners(m: int) -> Float[np.ndarray, "m"]:
    """The left corners of m equal cells of [0, 1]."""
    return np.arange(m) / m


def plane_wave(m: int, w: Wave) -> Complex[np.ndarray, "*grid"]:
    """exp(2 pi i <w, x>) at the left corners of m^d cells; the phase is reduced in integers, so that it is exact."""
    d, whole = len(w), np.zeros((1,) * len(w), dtype=np.int64)
    for axis, k in enumerate(w):
        whole = whole + (k * np.arange(m)).reshape([-1 if i == axis else 1 for i in range(d)])
    return unit_circle(m)[whole % m]


def unit_circle(m: int) -> Complex[np.ndarray, "m"]:
    """The m-th roots of unity, those on the axes exact: cos(pi/2) of a rounded pi is not 0, and a system may see it."""
    eighths = 8 * np.arange(m)
    angle = 2 * np.pi * np.arange(m) / m
    cosine = np.where((eighths == 2 * m) | (eighths == 6 * m), 0.0, np.cos(angle))
    sine = np.where((eighths == 0) | (eighths == 4 * m), 0.0, np.sin(angle))
    return cosine + 1j * sine


@dataclass(frozen=True)
class Nodal:
    """Continuous functions, multilinear between the nodes of a uniform grid of K cells along each axis.

    Attributes:
        nodes: values, (f, K+1, ..., K+1), both ends included.
    """

    nodes: Float[np.ndarray, "f *nodes"]

    @property
    def dim(self) -> int:
        return self.nodes.ndim - 1

    @property
    def cells(self) -> tuple[int, ...]:
        return tuple(size - 1 for size in self.nodes.shape[1:])

    @property
    def bound(self) -> Float[np.ndarray, "f"]:
        return np.abs(self.nodes).reshape(len(self.nodes), -1).max(1)

    @property
    def lipschitz(self) -> Float[np.ndarray, "f"]:
        """The largest over cells of the root of the sum over axes of the steepest edge squared.

        Within a cell each partial derivative is a convex combination of the differences along the cell's edges.
        """
        total = np.zeros((len(self.nodes), *self.cells))
        for axis in range(self.dim):
            steep = self.slopes(axis)
            for other in range(self.dim):
                if other != axis:
                    low, high = (np.take(steep, range(*ends), axis=other + 1) for ends in self._ends(other))
                    steep = np.maximum(low, high)
            total += steep**2
        return np.sqrt(total.reshape(len(total), -1).max(1))

    def _ends(self, axis: int) -> tuple[tuple[int, int], tuple[int, int]]:
        return (0, self.cells[axis]), (1, self.cells[axis] + 1)

    def slopes(self, axis: int) -> Float[np.ndarray, "f *edges"]:
        """Magnitudes of the slopes along the edges of an axis."""
        return np.abs(np.diff(self.nodes, axis=axis + 1)) * self.cells[axis]

    @property
    def turns(self) -> Float[np.ndarray, "d f"]:
        """Of each axis the largest variation of the slope along a line of the periodic continuation.

        Along a line between nodes the variation is at most a convex combination of those along the lines of nodes.

        Raises:
            MpnoError: a function does not continue periodically.
        """
        found = []
        for axis in range(self.dim):
            first, last = (np.take(self.nodes, place, axis=axis + 1) for place in (0, -1))
            if not np.array_equal(first, last):
                raise MpnoError(f"Nodal: values at both ends of axis {axis} differ; periodic functions have them equal")
            slope = np.diff(self.nodes, axis=axis + 1) * self.cells[axis]
            jump = np.abs(slope - np.roll(slope, 1, axis=axis + 1)).sum(axis + 1)
            found.append(jump.reshape(len(jump), -1).max(1))
        return np.array(found)

    def grid(self, m: int) -> Float[np.ndarray, "f *grid"]:
        values = self.nodes
        for axis, cells in enumerate(self.cells):
            values = _along(values, _interpolation(m, cells), axis)
        return values

    def at(self, points: tuple[Float[np.ndarray, "p"], ...]) -> Float[np.ndarray, "f *points"]:
        """Values on the tensor product of points of every axis."""
        values = self.nodes
        for axis, (cells, x) in enumerate(zip(self.cells, points, strict=True)):
            values = _along(values, _hats(x, cells), axis)
        return values

    def coefficient(self, w: Wave) -> Complex[np.ndarray, "f"]:
        values = self.nodes.astype(complex)
        for k, cells in zip(w, self.cells, strict=True):
            values = np.tensordot(values, hat_weights(cells, k), axes=([1], [0]))
        return values


def _along(values: np.ndarray, matrix: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(np.tensordot(values, matrix, axes=([axis + 1], [1])), -1, axis + 1)


def _interpolation(m: int, cells: int) -> Float[np.ndarray, "m nodes"]:
    return _hats(corners(m), cells)


def _hats(x: Float[np.ndarray, "p"], cells: int) -> Float[np.ndarray, "p nodes"]:
    """The hat functions of K+1 nodes at points of [0, 1]."""
    place = x * cells
    left = np.minimum(place.astype(int), cells - 1)
    share = place - left
    matrix = np.zeros((len(x), cells + 1))
    rows = np.arange(len(x))
    matrix[rows, left], matrix[rows, left + 1] = 1 - share, share
    return matrix


def hat_weights(cells: int, k: int) -> Complex[np.ndarray, "nodes"]:
    """The integrals over [0, 1] of the hat functions of K+1 nodes times exp(2 pi i k x).

    On a cell of length h and with a = 2 pi k h, the falling hat weighs h (1 + i a - e^(i a)) / a^2 times the phase of
    the left node, by parts; for small a its Taylor series avoids the cancellation.
    """
    h, angle = 1 / cells, 2 * math.pi * k / cells
    if abs(angle) < 0.05:
        falling = h * sum((1j * angle) ** n / math.factorial(n + 2) for n in range(12))
    else:
        falling = h * (1 + 1j * angle - np.exp(1j * angle)) / angle**2
    phase = np.exp(2j * np.pi * k * np.arange(cells + 1) / cells)
    weights = np.zeros(cells + 1, dtype=complex)
    weights[:-1] += falling * phase[:-1]
    weights[1:] += np.conj(falling) * phase[1:]
    return weights


@dataclass(frozen=True)
class Trigonometric:
    """Real parts of sums of c_k exp(2 pi i <k, x>) over |k_i| <= K: band-limited and periodic.

    Attributes:
        amplitudes: c_k, (f, 2K+1, ..., 2K+1), frequencies in rising order.
    """

    amplitudes: Complex[np.ndarray, "f *box"]

    @property
    def dim(self) -> int:
        return self.amplitudes.ndim - 1

    @property
    def band(self) -> int:
        return self.amplitudes.shape[1] // 2

    @property
    def bound(self) -> Float[np.ndarray, "f"]:
        return np.abs(self.amplitudes).reshape(len(self.amplitudes), -1).sum(1)

    @property
    def lipschitz(self) -> Float[np.ndarray, "f"]:
        k = np.arange(-self.band, self.band + 1)
        length = np.sqrt(sum(np.meshgrid(*[k**2] * self.dim, indexing="ij"), np.zeros(())))
        return 2 * np.pi * (np.abs(self.amplitudes) * length).reshape(len(self.amplitudes), -1).sum(1)

    def grid(self, m: int) -> Float[np.ndarray, "f *grid"]:
        waves = unit_circle(m)[np.outer(np.arange(m), np.arange(-self.band, self.band + 1)) % m]
        values = self.amplitudes
        for axis in range(self.dim):
            values = _along(values, waves, axis)
        return np.ascontiguousarray(np.real(values))

    def coefficient(self, w: Wave) -> Complex[np.ndarray, "f"]:
        """Of the real part: (c_-w + conj(c_w)) / 2."""
        if max(map(abs, w)) > self.band:
            return np.zeros(len(self.amplitudes), dtype=complex)
        plus, minus = (self.amplitudes[:, *(self.band + sign * k for k in w)] for sign in (1, -1))
        return (minus + np.conj(plus)) / 2


@dataclass(frozen=True)
class Ramp:
    """s cos(2 pi <w, x>) <1, x - 1/2> / sqrt(d): the lower bound's function; for w = 0 a plane.

    Attributes:
        wave: w.
        slope: s.
    """

    wave: Wave
    slope: float = 1.0

    @property
    def dim(self) -> int:
        return len(self.wave)

    @property
    def bound(self) -> Float[np.ndarray, "1"]:
        return np.array([self.slope * math.sqrt(self.dim) / 2])

    @property
    def lipschitz(self) -> Float[np.ndarray, "1"]:
        return np.array([self.slope * (1 + math.pi * math.sqrt(self.dim) * math.dist(self.wave, [0] * self.dim))])

    def grid(self, m: int) -> Float[np.ndarray, "1 *grid"]:
        axes = np.meshgrid(*[corners(m) - 0.5] * self.dim, indexing="ij")
        return (self.slope * np.real(plane_wave(m, self.wave)) * sum(axes) / math.sqrt(self.dim))[None]

    def coefficient(self, w: Wave) -> Complex[np.ndarray, "1"]:
        """Half the sum of the plane's at the sum and the difference of both frequencies."""
        both = (tuple(a + sign * b for a, b in zip(w, self.wave, strict=True)) for sign in (1, -1))
        return np.array([self.slope / math.sqrt(self.dim) * sum(_plane(k) for k in both) / 2])


def _plane(k: Wave) -> complex:
    """The integral of <1, x - 1/2> exp(2 pi i <k, x>): 1 / (2 pi i k) where k lies on one axis, else 0."""
    moved = [j for j in k if j]
    return 1 / (2j * math.pi * moved[0]) if len(moved) == 1 else 0j


@dataclass(frozen=True)
class Kink:
    """|x_1 - 1/2| cos(2 pi <k, x>), periodic and smooth but for kinks in the planes x_1 = 0 and x_1 = 1/2.

    Attributes:
        wave: k.
    """

    wave: Wave

    @property
    def dim(self) -> int:
        return len(self.wave)

    @property
    def bound(self) -> Float[np.ndarray, "1"]:
        return np.array([0.5])

    @property
    def lipschitz(self) -> Float[np.ndarray, "1"]:
        return np.array([1 + math.pi * math.dist(self.wave, [0] * self.dim)])

    def grid(self, m: int) -> Float[np.ndarray, "1 *grid"]:
        first = np.abs(corners(m) - 0.5).reshape(-1, *[1] * (self.dim - 1))
        return (first * np.real(plane_wave(m, self.wave)))[None]

    def coefficient(self, w: Wave) -> Complex[np.ndarray, "1"]:
        both = (tuple(a + sign * b for a, b in zip(w, self.wave, strict=True)) for sign in (1, -1))
        return np.array([sum(0 if any(k[1:]) else tent(k[0]) for k in both) / 2 + 0j])


def tent(k: int) -> float:
    """The Fourier coefficients of |x - 1/2| on [0, 1]: 1/4, then 1 / (pi k)^2 for odd k and 0 for even k."""
    return 0.25 if k == 0 else (k % 2) / (math.pi * k) ** 2


def random_nodal(rng: np.random.Generator, count: int, dim: int, cells: int, *, periodic: bool = False) -> Nodal:
    """Random families: nodes uniform, or of random sign at the bound, or nearly alike; sup-norm about 1."""
    shape = (count, *[cells + 1] * dim)
    values = rng.uniform(-1, 1, shape)
    kind = rng.integers(0, 3, count).reshape(-1, *[1] * dim)
    values = np.where(kind == 1, np.sign(values), values)
    values = np.where(kind == 2, 1 - 10 ** rng.uniform(-4, 0, (count, *[1] * dim)) * (values + 1) / 2, values)
    if periodic:
        for axis in range(1, dim + 1):
            index: list[slice | int] = [slice(None)] * (dim + 1)
            index[axis] = -1
            values[tuple(index)] = np.take(values, 0, axis=axis)
    return Nodal(values)


def random_trigonometric(rng: np.random.Generator, count: int, dim: int, band: int) -> Trigonometric:
    """Random amplitudes of sum 1, so that the sup-norm is at most 1."""
    shape = (count, *[2 * band + 1] * dim)
    values = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    total = np.abs(values).reshape(count, -1).sum(1)
    return Trigonometric(values / total.reshape(-1, *[1] * dim))


def waves(dim: int, highest: int) -> list[Wave]:
    """All frequencies with components up to `highest`, one of each pair w, -w."""
    return [w for w in itertools.product(range(-highest, highest + 1), repeat=dim) if w >= (0,) * dim]
