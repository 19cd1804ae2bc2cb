"""The picture of a set of bodies: pressure seen from the side and from above, the distance field, histograms."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from mpno.datasets import read_pairs
from mpno.datasets.meshes import Body, open_bodies
from mpno.paper.gallery_checks import constant, differing, histogram, say, short
from mpno.specs import MpnoError

MOST, SHOWN, COLUMNS = 64, 3, 5
"""Bodies of a split that are looked at; bodies in a picture; histograms in a row."""
AXES = "xyz"
CP = "pressure coefficient"


@dataclass(frozen=True)
class BodySet:
    """What was read of a set of bodies.

    Attributes:
        bodies: by split; what could not be read is missing.
        pressures: of each body (V,), as the coefficient where density and inlet speed are known, else in pascal.
        findings: what a person should look at.
        remarks: what else the numbers say.
    """

    path: Path
    attrs: dict[str, Any]
    pairs: dict[str, int]
    bodies: dict[str, list[Body]]
    findings: list[str]
    remarks: list[str]

    @property
    def counts(self) -> str:
        """How many bodies there are."""
        return ", ".join(f"{n} {split}" for split, n in self.pairs.items()) + " bodies"

    @property
    def names(self) -> list[str]:
        """Of the parameters."""
        return json.loads(self.attrs["parameter_names"])

    @property
    def density(self) -> float | None:
        """Of the fluid, in kilograms per cubic metre, where the file says it."""
        try:
            return float(json.loads(self.attrs["origin"])["density"])
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def quantity(self) -> str:
        """What bodies are coloured by, with its unit."""
        known = self.density and all(body.inlet_speed for body in self.all())
        return f"{CP}, dimensionless" if known else "pressure, Pa"

    def all(self) -> list[Body]:
        return [body for split in self.bodies.values() for body in split]

    def coloured(self, body: Body) -> np.ndarray:
        """The quantity at the vertices of a body, (V,)."""
        if not self.quantity.startswith(CP):
            return body.pressure
        assert self.density and body.inlet_speed
        return body.pressure / (0.5 * self.density * body.inlet_speed**2)


def read_bodies(path: Path, attrs: dict[str, Any]) -> BodySet:
    """Read the first bodies of each split. What cannot be read becomes a finding."""
    pairs = {split: n for (split, _), n in sorted(read_pairs(path).items(), reverse=True)}
    data = BodySet(path, attrs, pairs, {split: [] for split in pairs}, [], [])
    for split in pairs:
        bodies = open_bodies(path, split)
        for index in range(min(len(bodies), MOST)):
            try:
                data.bodies[split].append(bodies[index])
            except MpnoError as error:
                data.findings.append(short(error, path))
    _look(data)
    return data


def draw_bodies(data: BodySet) -> Figure:
    """Three bodies from the side, from above and cut in the middle; below, histograms."""
    panels = 2 + len(data.names)
    rows = -(-panels // COLUMNS)
    figure = Figure(figsize=(11, 5.3 + 1.1 * rows), layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[4.6, 1.1 * rows])[:, 0]
    _views(data, upper)
    cells = lower.subplots(rows, COLUMNS, squeeze=False).ravel()
    splits = {split: _joined([data.coloured(body) for body in bodies]) for split, bodies in data.bodies.items()}
    histogram(cells[0], splits, f"{data.quantity}, at the vertices")
    splits = {split: _joined([body.pressure for body in bodies]) for split, bodies in data.bodies.items()}
    histogram(cells[1], splits, "pressure at the vertices, Pa")
    for number, (axes, name) in enumerate(zip(cells[2:], data.names, strict=False)):
        splits = {s: _joined([body.parameters[number : number + 1] for body in b]) for s, b in data.bodies.items()}
        histogram(axes, splits, _with_unit(name), legend=False)
    for axes in cells[panels:]:
        axes.set_axis_off()
    return figure


def glance_at_body(data: BodySet, part: SubFigure) -> None:
    """The first body from the side above the same from above."""
    panels = part.subplots(2, 1)
    for body in data.all()[:1]:
        norm = _norm([data.coloured(body)])
        for axes, above in zip(panels, (False, True), strict=True):
            _seen(axes, data, body, norm, above=above)
            axes.set(xticks=[], yticks=[], ylabel="")
    panels[0].set_xlabel("from the side", fontsize=6)
    panels[1].set_xlabel("from above", fontsize=6)


def directions(data: BodySet) -> tuple[int, int, int]:
    """Which axes lie along the bodies, across them and upwards; as is usual where no body could be read."""
    bodies = data.all()
    return bodies[0].directions if bodies else (0, 1, 2)


def _views(data: BodySet, part: SubFigure) -> None:
    panels = part.subplots(3, SHOWN, squeeze=False, height_ratios=[1, 1.25, 1])
    split = next((split for split, bodies in data.bodies.items() if bodies), None)
    if split is None:
        for axes in panels.flat:
            say(axes, "cannot be read")
        return
    shown = data.bodies[split][:SHOWN]
    across = directions(data)[1]
    norm = _norm([data.coloured(body) for body in shown])
    deepest = max(float(np.abs(_middle(body, across)).max()) for body in shown)
    seen: Any = None
    cut: Any = None
    for number, (column, body) in enumerate(zip(panels.T, shown, strict=False)):
        for axes, above in zip(column[:2], (False, True), strict=True):
            seen = _seen(axes, data, body, norm, above=above)
        cut = _cut(column[2], data, body, deepest)
        speed = "" if body.inlet_speed is None else f", inlet {body.inlet_speed:.3g} m/s"
        column[0].set_title(f"{split} {number}{speed}: from the side")
        column[1].set_title("from above")
        column[2].set_title(f"signed distance, middle of {AXES[across]}; black: zero")
    part.colorbar(seen, ax=panels[:2], label=data.quantity, shrink=0.8, extend="both", aspect=25)
    part.colorbar(cut, ax=panels[2], label="distance, m", shrink=0.9, aspect=12, ticks=MaxNLocator(5))
    for axes in panels[:, len(shown) :].flat:
        axes.set_axis_off()


def _seen(axes: Any, data: BodySet, body: Body, norm: Normalize, *, above: bool) -> Any:
    """Draw the triangles that face a viewer above the body, or at its side, the far ones first."""
    along, across, up = directions(data)
    upright, away, towards = (across, up, 1.0) if above else (up, across, -1.0)
    corners = body.vertices[body.triangles].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, away]
    depth = corners[:, :, away].mean(axis=1)
    facing = np.flatnonzero(normals * towards > 0)
    order = facing[np.argsort(towards * depth[facing])]
    faces = axes.tripcolor(
        *body.vertices[:, [along, upright]].T, body.triangles[order], data.coloured(body), norm=norm, cmap="RdBu_r",
        shading="gouraud", rasterized=True,
    )  # fmt: skip
    _frame(axes, body, along, upright)
    return faces


def _cut(axes: Any, data: BodySet, body: Body, deepest: float) -> Any:
    """The signed distance on the plane in the middle, with its zero line."""
    along, across, up = directions(data)
    plane = _middle(body, across)
    plane = plane if along > up else plane.T
    x, y = (np.linspace(body.box[0, axis], body.box[1, axis], body.sdf.shape[axis]) for axis in (along, up))
    drawn = axes.contourf(x, y, plane, np.linspace(-deepest, deepest, 25), cmap="PuOr")
    if plane.min() < 0 < plane.max():
        axes.contour(x, y, plane, [0.0], colors="black", linewidths=0.8)
    _frame(axes, body, along, up)
    return drawn


def _frame(axes: Any, body: Body, across_page: int, up_page: int) -> None:
    axes.set(xlim=body.box[:, across_page], ylim=body.box[:, up_page], aspect="equal")
    axes.set_xlabel(f"{AXES[across_page]}, m", fontsize=6, labelpad=1)
    axes.set_ylabel(f"{AXES[up_page]}, m", fontsize=6, labelpad=1)


def _middle(body: Body, across: int) -> np.ndarray:
    """The distance in the middle of an axis: the mean of the two planes beside it where none lies there."""
    n = body.sdf.shape[across]
    return body.sdf.take([(n - 1) // 2, n // 2], axis=across).mean(axis=across)


def _norm(values: list[np.ndarray]) -> Normalize:
    """Colours for all but the outermost half percent, white at zero."""
    low, high = np.percentile(np.concatenate(values), [0.5, 99.5])
    if low < 0 < high:
        return TwoSlopeNorm(0.0, low, high)
    return Normalize(low, high if high > low else low + 1)


def _joined(values: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(values) if values else np.zeros(0)


def _with_unit(name: str) -> str:
    """A parameter with its unit where its name tells it."""
    units = {"inlet_speed": "m/s", "slant": "degrees"}
    lengths = ("length", "width", "height", "clearance", "fillet")
    unit = "m" if name in lengths else units.get(name)
    return name.replace("_", " ") + (f", {unit}" if unit else "")


def _look(data: BodySet) -> None:
    """Note what the eye should be drawn to: constants, distances of one sign, splits that differ."""
    statistics: dict[str, dict[str, np.ndarray]] = {}
    for split, bodies in data.bodies.items():
        own = [data.coloured(body) for body in bodies]
        for index, (body, values) in enumerate(zip(bodies, own, strict=True)):
            if constant(values):
                data.findings.append(f"{split} {index}: the pressure is constant, {values[0]:g}")
            if not body.sdf.min() < 0 < body.sdf.max():
                data.findings.append(f"{split} {index}: the distance has one sign, {body.sdf.min():g} at least")
        if not bodies:
            continue
        what = data.quantity.partition(",")[0]
        means, spreads = (np.array([of(values) for values in own]) for of in (np.mean, np.std))
        statistics[split] = {f"mean of the {what}": means, f"spread of the {what}": spreads}
        statistics[split] |= dict(zip(data.names, np.stack([body.parameters for body in bodies]).T, strict=True))
        values = np.concatenate(own)
        data.remarks.append(f"{split} {what}: {values.min():.3g} to {values.max():.3g}")
    data.findings.extend(differing(statistics.get("train", {}), statistics.get("test", {})))
