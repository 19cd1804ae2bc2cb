"""The page that shows every table and figure, says how its numbers came about, and links their files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mpno.paper.records import NONE, ItemData, load_item
from mpno.paper.table import build_table, table_notes
from mpno.specs.files import write_text

EVIDENCE_TEXT = {
    "native": "the processor has the instructions; values, times and memory are the setting's own",
    "emulated": "a library widens the numbers and rounds to the format's values; errors count, times do not",
    "simulated": "operands are rounded, and each one-dimensional pass of the transform with the format's overflow; "
    "rounding inside a GPU's transform is not modelled, so errors are a lower estimate; times do not count",
    "predicted": "memory from traced shapes and dtypes; nobody measured it",
}
_UNITS = {"l2": "L2", "h1": "H1", "seconds_per_epoch": "seconds per epoch", "memory": "memory"}


def write_report(folders: list[Path], *, out: Path) -> None:
    """Write the page `out` for the items whose tidy tables lie in `folders`.

    Raises:
        MpnoError: an item has no tidy tables.
    """
    items = [load_item(folder.resolve()) for folder in folders]
    items.sort(key=lambda item: item.context["kind"] != "table")
    environment = Environment(
        loader=PackageLoader("mpno.paper", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        first=items[0].context,
        items=[_section(item) for item in items],
        evidence=EVIDENCE_TEXT,
        versions=items[0].context["versions"] or {},
    )
    write_text(out, page)


def _section(item: ItemData) -> dict[str, Any]:
    context = item.context
    endings = ("csv", "md", "tex") if context["kind"] == "table" else ("pdf", "png", "svg")
    section = {
        "name": context["item"],
        "kind": context["kind"],
        "title": context["title"],
        "paper": context["paper"],
        "drawn": [(ending, f"../{context['kind']}s/{context['item']}.{ending}") for ending in endings],
        "notebooks": [(ending, f"../notebooks/{context['item']}.{ending}") for ending in ("ipynb", "html")],
        "notes": table_notes(item),
        "beside": _beside(item),
        "ours": _ours(item),
    }
    if context["kind"] == "table":
        frame, shown = build_table(item)
        section["columns"] = list(shown.columns)
        section["rows"] = list(zip(frame["role"], shown.to_numpy().tolist(), strict=True))
    return section


def _ours(item: ItemData) -> str:
    data = item.context["data"]
    return f"{item.grid(data['resolution'])}, {data['n_train']} training samples, {item.context['epochs']} epochs"


def _beside(item: ItemData) -> list[dict[str, str]]:
    """The paper's values, each with what is nearest of ours: the authors' recipe where it was run."""
    rows = []
    for row in item.reference.to_dict("records"):
        arm = _nearest(item, row["setting"])
        rows.append(
            {
                "setting": row["setting"],
                "quantity": _UNITS.get(row["metric"], row["metric"]),
                "paper": f"{row['value']:g} {row['unit'] if isinstance(row['unit'], str) else ''}".strip(),
                "conditions": row["conditions"],
                "provenance": row["provenance"],
                "place": row["place"],
                "ours": _value(item, arm, row["metric"]) if arm else NONE,
                "arm": f"{arm['recipe']}, {arm['evidence']}" if arm else "",
            }
        )
    return rows


def _nearest(item: ItemData, setting: str) -> dict[str, Any] | None:
    arms = [arm for arm in item.arms.to_dict("records") if (arm["setting"], arm["transform"]) == (setting, "fft")]
    return max(arms, key=lambda arm: arm["role"] == "authors", default=None)


def _value(item: ItemData, arm: dict[str, Any], metric: str) -> str:
    if metric == "seconds_per_epoch":
        return NONE if math.isnan(arm["seconds"]) else f"{arm['seconds']:.2f} s"
    if metric == "memory":
        return NONE if math.isnan(arm["predicted_peak"]) else f"{arm['predicted_peak'] / 2**20:.1f} MiB, predicted"
    values = list(item.values(arm["arm"], metric, item.resolutions[0]).values())
    return f"{sum(values) / len(values):.4f}" if values else NONE
