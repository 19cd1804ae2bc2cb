"""The gallery of data sets: what a data file holds, as one picture and a few lines, whatever its layout."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mpno.datasets import read_attrs
from mpno.datasets.layout import evidence_of_data
from mpno.paper.gallery_bodies import BodySet, draw_bodies, glance_at_body, read_bodies
from mpno.paper.gallery_grids import draw_grids, glance_at_grid
from mpno.paper.gallery_read import GridSet, read_grids
from mpno.paper.style import look
from mpno.specs.files import replacing

DPI = 150


def read_set(path: str | Path) -> GridSet | BodySet:
    """Read as much of a data file as a picture needs: at most 64 samples per split and resolution.

    Raises:
        MpnoError: no such file, or not a store. Arrays that cannot be read are findings, not errors.
    """
    attrs = read_attrs(Path(path))
    return (read_bodies if attrs["layout"] == "meshes" else read_grids)(Path(path), attrs)


def draw_set(data: GridSet | BodySet) -> Figure:
    """The picture of one set, under its title, where it comes from and what it is worth."""
    with look():
        figure = draw_bodies(data) if isinstance(data, BodySet) else draw_grids(data)
        lines = [f"{data.attrs['title']}: {data.counts}", *facts(data)]
        lines += [f"LOOK: {finding}" for finding in data.findings]
        figure.suptitle("\n".join(textwrap.fill(line, 210) for line in lines), fontsize=7, x=0.01, ha="left")
    return figure


def save_picture(figure: Figure, out: str | Path, name: str) -> Path:
    """Write the picture as `out`/`name`.png, the same bytes for the same data."""
    path = Path(out) / f"{name}.png"
    with look(), replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": "mpno"})
    return path


def facts(data: GridSet | BodySet) -> list[str]:
    """Where the data come from, what they are worth, and whose they are."""
    attrs = data.attrs
    origin = _origin(attrs)
    made = next((origin[key] for key in ("generator", "record", "file") if key in origin), "origin not stated")
    seed = "no seed" if attrs["seed"] is None else f"seed {attrs['seed']}"
    return [
        f"evidence: {evidence_of_data(attrs)}; source: {attrs['source']} ({made}), {seed}, {attrs.get('created_by')}",
        f"licence: {attrs['licence']}; cite: {attrs['citation']}",
    ]


def set_notes(data: GridSet | BodySet) -> list[str]:
    """The facts, what the numbers say, and what a person should look at."""
    found = [f"**look**: {finding}" for finding in data.findings] or ["nothing struck the program as odd"]
    return [f"file {data.path.name}: {data.counts}", *facts(data), *data.remarks, *found]


def draw_overview(paths: Sequence[str | Path]) -> Figure:
    """One column per set: a sample's input above its target, or a body from the side and from above."""
    with look():
        figure = Figure(figsize=(2.0 * len(paths), 3.3), layout="constrained")
        parts = figure.subfigures(1, len(paths), squeeze=False)[0]
        for part, path in zip(parts, paths, strict=True):
            data = read_set(path)
            if isinstance(data, BodySet):
                glance_at_body(data, part)
            else:
                glance_at_grid(data, part)
            part.suptitle(f"{data.attrs['name']}\n{evidence_of_data(data.attrs)}", fontsize=7)
    return figure


def _origin(attrs: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(attrs["origin"])
    except (TypeError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}
