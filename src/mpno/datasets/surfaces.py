"""Closed triangle meshes: normals, areas, and the exact signed distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from mpno.specs import MpnoError

NEAREST = 4
"""Triangles tried first for each point, for a bound on its distance."""
BATCH = 2048
"""Points measured at once."""
ROWS = 16
"""Points whose products with all triangles are formed at once: few enough to stay in the cache."""


@dataclass(frozen=True)
class Surface:
    """A closed, consistently oriented triangle mesh, with what its points and distances need.

    Attributes:
        vertices: (V, 3) float64.
        triangles: (T, 3) integers, counter-clockwise seen from outside.
        normals: (T, 3), unit.
        areas: (T,).
        edges: (3 T,) for edge e of triangle t, at 3 t + e, the triangle on its other side. Edge e is opposite corner e.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray
    areas: np.ndarray
    edges: np.ndarray

    @classmethod
    def of(cls, vertices: np.ndarray, triangles: np.ndarray, *, where: str = "mesh") -> Surface:
        """Check that the mesh is closed and points outwards.

        Raises:
            MpnoError: names `where`; a triangle without area, an edge that does not join two triangles with the same
                orientation, or a surface that is inside out.
        """
        vertices = np.asarray(vertices, dtype=np.float64)
        triangles = np.asarray(triangles, dtype=np.int64)
        a, b, c = (vertices[triangles[:, i]] for i in range(3))
        normals = np.cross(b - a, c - a)
        length = np.linalg.norm(normals, axis=1)
        if not (length > 0).all():
            raise MpnoError(f"{where}: triangle {int(np.argmin(length))} has no area; it must be a closed mesh without")
        start, stop = (triangles[:, shift].ravel() for shift in ((1, 2, 0), (2, 0, 1)))
        ahead, back = start * len(vertices) + stop, stop * len(vertices) + start
        order = np.argsort(ahead)
        found = order[np.minimum(np.searchsorted(ahead, back, sorter=order), len(order) - 1)]
        if len(np.unique(ahead)) < len(ahead) or (ahead[found] != back).any():
            bad = int((ahead[found] != back).sum())
            raise MpnoError(
                f"{where}: not closed or not oriented throughout ({bad} of {len(ahead)} triangle sides have no "
                "partner); allowed: a watertight surface seen from outside counter-clockwise; repair it or leave it out"
            )
        if (volume := float((a * normals).sum() / 6)) <= 0:
            raise MpnoError(f"{where}: its volume is {volume:g}, it is inside out; reverse the triangles")
        return cls(vertices, triangles, normals / length[:, None], length / 2, found // 3)

    @property
    def vertex_areas(self) -> np.ndarray:
        """A third of the area of the triangles around each vertex, (V,): they add up to the area of the surface."""
        return np.bincount(self.triangles.ravel(), np.repeat(self.areas / 3, 3), len(self.vertices))

    @property
    def vertex_normals(self) -> np.ndarray:
        """Unit normals at the vertices, (V, 3): the mean of the triangles' around each, weighted by their angles there.

        They are also the pseudo-normals from which the sign of a distance follows.
        """
        corners = self.vertices[self.triangles]
        one, two = np.roll(corners, -1, axis=1) - corners, np.roll(corners, -2, axis=1) - corners
        angle = np.arctan2(np.linalg.norm(np.cross(one, two), axis=2), (one * two).sum(2)).ravel()
        weighted = angle[:, None] * np.repeat(self.normals, 3, axis=0)
        at = self.triangles.ravel()
        total = np.stack([np.bincount(at, weighted[:, axis], len(self.vertices)) for axis in range(3)], axis=1)
        return total / np.linalg.norm(total, axis=1, keepdims=True)

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        """Distance of `points`, (M, 3), to the surface, negative inside, exact up to rounding: (M,) float64.

        The sign is that of the offset along the pseudo-normal of the face, edge or vertex that is nearest (J. A.
        Baerentzen, H. Aanaes, Signed distance computation using the angle weighted pseudonormal, IEEE TVCG 11, 2005).
        """
        squared, triangle, foot = self.nearest(points)
        offset = points - (self.vertices[self.triangles[triangle]] * foot[:, :, None]).sum(1)
        side = (offset * self._pseudo_normals(triangle, foot)).sum(1)
        return np.copysign(np.sqrt(squared), side)

    def nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nearest points of the surface to `points`, (M, 3).

        A first bound comes from the triangles with the nearest centroids; then every triangle whose enclosing sphere
        about its centroid comes within the bound is measured, so none is missed. Takes M x T short scalar products.

        Returns:
            The squared distances (M,), the triangles (M,), and the barycentric coordinates in them (M, 3).
        """
        # About the middle, so that little cancels in the squares of coordinates below.
        middle = self.vertices.mean(axis=0)
        points, corners = points - middle, self.vertices[self.triangles] - middle
        centroids = corners.mean(axis=1)
        reach = np.linalg.norm(corners - centroids[:, None], axis=2).max(axis=1)
        near = np.reshape(KDTree(centroids).query(points, k=min(NEAREST, len(centroids)))[1], (len(points), -1))
        # |p - c| <= u + r, squared, is a scalar product: (p, |p|^2 - u^2, u, 1) . (2c, -1, 2r, r^2 - |c|^2) >= 0.
        of_triangle = np.column_stack(
            [2 * centroids, -np.ones(len(reach)), 2 * reach, reach**2 - (centroids**2).sum(1)]
        )
        slack = -1e-12 * max((centroids**2).sum(1).max(), (points**2).sum(1).max())
        found = []
        for start in range(0, len(points), BATCH):
            p, here = points[start : start + BATCH], near[start : start + BATCH]
            squared, _ = closest(np.repeat(p, here.shape[1], axis=0), corners[here.ravel()])
            bound = squared.reshape(here.shape).min(axis=1)
            of_point = np.column_stack([p, (p**2).sum(1) - bound, np.sqrt(bound), np.ones(len(p))])
            row, triangle = _at_least(of_point, of_triangle.T, slack)
            squared, weights = closest(p[row], corners[triangle])
            # Rows ascend; sorted by distance within each, the first of each is the nearest.
            order = np.lexsort((squared, row))
            chosen = order[np.unique(row, return_index=True)[1]]
            found.append((squared[chosen], triangle[chosen], weights[chosen]))
        squared, triangle, foot = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return squared, triangle, foot

    def _pseudo_normals(self, triangle: np.ndarray, foot: np.ndarray) -> np.ndarray:
        """Normal of the face, edge or vertex on which the point with barycentric coordinates `foot` lies."""
        out = self.normals[triangle].copy()
        zeros = (foot == 0).sum(axis=1)
        edge = np.flatnonzero(zeros == 1)
        other = self.edges[3 * triangle[edge] + np.argmin(foot[edge], axis=1)]
        out[edge] += self.normals[other]
        vertex = np.flatnonzero(zeros == 2)
        out[vertex] = self.vertex_normals[self.triangles[triangle[vertex], np.argmax(foot[vertex], axis=1)]]
        return out


def _at_least(left: np.ndarray, right: np.ndarray, bound: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns where the product of `left` and `right` is not below `bound`, by ascending rows."""
    found = []
    for start in range(0, len(left), ROWS):
        at = np.flatnonzero(left[start : start + ROWS] @ right >= bound)
        found.append(at + start * right.shape[1])
    row, column = np.divmod(np.concatenate(found), right.shape[1])
    return row, column


def closest(points: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest point of one triangle for each point.

    Args:
        points: (K, 3).
        corners: (K, 3, 3), a triangle each.

    Returns:
        The squared distances (K,), and the barycentric coordinates (K, 3) of the nearest points, exactly zero off the
        vertex or edge that a point is nearest to.
    """
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    ap = points - a
    d1, d2, bb, bc, cc = (np.einsum("kc,kc->k", u, v) for u, v in ((ab, ap), (ac, ap), (ab, ab), (ab, ac), (ac, ac)))
    v, w = cc * d1 - bc * d2, bb * d2 - bc * d1
    u = bb * cc - bc * bc - v - w
    weights = np.stack([u, v, w], axis=1) / (bb * cc - bc * bc)[:, None]
    squared = _squared(ap, ab, ac, weights)
    outside = np.flatnonzero((weights <= 0).any(axis=1))
    if len(outside):
        d1, d2, bb, bc, cc = (q[outside] for q in (d1, d2, bb, bc, cc))
        along = np.stack([d2 - d1 + bb - bc, d2, d1], axis=1) / np.stack([bb + cc - 2 * bc, cc, bb], axis=1)
        along = np.clip(along, 0.0, 1.0)
        zero = np.zeros(len(outside))
        # On the edges opposite to a, b and c.
        edges = [
            np.stack([zero, 1 - along[:, 0], along[:, 0]], axis=1),
            np.stack([1 - along[:, 1], zero, along[:, 1]], axis=1),
            np.stack([1 - along[:, 2], along[:, 2], zero], axis=1),
        ]
        tried = np.stack([_squared(ap[outside], ab[outside], ac[outside], edge) for edge in edges])
        least = np.argmin(tried, axis=0)
        squared[outside] = np.take_along_axis(tried, least[None], axis=0)[0]
        weights[outside] = np.stack(edges)[least, np.arange(len(outside))]
    return squared, weights


def _squared(ap: np.ndarray, ab: np.ndarray, ac: np.ndarray, weights: np.ndarray) -> np.ndarray:
    offset = ap - weights[:, 1:2] * ab - weights[:, 2:] * ac
    return np.einsum("kc,kc->k", offset, offset)


def grid(box: np.ndarray, n: int) -> np.ndarray:
    """Points of the latent grid, (n, n, n, 3): n per axis from the low to the high corner of `box`, (2, 3)."""
    axes = [np.linspace(box[0, axis], box[1, axis], n) for axis in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
