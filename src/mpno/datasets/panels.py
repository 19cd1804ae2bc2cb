"""Potential flow past closed bodies by constant-source panels, with mirror planes for symmetry and the ground.

Each quadrilateral of the surface becomes a flat panel that carries a constant source strength; the strengths are those
for which no fluid passes through the panels' centroids. Inviscid, irrotational, without a wake: the pressure recovers
behind the body and the drag is zero but for discretisation error, unlike that of a real car.

Sources: J. L. Hess, A. M. O. Smith, Calculation of potential flow about arbitrary bodies, Progress in Aerospace
Sciences 8, 1967 (the method); J. Katz, A. Plotkin, Low-Speed Aerodynamics, 2nd ed., 2001, section 10.4 (the in-plane
velocity of a panel); A. van Oosterom, J. Strackee, The solid angle of a plane triangle, IEEE Trans. Biomed. Eng. 30,
1983 (the normal velocity, which is the solid angle over 4 pi).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from mpno.specs import MpnoError

BLOCK = 1 << 15
"""Pairs of point and panel evaluated at once: some twenty temporaries of this length fit a second-level cache."""
ON_PLANE = 1e-11
"""Heights over a panel that count as none, in square roots of its area."""


@dataclass(frozen=True)
class Panels:
    """Flat quadrilaterals: N of them, made by projecting corners onto their mean plane.

    Attributes:
        centre: (N, 3), the centroids, where no flow passes.
        frame: (N, 3, 3), rows: two directions in the plane, then the unit normal that points into the fluid.
        corners: (N, 4, 2), in the frame, about the centroid.
        area: (N,).
    """

    centre: np.ndarray
    frame: np.ndarray
    corners: np.ndarray
    area: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        return self.frame[:, 2]

    @classmethod
    def of(cls, quads: np.ndarray) -> Panels:
        """Panels of `quads`, (N, 4, 3) corners counter-clockwise seen from the fluid; two corners may coincide.

        Raises:
            MpnoError: a quadrilateral has no area.
        """
        quads = np.asarray(quads, dtype=np.float64)
        one, two = quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]
        normal = np.cross(one, two)
        length = np.linalg.norm(normal, axis=1)
        if not (length > 0).all():
            raise MpnoError(f"panels: quadrilateral {int(np.argmin(length))} has no area; remove it or mesh anew")
        normal /= length[:, None]
        first = one - (one * normal).sum(1, keepdims=True) * normal
        first /= np.linalg.norm(first, axis=1, keepdims=True)
        frame = np.stack([first, np.cross(normal, first), normal], axis=1)
        mean = quads.mean(axis=1)
        corners = np.einsum("nkc,nfc->nkf", quads - mean[:, None], frame[:, :2])
        x, y = corners[..., 0], corners[..., 1]
        cross = x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y
        area = cross.sum(1) / 2
        centroid = np.stack([((v + np.roll(v, -1, 1)) * cross).sum(1) for v in (x, y)], axis=1) / (6 * area[:, None])
        centre = mean + np.einsum("nf,nfc->nc", centroid, frame[:, :2])
        return cls(centre, frame, corners - centroid[:, None], area)


@dataclass(frozen=True)
class Flow:
    """Flow of unit speed along x past panels.

    Attributes:
        strength: (N,) source strengths, as a multiple of the free stream.
        velocity: (N, 3) at the centroids, as a multiple of the free stream.
        cp: (N,) pressure coefficient 1 - |velocity|^2.
    """

    strength: np.ndarray
    velocity: np.ndarray
    cp: np.ndarray


def solve(panels: Panels, mirrors: Sequence[int] = ()) -> Flow:
    """Unit flow along x past a body whose part, reflected in the planes given, is the whole.

    Args:
        panels: the panels of the part, N of them.
        mirrors: axes (1 or 2) whose coordinate plane through the origin is a plane of symmetry or the ground:
            2 puts an image of the body below z = 0, so that no fluid passes the ground.

    Returns:
        The flow at the N panels. Takes 24 N^2 bytes and, per image, N^2 evaluations of the panel formula.

    Raises:
        MpnoError: the flow is not finite, as where panels overlap.
    """
    influence = induced(panels.centre, panels, mirrors)
    matrix = np.einsum("cij,ic->ij", influence, panels.normal)
    # A panel's own sheet turns half its flux out: the solid angle seen from on the panel has no sign of its own.
    np.fill_diagonal(matrix, matrix.diagonal() + 0.5)
    strength = scipy.linalg.solve(matrix, -panels.normal[:, 0], check_finite=False)
    velocity = (influence @ strength).T + 0.5 * strength[:, None] * panels.normal
    velocity[:, 0] += 1.0
    cp = 1.0 - (velocity**2).sum(axis=1)
    if not np.isfinite(cp).all():
        raise MpnoError(f"panels: the flow past {len(cp)} panels is not finite; look for panels that overlap or touch")
    return Flow(strength, velocity, cp)


def induced(points: np.ndarray, panels: Panels, mirrors: Sequence[int] = ()) -> np.ndarray:
    """Velocity at `points`, (M, 3), that each of N panels and its images induce at unit strength: (3, M, N).

    A point on a panel gets the mean of the two sides, that is no normal velocity from that panel.
    """
    out = np.zeros((3, len(points), len(panels.area)))
    rows = max(1, BLOCK // len(panels.area))
    for reflected in _reflections(mirrors):
        for start in range(0, len(points), rows):
            block = slice(start, start + rows)
            # A mirrored panel's velocity at a point is the mirror image of the panel's velocity at the point's image.
            local = _quadrilaterals(points[block] * reflected, panels)
            for axis in range(3):
                for part, direction in zip(local, panels.frame[:, :, axis].T, strict=True):
                    out[axis, block] += part * (direction * reflected[axis])
    return out


def _reflections(mirrors: Sequence[int]) -> list[np.ndarray]:
    signs = [np.ones(3)]
    for axis in mirrors:
        flip = np.ones(3)
        flip[axis] = -1.0
        signs += [sign * flip for sign in signs]
    return signs


def _quadrilaterals(points: np.ndarray, panels: Panels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The panel formula: velocity along the three axes of the panels' frames, each (M, N)."""
    x, y, z = (points @ axis.T - (panels.centre * axis).sum(1) for axis in panels.frame.transpose(1, 0, 2))
    # Rounding lifts a panel's own centroid off its plane, to one side or the other.
    z = np.where(np.abs(z) < ON_PLANE * np.sqrt(panels.area), 0.0, z)
    zz = z * z
    to = [np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + zz) for cx, cy in panels.corners.transpose(1, 2, 0)]
    along, across = np.zeros_like(x), np.zeros_like(x)
    squared = {}
    for first, second in ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2)):
        dx, dy = (panels.corners[:, second] - panels.corners[:, first]).T
        squared[first, second] = length2 = dx * dx + dy * dy
        if (first, second) == (0, 2):
            continue
        length = np.sqrt(length2)
        both = to[first] + to[second]
        # Corners that coincide make an edge of no length, which induces nothing: the logarithm is that of one.
        pull = np.log((both + length) / (both - length)) / np.where(length > 0, length, 1.0)
        along += dy * pull
        across -= dx * pull
    angle = _solid_angle(z, panels.corners, to, squared, (0, 1, 2)) + _solid_angle(
        z, panels.corners, to, squared, (0, 2, 3)
    )
    return along / (4 * np.pi), across / (4 * np.pi), angle / (4 * np.pi)


def _solid_angle(
    z: np.ndarray, corners: np.ndarray, to: list[np.ndarray], squared: dict, triangle: tuple[int, int, int]
) -> np.ndarray:
    """Solid angle of a triangle in the plane z = 0, with the sign of z and zero on the plane."""
    i, j, k = triangle
    edges = corners[:, [j, k]] - corners[:, [i]]
    doubled = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    a, b, c = to[i], to[j], to[k]
    aa, bb, cc = a * a, b * b, c * c
    ik = squared[i, k] if (i, k) in squared else squared[k, i]
    # Scalar products of the vectors to the corners, by the law of cosines, each doubled.
    below = a * (2 * b * c + bb + cc - squared[j, k]) + b * (aa + cc - ik) + c * (aa + bb - squared[i, j])
    return np.where(z == 0.0, 0.0, 2.0 * np.arctan2(2.0 * z * doubled, below))


def forces(panels: Panels, cp: np.ndarray) -> np.ndarray:
    """Force of the pressure on the panels over the dynamic pressure, (3,), in square metres."""
    return -(cp * panels.area) @ panels.normal
