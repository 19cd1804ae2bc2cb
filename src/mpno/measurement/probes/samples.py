"""One test sample of each data set, small enough for a table: what the models are given and what they predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mpno.datasets import open_split, read_attrs
from mpno.datasets.layout import evidence_of_data
from mpno.datasets.meshes import Body, open_bodies
from mpno.measurement.probes.inputs import ProbedArm
from mpno.specs import MpnoError
from mpno.specs.sets import BODIES

MOST = 32
"""Points of a field along each axis."""
POINTS = 512
"""Points of a body in each view."""
DIGITS = 4
"""Significant digits: a picture shows no more."""


def samples(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The first test sample of each part at the training resolution; one arm per part suffices.

    `settings` may hold under `channel`, by part, which channel of a field is taken (else the first).

    Returns:
        Rows of part, view, x, y, value, unit, evidence. Of a field the views are ``input`` and
        ``target``, x and y the positions on [0, 1) along the last axis and the one before it, thinned to `MOST` points
        an axis (of three axes the middle slice). Of a body they are ``side`` and ``above``, x and y in metres, the
        value is its pressure at up to `POINTS` of the points that face the viewer.

    Raises:
        MpnoError: a field has no such channel, or the data file cannot be read.
    """
    parts = {arm.part: arm for arm in reversed(arms)}
    rows = []
    for part in dict.fromkeys(arm.part for arm in arms):
        arm = parts[part]
        attrs = read_attrs(arm.data)
        points = _body(arm, attrs) if arm.spec.data.name in BODIES else _field(arm, attrs, settings)
        rows += [{"part": part, **point, "evidence": evidence_of_data(attrs)} for point in points]
    return rows


def _field(arm: ProbedArm, attrs: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    channel = settings.get("channel", {}).get(arm.part, 0)
    with open_split(arm.data, "test", arm.spec.data.resolution, 1) as stored:
        pair = {"input": stored.x[:1][0], "target": stored.y[:1][0]}
    for (view, fields), kind in zip(pair.items(), "xy", strict=True):
        if channel >= len(fields):
            raise MpnoError(f"probe samples: channel {channel} of {arm.part}; its {view} has {len(fields)}, from 0")
        units = attrs[f"units_{kind}"]
        field = fields[channel]
        field = field[len(field) // 2] if field.ndim == 3 else np.atleast_2d(field)
        rows, columns = (np.arange(0, n, -(-n // MOST)) for n in field.shape)
        for i in rows:
            for j in columns:
                yield {
                    "view": view,
                    "x": _short(j / field.shape[1]),
                    "y": _short(i / field.shape[0]),
                    "value": _short(field[i, j]),
                    "unit": units if isinstance(units, str) else str(units[channel]),
                }


def _body(arm: ProbedArm, attrs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    body = open_bodies(arm.data, "test")[0]
    along, across, up = body.directions
    for view, upright, away, towards in (("side", up, across, -1.0), ("above", across, up, 1.0)):
        for number in _facing(body, away, towards):
            yield {
                "view": view,
                "x": _short(body.vertices[number, along]),
                "y": _short(body.vertices[number, upright]),
                "value": _short(body.pressure[number]),
                "unit": "Pa",
            }


def _facing(body: Body, away: int, towards: float) -> np.ndarray:
    """The numbers of the points whose normal points to the viewer, thinned evenly."""
    facing = np.flatnonzero(body.normals[:, away] * towards > 0)
    return facing[np.linspace(0, len(facing) - 1, min(len(facing), POINTS)).round().astype(int)]


def _short(value: Any) -> float:
    return float(f"{float(value):.{DIGITS}g}")
