"""Signed distance against analytic shapes and brute force; normals, areas and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from mpno.datasets import shapes
from mpno.datasets.surfaces import Surface, closest, grid
from mpno.specs import MpnoError


def of(mesh: trimesh.Trimesh) -> Surface:
    return Surface.of(mesh.vertices, mesh.faces)


@pytest.fixture(scope="module")
def sedan() -> Surface:
    """Not convex: the glass meets the hood in a valley."""
    mesh = shapes.car(
        length=4.2, width=1.7, height=1.2, clearance=0.2, hood=0.6, deck=0.7, windscreen=0.2, cabin=0.4, tumblehome=0.1
    )
    return Surface.of(mesh.vertices, mesh.triangles)


def box_distance(points: np.ndarray, half: np.ndarray) -> np.ndarray:
    beyond = np.abs(points) - half
    return np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(axis=1), 0)


def test_distance_to_a_box_is_exact_in_every_region() -> None:
    """Inside, and nearest to faces, edges and corners outside, on random points and on the grid's symmetric ones."""
    half = np.array([0.5, 0.3, 0.8])
    box = of(trimesh.creation.box(extents=2 * half))
    random = np.random.default_rng(0).uniform(-1.5, 1.5, (3000, 3))
    for points in (random, grid(np.array([[-1.0, -1, -1], [1, 1, 1]]), 11).reshape(-1, 3)):
        np.testing.assert_allclose(box.signed_distance(points), box_distance(points, half), atol=4e-16)


