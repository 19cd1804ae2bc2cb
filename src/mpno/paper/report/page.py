"""The report page: claims, every item with its records, what it ran on and how, in one file that loads nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError
from markupsafe import Markup

from mpno.paper.records import AGAIN, ItemTables, load_item, whole
from mpno.paper.report.curves import curves
from mpno.paper.report.dag import draw_rules
from mpno.paper.report.items import section
from mpno.paper.report.known_runs import known_runs
from mpno.paper.report.times import read_times
from mpno.specs import MpnoError
from mpno.specs.files import read_json, write_text
from mpno.specs.sets import title_of

EVIDENCE_TEXT = {
    "measured": "read off a GPU by the project, on the card that is named",
    "native": "the processor has the instructions; values, times and memory are the setting's own",
    "emulated": "a library widens the numbers and rounds to the format's values; errors count, times do not",
    "simulated": "operands are rounded, and each one-dimensional pass of the transform with the format's overflow; "
    "rounding inside a GPU's transform is not modelled, so errors are a lower estimate; times do not count",
    "predicted": "memory from traced shapes and dtypes; nobody measured it",
}
VERDICTS = {
    "supported": "good",
    "consistent with": "good",
    "not supported": "bad",
    "not consistent with": "bad",
    "inconclusive": "open",
    "no power at this scale": "open",
    "not tested here": "none",
}
"""Every verdict, in the order of the page, with the mark it is shown by."""


def write_report(
    drawn: list[Path],
    *,
    out: Path,
    tidy: Path,
    claims: Path | None = None,
    times: Path | None = None,
    jobs: Mapping[str, int] | None = None,
) -> None:
    """Write the page `out`.

    Args:
        drawn: what was drawn of each item (the JSON files of :func:`mpno.paper.draw`); the other files lie beside.
        out: the page, in a folder beside those of tables and figures.
        tidy: the folder that holds the items' tidy tables.
        claims: the judged claims; None where the run is changed or of some items alone, and judges none.
        times: the file in which each job has said how long it took, if one was kept.
        jobs: how many jobs each rule of the workflow has.

    Raises:
        MpnoError: a file is missing or broken, or this run's own tables lack the records of their runs.
    """
    results = out.parent.parent
    pages = [read_json(path, AGAIN) for path in drawn]
    items: dict[str, ItemTables] = {}
    for path, page in zip(drawn, pages, strict=True):
        with whole(str(path)):
            name = page["context"]["item"]
        items[name] = load_item(tidy / name)
    sections: list[dict[str, Any]] = []
    for path, page, item in zip(drawn, pages, items.values(), strict=True):
        with whole(str(path)):
            sections.append(section(page, item, results))
    judged = None if claims is None else read_json(claims, AGAIN)
    contexts = [page["context"] for page in pages]
    first = next((context for context in contexts if context.get("versions")), contexts[0])
    own = tidy.resolve() == (results / "tidy").resolve()
    data = {"runs": known_runs(items, own=own), "curves": {name: curves(item) for name, item in items.items()}}
    try:
        text = _environment().get_template("page.html.j2").render(
            first=first, items=sections, judged=judged, verdicts=VERDICTS, evidence=EVIDENCE_TEXT, own=own,
            grids=_grids(items), times=read_times(times), rules=draw_rules(jobs or {}), data=_json(data),
            titles={name: item.context["title"] for name, item in items.items()},
            charts=_charts() if any(data["curves"].values()) else "",
        )  # fmt: skip
    except UndefinedError as error:  # of the page's parts the claims alone are not checked before
        raise MpnoError(f"{claims or out}: is not whole ({error.message}); {AGAIN}") from None
    write_text(out, text)


def _environment() -> Environment:
    loader = PackageLoader("mpno.paper.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["slug"] = lambda text: str(text).replace(" ", "-")
    for name in ("page.css", "page.js"):
        environment.globals[name.replace(".", "_")] = Markup(loader.get_source(environment, name)[0])
    return environment


def _grids(items: Mapping[str, ItemTables]) -> str:
    """The data sets of all items with their training grids, as a sentence has them."""
    found: dict[str, dict[str, None]] = {}
    for item in items.values():
        for part in item.parts.values():
            data = part.context["data"]
            found.setdefault(title_of(data["name"]), {})[part.grid(data["resolution"])] = None
    return "; ".join(f"{name} {', '.join(sorted(grids, key=_points))}" for name, grids in found.items())


def _points(grid: str) -> tuple[int, ...]:
    return tuple(int(axis) if axis.isdigit() else 0 for axis in grid.split("x"))


def _json(value: Any) -> Markup:
    """Data for the page's script: no text in it can end the element that holds it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _charts() -> str:
    """The charting library in base64, unpacked when the first chart is opened."""
    scripts = Resources(mode="inline", components=["bokeh", "bokeh-api"]).js_raw
    return base64.b64encode("\n".join(scripts).encode()).decode()
