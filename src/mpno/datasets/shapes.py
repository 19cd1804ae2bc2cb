"""Parametric bodies with every edge rounded, as structured quadrilateral meshes: Ahmed bodies and car-like bodies.

A mesh is the surface of a box of cells bent onto the body. The nodes of the lattice have a skeleton point, a radius and
a direction, and lie at skeleton + radius x direction: on the flat of a face the direction is the face's normal; towards
an edge it turns by equal angles until it meets that of the next face halfway. So edges are rounded by arcs and corners
by pieces of spheres, there are no poles, and the mesh is closed by construction.

Axes: x along the flow, y to the side, z up with the ground at z = 0. Lengths in metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mpno.specs import MpnoError

FAN = 4
"""Panels over half the turn of a right-angled edge. Eight per quarter circle are 0.196 radii long each, so that at
least four fit in a radius."""
TURN = 0.25
"""The largest angle between neighbouring panels, in radians: that of panels a quarter of the radius long."""
EDGE = 0.035
"""Radius of an Ahmed body's edges but for those of its front, metres."""
KINK = 0.2
"""Radius of the edge between its roof and its slant, metres."""
SLANT = 0.222
"""Length of its slant along the surface, metres: that of the 1984 body."""
NOSE, SIDE = 0.22, 0.16
"""Radii of a car-like body's edges, at its front and from its middle to its rear, metres."""
GLASS = 0.22
"""Lengths along x of its windscreen and of its rear window, as a share of its own."""
TAPER = 0.08
"""By what share a car-like body is narrower at its ends than in the middle."""