def test_distance_to_a_sphere_differs_by_its_facets() -> None:
    """The triangles lie inside the sphere, by at most the sagitta of their circumscribed circle."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    points = np.random.default_rng(1).uniform(-1.5, 1.5, (2000, 3))
    depth = 1 - np.abs((ball.triangles[:, 0] * ball.face_normals).sum(axis=1)).min()
    found = of(ball).signed_distance(points) - (np.linalg.norm(points, axis=1) - 1)
    assert found.min() > -1e-15 and found.max() <= depth + 1e-15
    assert found.max() > 0.5 * depth  # not so loose that a wrong radius would pass


def test_distance_is_the_least_over_all_triangles(sedan: Surface) -> None:
    points = np.random.default_rng(2).uniform([-4, -2, -1], [4, 2, 3], (200, 3))
    corners = sedan.vertices[sedan.triangles]
    least = [np.sqrt(closest(np.broadcast_to(p, (len(corners), 3)), corners)[0].min()) for p in points]
    np.testing.assert_allclose(np.abs(sedan.signed_distance(points)), least, rtol=1e-14, atol=1e-15)


def test_nearest_point_of_a_triangle_is_that_of_a_dense_sampling() -> None:
    rng = np.random.default_rng(3)
    corners, points = rng.standard_normal((300, 3, 3)), 2 * rng.standard_normal((300, 3))
    squared, weights = closest(points, corners)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-14)
    foot = (corners * weights[:, :, None]).sum(axis=1)
    np.testing.assert_allclose(squared, ((points - foot) ** 2).sum(axis=1), rtol=1e-10)
    u, v = (g.ravel() for g in np.meshgrid(np.linspace(0, 1, 81), np.linspace(0, 1, 81)))
    sampled = np.stack([1 - u, u * (1 - v), u * v], axis=1) @ corners
    nearest = np.linalg.norm(points[:, None] - sampled, axis=2).min(axis=1)
    step = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1) / 80
    assert (np.sqrt(squared) <= nearest + 1e-12).all()
    assert (np.sqrt(squared) >= nearest - step).all()


def winding(points: np.ndarray, surface: Surface) -> np.ndarray:
    """How often the surface goes round each point, by the solid angles of its triangles."""
    a, b, c = (surface.vertices[surface.triangles[:, i]] - points[:, None] for i in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=2) for v in (a, b, c))
    below = la * lb * lc + (a * b).sum(2) * lc + (b * c).sum(2) * la + (c * a).sum(2) * lb
    return np.arctan2((a * np.cross(b, c)).sum(2), below).sum(axis=1) / (2 * np.pi)


def test_sign_is_that_of_the_winding_number(sedan: Surface) -> None:
    points = np.random.default_rng(4).uniform([-2.2, -0.9, 0.1], [2.2, 0.9, 1.5], (300, 3))
    inside = winding(points, sedan) > 0.5
    assert 0.2 < inside.mean() < 0.9
    np.testing.assert_array_equal(sedan.signed_distance(points) < 0, inside)


def test_sign_beyond_a_sharp_tip_and_sharp_edges() -> None:
    """Where the nearest point is a tip, some of the faces that meet there look away from a point outside."""
    corners = np.array([[0.3, 0, 0], [-0.15, 0.26, 0], [-0.15, -0.26, 0], [0.0, 0, 5]])
    needle = of(trimesh.convex.convex_hull(corners))
    points = np.random.default_rng(5).uniform([-1, -1, -0.5], [1, 1, 6], (2000, 3))
    over = np.einsum("tc,ptc->pt", needle.normals, points[:, None] - needle.vertices[needle.triangles[:, 0]])
    np.testing.assert_array_equal(needle.signed_distance(points) > 0, (over > 0).any(axis=1))


def test_sign_flips_across_the_surface_and_vertices_lie_on_it(sedan: Surface) -> None:
    assert np.abs(sedan.signed_distance(sedan.vertices)).max() == 0.0
    step = 1e-7
    middles = sedan.vertices[sedan.triangles].mean(axis=1)
    edges = (sedan.vertices[sedan.triangles[:, 0]] + sedan.vertices[sedan.triangles[:, 1]]) / 2
    # Over an edge, the offset is along the face's normal: it keeps its sign because the surface is nearly smooth.
    cases = ((middles, sedan.normals), (edges, sedan.normals), (sedan.vertices, sedan.vertex_normals))
    for points, normals in cases:
        for side in (1, -1):
            found = sedan.signed_distance(points + side * step * normals)
            assert (np.sign(found) == side).all()
            assert np.abs(found).max() <= step * (1 + 1e-6)


def test_normals_and_areas_of_a_sphere() -> None:
    ball = of(trimesh.creation.icosphere(subdivisions=3))
    cosine = (ball.vertex_normals * ball.vertices).sum(axis=1)
    assert cosine.min() > 0.9999
    np.testing.assert_allclose(np.linalg.norm(ball.vertex_normals, axis=1), 1, atol=1e-15)
    assert ball.vertex_areas.sum() == pytest.approx(4 * np.pi, rel=0.01)
    assert ball.vertex_areas.sum() == pytest.approx(ball.areas.sum(), rel=1e-14)


def test_vertex_normals_of_a_box_do_not_see_how_its_faces_are_cut() -> None:
    box = of(trimesh.creation.box(extents=(1, 2, 3)))
    np.testing.assert_allclose(box.vertex_normals, np.sign(box.vertices) / np.sqrt(3), atol=1e-15)


BALL = trimesh.creation.icosphere(subdivisions=1)
SPOILT = {
    "a triangle is missing": (BALL.vertices, BALL.faces[1:], r"not closed .* \(3 of 237"),
    "one faces inwards": (
        BALL.vertices,
        np.vstack([BALL.faces[0, ::-1], BALL.faces[1:]]),
        "not closed or not oriented",
    ),
    "one is there twice": (BALL.vertices, np.vstack([BALL.faces, BALL.faces[:1]]), "not closed or not oriented"),
    "inside out": (BALL.vertices, BALL.faces[:, ::-1], "inside out"),
    "a triangle has no area": (BALL.vertices, np.vstack([BALL.faces, [[0, 0, 1]]]), "triangle 80 has no area"),
}


@pytest.mark.parametrize(("vertices", "triangles", "word"), SPOILT.values(), ids=SPOILT.keys())
def test_surface_that_is_not_closed_is_refused(vertices: np.ndarray, triangles: np.ndarray, word: str) -> None:
    with pytest.raises(MpnoError, match=f"^ball.ply: .*{word}") as caught:
        Surface.of(vertices, triangles, where="ball.ply")
    assert "\n" not in str(caught.value)


def test_grid_runs_from_corner_to_corner() -> None:
    points = grid(np.array([[0.0, -1, 2], [3, 1, 6]]), 5)
    assert points.shape == (5, 5, 5, 3)
    np.testing.assert_array_equal(points[[0, 4, 2], [0, 4, 1], [0, 4, 3]], [[0, -1, 2], [3, 1, 6], [1.5, -0.5, 5]])
