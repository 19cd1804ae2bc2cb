"""What the page shows of an item."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from mpno.paper.records import NONE, ItemData, ItemTables
from mpno.paper.report.known_runs import settings
from mpno.specs import MpnoError

FILES = {"table": ("csv", "md", "tex"), "figure": ("pdf", "png", "svg", "csv")}
SMALL = 90_000
"""Bytes up to which a figure's svg goes into the page; a larger one goes as a picture of dots."""
WIDTH = 1600
"""Pixels across of such a picture: twice the page's column."""
_UNITS = {"l2": "L2", "h1": "H1", "seconds_per_epoch": "seconds per epoch", "memory": "memory"}


def section(page: dict[str, Any], item: ItemTables, results: Path) -> dict[str, Any]:
    """Everything that the page says of an item.

    Args:
        page: what was drawn of it.
        item: its tidy tables.
        results: where the folders of tables, figures and notebooks lie.

    Raises:
        MpnoError: the figure is missing.
    """
    context = page["context"]
    name, table, figure = context["item"], page.get("table"), page.get("figure")
    beside = (table or {}).get("beside")
    return {
        "name": name,
        "title": context["title"],
        "paper": context["paper"],
        "section": context.get("section", "paper"),  # tables of before there were sections are of the paper
        "changes": context["changes"],
        "files": [(kind, ending, f"../{kind}s/{name}.{ending}") for kind in context["draws"] for ending in FILES[kind]],
        "tidy": [(f"{file}.csv", f"../tidy/{name}/{file}.csv") for file in ("errors", "runs") if item.parts],
        "notebooks": [(ending, f"../notebooks/{name}.{ending}") for ending in ("ipynb", "html")],
        "figure": figure and {**figure, "image": _picture(results / "figures" / name)},
        "table": table and {**table, "rows": list(zip(table["roles"], table["rows"], strict=True))},
        "beside": beside,
        "reference": [] if beside else [_published(row) for row in page["reference"]],
        "evidence": _evidence(item),
        "records": [shown for part in item.parts.values() if (shown := _records(part))["rows"]],
    }


def _picture(path: Path) -> str:
    """The figure as a data address: as it is where it is small, else in dots."""
    vector, dots = path.with_suffix(".svg"), path.with_suffix(".png")
    for file in (vector, dots):
        if not file.is_file():
            raise MpnoError(f"{file}: is missing; make it with `make item ITEM={path.name}`")
    if vector.stat().st_size <= SMALL:
        return _address("svg+xml", vector.read_bytes())
    with Image.open(dots) as picture:
        picture = picture.convert("RGB")
        picture.thumbnail((WIDTH, 4 * WIDTH))
        buffer = io.BytesIO()
        picture.save(buffer, "webp", quality=88, method=4)
    return _address("webp", buffer.getvalue())


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _evidence(item: ItemTables) -> list[str]:
    """The evidence classes of its numbers."""
    frames = [frame for part in item.parts.values() for frame in (part.errors, part.arms)] + list(item.probes.values())
    said = [str(value) for frame in frames if "evidence" in frame for value in frame["evidence"].dropna()]
    return sorted({word for text in said for word in text.split("/")})


def _records(part: ItemData) -> dict[str, Any]:
    """Of each arm and seed the last error on the training grid, each with the run it is of."""
    grid, names = part.context["data"]["resolution"], settings(part.context["arms"])
    rows = part.errors.query("metric == 'l2' and resolution == @grid").to_dict("records")
    errors = {row["run"]: row["value"] for row in rows}
    arms = [arm for arm in part.context["arms"] if arm["runs"]]
    seeds = sorted({int(seed) for arm in arms for seed in arm["runs"]})
    return {
        "title": f"{part.context['part']}: relative L2 error at {part.grid(grid)}",
        "seeds": seeds,
        "rows": [
            {
                "setting": names[arm["name"]],
                "recipe": arm["recipe"] or "",
                "cells": [_cell(arm["runs"].get(str(seed)), errors) for seed in seeds],
            }
            for arm in arms
        ],
    }


def _cell(run: str | None, errors: dict[Any, Any]) -> tuple[str, str | None]:
    if run is None:
        return NONE, None
    value = errors.get(run)
    return "diverged" if value is None or pd.isna(value) else f"{value:.4g}", run


def _published(row: dict[str, Any]) -> dict[str, Any]:
    unit = row["unit"] if isinstance(row["unit"], str) else ""
    return {
        "setting": row["setting"],
        "quantity": _UNITS.get(row["metric"], row["metric"]),
        "value": f"{row['value']:g} {unit}".strip(),
        "conditions": row["conditions"] if isinstance(row["conditions"], str) else "",
        "provenance": f"{row['provenance']}: {row['place']}",
    }