@dataclass(frozen=True)
class Mesh:
    """A closed surface, symmetric about y = 0, oriented outwards.

    Attributes:
        vertices: (V, 3) float64.
        quads: (Q, 4) int64; the first half has y >= 0, the second is its mirror image in the same order.
        triangles: (2 Q, 3) int64, each quad cut along its shorter diagonal; quad q gives triangles 2 q and 2 q + 1.
    """

    vertices: np.ndarray
    quads: np.ndarray
    triangles: np.ndarray

    @property
    def half(self) -> np.ndarray:
        """Corners of the quads with y >= 0, (Q / 2, 4, 3)."""
        return self.vertices[self.quads[: len(self.quads) // 2]]


@dataclass(frozen=True)
class Profile:
    """What a body looks like from the side, with the radii of its edges.

    Attributes:
        length, width: of the body.
        bottom: height of the flat underside over the ground.
        top: height of the upper surface over the ground and its slope, as functions of x from the front.
        radius: radius of the edges as a function of x.
    """

    length: float
    width: float
    bottom: float
    top: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    radius: Callable[[np.ndarray], np.ndarray]


def lattice(nx: int, ny: int, nz: int) -> tuple[np.ndarray, np.ndarray]:
    """Surface of a box of nx x 2 ny x nz cells: nodes (V, 3) with -ny <= j <= ny, and quads (Q, 4) as in `Mesh`."""
    i, j, k = (np.arange(n + 1) for n in (nx, ny, nz))
    sides = [((0, 0), k, j, (2, 1)), ((0, nx), j, k, (1, 2)), ((2, 0), j, i, (1, 0)), ((2, nz), i, j, (0, 1))]
    sides.append(((1, ny), k, i, (2, 0)))
    found = []
    for (axis, at), first, second, (p, q) in sides:
        grid = np.zeros((len(first), len(second), 3), dtype=np.int64)
        grid[..., axis] = at
        grid[..., p], grid[..., q] = np.meshgrid(first, second, indexing="ij")
        corners = [grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]]
        found.append(np.stack(corners, axis=2).reshape(-1, 4, 3))
    half = np.concatenate(found)
    mirrored = half[:, ::-1] * np.array([1, -1, 1])
    nodes, index = np.unique(np.concatenate([half, mirrored]).reshape(-1, 3), axis=0, return_inverse=True)
    return nodes, index.reshape(-1, 4)


def mesh_of(nodes: np.ndarray, quads: np.ndarray, vertices: np.ndarray) -> Mesh:
    """Cut the quads of a lattice into triangles, the same way on both sides of y = 0."""
    count = len(quads) // 2
    corners = vertices[quads[:count]]
    diagonals = np.linalg.norm(corners[:, 2:] - corners[:, :2], axis=2)
    turn = (diagonals[:, 1] < diagonals[:, 0]).astype(np.int64)[:, None]
    right = np.take_along_axis(quads[:count], (np.arange(4) + turn) % 4, axis=1)
    # The mirror image runs the other way round, so its corners are those of the right side read backwards.
    left = np.take_along_axis(quads[count:, ::-1], (np.arange(4) + turn) % 4, axis=1)
    cut = [right[:, [0, 1, 2]], right[:, [0, 2, 3]]], [left[:, [0, 2, 1]], left[:, [0, 3, 2]]]
    triangles = np.concatenate([np.stack(pair, axis=1).reshape(-1, 3) for pair in cut])
    return Mesh(vertices, quads, triangles)


def rounded(profile: Profile, cells: tuple[int, int, int], fan: int = FAN) -> Mesh:
    """Mesh the body of `profile`.

    Args:
        profile: the body.
        cells: cells of the flat parts along x, along half the width, and along z.
        fan: panels per half edge; the mesh size scales with it.

    Raises:
        MpnoError: the edges' radii leave no flat between them.
    """
    nx, ny, nz = cells[0] + 2 * fan, cells[1] + fan, cells[2] + 2 * fan
    nodes, quads = lattice(nx, ny, nz)
    side, j = np.sign(nodes[:, 1]), np.abs(nodes[:, 1])
    # Across, the lattice is counted from the middle: it turns at the far end only.
    turn = np.stack([_turn(nodes[:, 0], nx, fan), _turn(j + ny, 2 * ny, fan), _turn(nodes[:, 2], nz, fan)], axis=1)
    station = np.clip(nodes[:, 0], fan, nx - fan) - fan
    up = (np.clip(nodes[:, 2], fan, nz - fan) - fan) / cells[2]
    out = np.minimum(j, ny - fan) / cells[1]

    (above, normal), below = _skeleton(profile, cells[0], fan)
    line = below[station] + up[:, None] * (above - below)[station]  # x, z, radius
    left = min((above - below)[:, 1].min(), profile.width / 2 - line[:, 2].max())
    if left <= 0:
        raise MpnoError(f"body: the edges leave {1e3 * left:.0f} mm between them; take smaller radii")
    direction = np.stack([turn[:, 0], turn[:, 1], np.zeros(len(nodes))], axis=1)
    upper = turn[:, 2] > 0
    direction[:, [0, 2]] += turn[:, [2]] * np.where(upper[:, None], normal[station], [0.0, 1.0])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    skeleton = np.stack([line[:, 0], out * (profile.width / 2 - line[:, 2]), line[:, 1]], axis=1)
    vertices = skeleton + line[:, [2]] * direction
    vertices[:, 0] -= profile.length / 2
    vertices[:, 1] *= side
    return mesh_of(nodes, quads, vertices)


def _turn(index: np.ndarray, count: int, fan: int) -> np.ndarray:
    """Weight of the next face's normal: the tangent of equal angles, 1 at the end of the lattice, 0 on the flat."""
    beyond = np.maximum(fan - index, 0) - np.maximum(index - (count - fan), 0)
    return -np.tan(np.pi / 4 * beyond / fan)


def _skeleton(profile: Profile, cells: int, fan: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Stations along the upper and lower skeleton, each (cells + 1, 3) of x, z, radius, and the upper normals' x, z."""
    front, rear = (float(profile.radius(np.array(x))) for x in (0.0, profile.length))
    start, end = front, profile.length - rear
    for _ in range(60):  # to where the sphere that rounds the end touches both the upper surface and the end
        start = front + front * _upward(profile, start)[0]
        end = profile.length - rear + rear * _upward(profile, end)[0]
    share = _stations(profile, start, end, cells, TURN * FAN / fan)
    x = start + (end - start) * share
    normal = _upward(profile, x)
    radius = profile.radius(x)
    above = np.stack([x - radius * normal[..., 0], profile.top(x)[0] - radius * normal[..., 1], radius], axis=1)
    x = front + (profile.length - rear - front) * share
    radius = profile.radius(x)
    return (above, normal), np.stack([x, profile.bottom + radius, radius], axis=1)


def _stations(profile: Profile, start: float, end: float, cells: int, turn: float) -> np.ndarray:
    """Where along the upper surface to cut it, (cells + 1,) from 0 to 1: evenly, but closer where it bends, so that a
    cell turns by at most `turn`."""
    share = np.linspace(0.0, 1.0, 2001)
    angle = np.arctan(profile.top(start + (end - start) * share)[1])
    turned = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(angle)))]) / turn
    if turned[-1] >= 0.8 * cells:
        raise MpnoError(f"body: the upper surface needs {turned[-1]:.0f} of {cells} cells to bend; take more")
    return np.interp(np.arange(cells + 1), turned + (cells - turned[-1]) * share, share)


