"""The panel method against quadrature, analytic flows, itself without mirrors, and under refinement."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from mpno.datasets import panels, shapes
from mpno.datasets.panels import Panels
from mpno.specs import MpnoError


def cubed_sphere(n: int, axes: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> shapes.Mesh:
    """Ellipsoid of 24 n^2 quadrilaterals about the origin."""
    nodes, quads = shapes.lattice(2 * n, n, 2 * n)
    points = np.tan(np.pi / 4 * (nodes / n - np.array([1, 0, 1])))
    return shapes.mesh_of(nodes, quads, points / np.linalg.norm(points, axis=1, keepdims=True) * axes)


def l2(values: np.ndarray, areas: np.ndarray) -> float:
    return float(np.sqrt(values**2 @ areas / areas.sum()))


def order(errors: list[float], refinement: float = 2.0) -> np.ndarray:
    return np.log(np.array(errors[:-1]) / errors[1:]) / np.log(refinement)


def test_panel_velocity_is_the_integral_of_point_sources() -> None:
    """Gauss quadrature of r / (4 pi r^3) over a skew quadrilateral with a short side, seen from near and far."""
    flat = np.array([[0.0, 0.0], [2.0, 0.1], [1.9, 0.5], [0.3, 1.2]])
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    corners = np.column_stack([flat, np.zeros(4)]) @ turn.T + [0.3, -0.2, 1.0]
    points = np.array([[0.8, 0.4, 0.7], [0.8, 0.4, -0.7], [2.5, -0.5, 0.3], [-3.0, 4.0, 5.0], [3.0, 0.3, 0.0]]) @ turn.T
    points += [0.3, -0.2, 1.0]
    nodes, weights = np.polynomial.legendre.leggauss(60)
    s, t = (grid.ravel() / 2 + 0.5 for grid in np.meshgrid(nodes, nodes, indexing="ij"))
    w = np.outer(weights, weights).ravel() / 4
    shape = np.stack([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t])
    along = np.stack([t - 1, 1 - t, t, -t]).T @ corners
    across = np.stack([s - 1, -s, s, 1 - s]).T @ corners
    element = w * np.linalg.norm(np.cross(along, across), axis=1)
    offset = points[:, None] - shape.T @ corners
    expected = np.einsum("pqc,q->pc", offset / np.linalg.norm(offset, axis=2, keepdims=True) ** 3, element) / (
        4 * np.pi
    )
    one = Panels.of(corners[None])
    np.testing.assert_allclose(panels.induced(points, one)[:, :, 0].T, expected, atol=1e-10)
    assert one.area[0] == pytest.approx(element.sum(), rel=1e-12)
    np.testing.assert_allclose(one.centre[0], element @ (shape.T @ corners) / element.sum(), atol=1e-12)


def test_a_panel_with_two_corners_in_one_is_a_triangle() -> None:
    triangle = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    points = np.array([[0.2, 0.1, 0.4], [3.0, -1.0, 0.2]])
    folded = Panels.of(triangle[[0, 1, 1, 2]][None])
    halves = Panels.of(np.stack([triangle[[0, 1, 1, 2]], triangle[[0, 1, 2, 2]]]))
    both = panels.induced(points, halves)
    np.testing.assert_allclose(both[:, :, 0], both[:, :, 1], atol=1e-14)
    np.testing.assert_allclose(folded.centre[0], triangle.mean(axis=0), atol=1e-15)
    far = panels.induced(np.array([[30.0, 40.0, 0.0]]) + triangle.mean(axis=0), folded)[:, 0, 0]
    np.testing.assert_allclose(far, 0.5 * np.array([0.6, 0.8, 0]) / (4 * np.pi * 50**2), rtol=1e-3, atol=1e-9)


def test_quadrilateral_without_area_is_refused() -> None:
    with pytest.raises(MpnoError, match="quadrilateral 1 has no area"):
        Panels.of(
            np.array([[[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]]])
        )


def test_sphere_converges_to_the_analytic_pressure() -> None:
    """Cp = 1 - 9/4 sin^2 of the angle to the stream. Flat panels of constant strength are first order in their size."""
    errors = []
    for n in (2, 4, 8):
        sphere = Panels.of(cubed_sphere(n).half)
        flow = panels.solve(sphere, mirrors=(1,))
        sine2 = 1 - sphere.centre[:, 0] ** 2 / (sphere.centre**2).sum(axis=1)
        errors.append(l2(flow.cp - (1 - 9 / 4 * sine2), sphere.area))
    assert errors[-1] < 0.004
    assert (order(errors) > 0.9).all(), errors


def test_ellipsoid_converges_to_the_analytic_velocity() -> None:
    """On the surface, the stream's tangential part times 2 / (2 - alpha) (H. Lamb, Hydrodynamics, section 114)."""
    a, b, c = axes = (2.0, 0.7, 1.1)
    alpha = a * b * c * quad(lambda x: (a**2 + x) ** -1.5 * ((b**2 + x) * (c**2 + x)) ** -0.5, 0, np.inf)[0]
    errors = []
    for n in (3, 6):
        body = Panels.of(cubed_sphere(n, axes).half)
        flow = panels.solve(body, mirrors=(1,))
        normal = body.centre / np.square(axes)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        exact = 2 / (2 - alpha) * (np.array([1.0, 0, 0]) - normal[:, :1] * normal)
        errors.append(l2(np.linalg.norm(flow.velocity - exact, axis=1), body.area))
    assert errors[-1] < 0.02
    assert (order(errors) > 0.9).all(), errors


