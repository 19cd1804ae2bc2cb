"""The page that shows every table and figure, says how its numbers came about, and links their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mpno.paper.records import AGAIN, whole
from mpno.specs.files import read_json, write_text

FILES = {"table": ("csv", "md", "tex"), "figure": ("pdf", "png", "svg", "csv")}
FACTS = ("scale", "device", "processor", "threads", "changes")
_UNITS = {"l2": "L2", "h1": "H1", "seconds_per_epoch": "seconds per epoch", "memory": "memory"}
EVIDENCE_TEXT = {
    "native": "the processor has the instructions; values, times and memory are the setting's own",
    "emulated": "a library widens the numbers and rounds to the format's values; errors count, times do not",
    "simulated": "operands are rounded, and each one-dimensional pass of the transform with the format's overflow; "
    "rounding inside a GPU's transform is not modelled, so errors are a lower estimate; times do not count",
    "predicted": "memory from traced shapes and dtypes; nobody measured it",
}


def write_report(pages: list[Path], *, out: Path) -> None:
    """Write the page `out` from what was drawn of each item (the JSON files of :func:`mpno.paper.draw`).

    Raises:
        MpnoError: a file is missing or broken.
    """
    contexts: list[dict[str, Any]] = []
    sections: list[dict[str, Any]] = []
    for path in pages:
        page = read_json(path, AGAIN)
        with whole(str(path)):
            context = page["context"]
            contexts.append({key: context[key] for key in FACTS} | {"versions": context.get("versions")})
            sections.append(_section(page))
    first = next((context for context in contexts if context["versions"]), contexts[0])
    environment = Environment(
        loader=PackageLoader("mpno.paper", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        first=first, items=sections, evidence=EVIDENCE_TEXT, versions=first["versions"] or {}
    )
    write_text(out, page)


def _section(page: dict[str, Any]) -> dict[str, Any]:
    context = page["context"]
    name, table = context["item"], page.get("table")
    files = [(ending, f"../{kind}s/{name}.{ending}") for kind in context["draws"] for ending in FILES[kind]]
    section = {
        "name": name,
        "title": context["title"],
        "paper": context["paper"],
        "files": files,
        "notebooks": [(ending, f"../notebooks/{name}.{ending}") for ending in ("ipynb", "html")],
        "figure": page.get("figure"),
        "table": table and {**table, "rows": list(zip(table["roles"], table["rows"], strict=True))},
        "beside": (table or {}).get("beside"),
        "reference": [] if (table or {}).get("beside") else [_published(row) for row in page["reference"]],
    }
    return section


def _published(row: dict[str, Any]) -> dict[str, Any]:
    unit = row["unit"] if isinstance(row["unit"], str) else ""
    return {
        "setting": row["setting"],
        "quantity": _UNITS.get(row["metric"], row["metric"]),
        "value": f"{row['value']:g} {unit}".strip(),
        "conditions": row["conditions"] if isinstance(row["conditions"], str) else "",
        "provenance": f"{row['provenance']}: {row['place']}",
    }