def _upward(profile: Profile, x: np.ndarray | float) -> np.ndarray:
    slope = profile.top(np.asarray(x, dtype=np.float64))[1]
    return np.stack([-slope, np.ones_like(slope)], axis=-1) / np.sqrt(1 + slope**2)[..., None]


def ahmed(
    *, length: float, width: float, height: float, clearance: float, slant: float, fillet: float, fan: int = FAN
) -> Mesh:
    """Ahmed body: a box with a rounded front and a slanted rear.

    Args:
        length, width, height, clearance, fillet: metres; fillet is the radius of the edges of the front.
        slant: angle of the rear window against the roof, degrees.
        fan: panels per half edge.

    The reference body is 1.044 x 0.389 x 0.288 with a fillet of 0.1 and a slant of 0.222 along the surface (Ahmed,
    Ramm, Faltin, Some salient features of the time-averaged ground vehicle wake, SAE 840300, 1984). Its other edges
    are sharp and it stands on stilts; here the other edges have radius `EDGE`, the edge between roof and slant `KINK`,
    and there are no stilts.

    Raises:
        MpnoError: the edges' radii leave no flat between them.
    """
    angle = np.deg2rad(slant)
    roof = clearance + height
    bend = length - SLANT * np.cos(angle) - KINK * np.tan(angle / 2)

    def top(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        arc = np.clip(x - bend, 0.0, KINK * np.sin(angle))
        fall = np.sqrt(KINK**2 - arc**2)
        past = np.maximum(x - bend - arc, 0.0)
        slope = -arc / fall
        return roof - KINK + fall + past * slope, slope

    def radius(x: np.ndarray) -> np.ndarray:
        return fillet + (EDGE - fillet) * _step((x - fillet) / (0.4 * length))

    return rounded(Profile(length, width, clearance, top, radius), (5 * fan, fan + 1, fan), fan)


def car(
    *,
    length: float,
    width: float,
    height: float,
    clearance: float,
    hood: float,
    deck: float,
    windscreen: float,
    cabin: float,
    tumblehome: float,
    fan: int = FAN,
) -> Mesh:
    """Car-like body: hood, cabin and rear, as a smooth blend, without wheels.

    Args:
        length, width, height, clearance: metres; height is that of the roof over the underside.
        hood, deck: heights of hood and rear deck over the underside, as a share of the roof's.
        windscreen: where the windscreen begins, as a share of the length.
        cabin: length of cabin and windscreen, as a share of the length; the rear window follows.
        tumblehome: by what share the body is narrower at the roof than at the underside.
        fan: panels per half edge.

    Raises:
        MpnoError: the edges' radii leave no flat between them.
    """
    glass = GLASS * length

    def top(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rise, fall = (x - windscreen * length) / glass, (x - (windscreen + cabin) * length) / glass
        over = hood + (1 - hood) * _step(rise) - (1 - deck) * _step(fall)
        slope = ((1 - hood) * _step_slope(rise) - (1 - deck) * _step_slope(fall)) / glass
        return clearance + height * over, height * slope

    def radius(x: np.ndarray) -> np.ndarray:
        return NOSE + (SIDE - NOSE) * _step((x - NOSE) / (0.4 * length))

    mesh = rounded(Profile(length, width, clearance, top, radius), (6 * fan, fan + 1, fan), fan)
    x, y, z = mesh.vertices.T
    narrow = (1 - tumblehome * _step((z - clearance) / height)) * (1 - TAPER * (2 * x / length) ** 4)
    return replace(mesh, vertices=np.stack([x, y * narrow, z], axis=1))


def _step(t: np.ndarray) -> np.ndarray:
    """From 0 at t <= 0 to 1 at t >= 1, with two continuous derivatives."""
    t = np.clip(t, 0.0, 1.0)
    return t**3 * (10 - 15 * t + 6 * t**2)


def _step_slope(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0.0, 1.0)
    return 30 * t**2 * (1 - t) ** 2