def test_mirrors_stand_for_the_bodies_they_show() -> None:
    """A sphere over the ground, by half a sphere and two planes, against two whole spheres and none."""
    up = np.array([0, 0, 1.5])
    mesh = cubed_sphere(3)
    over = mesh.vertices[mesh.quads] + up
    under = (over * [1, 1, -1])[:, ::-1]
    half = panels.solve(Panels.of(mesh.half + up), mirrors=(1, 2))
    whole = panels.solve(Panels.of(np.concatenate([over, under])))
    np.testing.assert_allclose(half.cp, whole.cp[: len(half.cp)], atol=1e-12)
    np.testing.assert_allclose(half.velocity, whole.velocity[: len(half.cp)], atol=1e-12)


def test_no_fluid_passes_the_body_or_the_ground() -> None:
    body = Panels.of(cubed_sphere(4).half + np.array([0, 0, 1.2]))
    flow = panels.solve(body, mirrors=(1, 2))
    assert np.abs((flow.velocity * body.normal).sum(axis=1)).max() < 1e-12
    ground = np.array([[0.0, 0, 0], [1.0, 0.3, 0], [-2.0, 1.0, 0]])
    assert np.abs(panels.induced(ground, body, (1, 2))[2]).max() < 1e-14
    # A closed body gives off as much as it takes in.
    assert abs(flow.strength @ body.area) < 0.01 * np.abs(flow.strength) @ body.area


def test_sphere_near_the_ground_converges() -> None:
    """Successive lifts draw together by nearly half or more; the gap speeds the flow up, so there is suction."""
    lifts, drags = [], []
    for n in (2, 4, 8):
        body = Panels.of(cubed_sphere(n).half + np.array([0, 0, 1.25]))
        force = panels.forces(body, panels.solve(body, mirrors=(1, 2)).cp)
        lifts.append(force[2])
        drags.append(force[0])
    first, second = np.abs(np.diff(lifts))
    assert second < 0.6 * first
    assert lifts[-1] < -0.1
    assert np.abs(drags).max() < 1e-12  # by symmetry fore and aft


def ahmed(fan: int) -> shapes.Mesh:
    return shapes.ahmed(length=1.044, width=0.389, height=0.288, clearance=0.05, slant=25.0, fillet=0.1, fan=fan)


def test_drag_of_an_ahmed_body_falls_towards_zero() -> None:
    """D'Alembert: what is left is discretisation error, and falls with the size of the panels."""
    drags = []
    for fan in (2, 3, 4):
        body = Panels.of(ahmed(fan).half)
        drag = 2 * panels.forces(body, panels.solve(body, mirrors=(1, 2)).cp)[0]
        drags.append(abs(drag) / (0.389 * 0.288))
    assert drags[-1] < 0.01
    assert np.log(drags[0] / drags[-1]) / np.log(2) > 0.8, drags


def rounded_box(fan: int) -> tuple[np.ndarray, shapes.Mesh]:
    """A rounded box over the ground, with lattice nodes in units of its coarsest mesh."""

    def flat(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full_like(x, 0.9), np.zeros_like(x)

    cells = (2 * fan, fan, fan)
    profile = shapes.Profile(1.2, 1.0, 0.3, flat, lambda x: np.full_like(x, 0.25))
    nodes, quads = shapes.lattice(cells[0] + 2 * fan, cells[1] + fan, cells[2] + 2 * fan)
    return nodes[quads[: len(quads) // 2]].mean(axis=1) / fan, shapes.rounded(profile, cells, fan)


def parents(fine: np.ndarray, coarse: np.ndarray, factor: int) -> np.ndarray:
    """Of each fine quadrilateral, the coarse one that it lies in, from their centres in coarsest units."""
    on_face = np.isclose(fine % 1, 0) & np.isin(fine, coarse.round(12))
    edge = 1 / factor
    at = np.where(on_face, fine, (np.floor(fine / edge) + 0.5) * edge)
    known = {tuple(row): i for i, row in enumerate(coarse.round(9).tolist())}
    return np.array([known[tuple(row)] for row in at.round(9).tolist()])


def test_pressure_on_a_rounded_body_converges() -> None:
    """Area-weighted L2 distance between successive meshes, each half as wide, on nested panels."""
    levels = (1, 2, 4)
    found = []
    for fan in levels:
        centres, mesh = rounded_box(fan)
        body = Panels.of(mesh.half)
        found.append((centres, body, panels.solve(body, mirrors=(1, 2)).cp))
    apart = []
    for (coarse, body, cp), (fine, fine_body, fine_cp), fan in zip(found, found[1:], levels, strict=False):
        parent = parents(fine, coarse, fan)
        assert (np.bincount(parent, minlength=len(cp)) == 4).all()
        mean = np.bincount(parent, fine_cp * fine_body.area) / np.bincount(parent, fine_body.area)
        apart.append(l2(cp - mean, body.area))
    assert (order(apart) > 0.9).all(), apart
    assert apart[-1] < 0.05, apart
