"""Error against epoch of every arm, as the page's charts want it."""

from __future__ import annotations

from typing import Any

from mpno.paper.records import ItemData, ItemTables
from mpno.paper.report.known_runs import settings

NAMES = {"l2": "relative L2 error", "h1": "relative H1 error"}


def curves(item: ItemTables) -> list[dict[str, Any]]:
    """A chart per part and error on the training grid: of each arm its seeds' mean, least and largest by epoch."""
    return [chart for part in item.parts.values() for chart in _of_part(part)]


def _of_part(part: ItemData) -> list[dict[str, Any]]:
    grid = part.context["data"]["resolution"]
    names = settings(part.context["arms"])
    rows = part.history.query("resolution == @grid")
    found: list[dict[str, Any]] = []
    for metric, by_metric in rows.groupby("metric", sort=False):
        lines: list[dict[str, Any]] = []
        for arm, by_arm in by_metric.groupby("arm", sort=False):
            each = by_arm.groupby("epoch")["value"].agg(["mean", "min", "max", "count"]).dropna()
            numbers = {key: [float(f"{value:.5g}") for value in each[key]] for key in ("mean", "min", "max")}
            count = [int(value) for value in each["count"]]
            lines.append({"name": names[str(arm)], "epoch": [int(e) for e in each.index], **numbers, "count": count})
        title = f"{part.title}, {part.grid(grid)}: {NAMES[str(metric)]} of the test set"
        found.append({"title": title, "metric": NAMES[str(metric)], "lines": [line for line in lines if line["epoch"]]})
    return [chart for chart in found if chart["lines"]]
