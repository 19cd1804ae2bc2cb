"""What must hold of all records of a run of the workflow, whatever they say."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mpno.paper.records import AGAIN, PROVENANCE, whole
from mpno.specs import MpnoError
from mpno.specs.files import read_json, write_text

LARGEST = 1e3
"""A relative error beyond this is no error but a broken unit."""
UNITS = ("", "s", "ms", "MB", "MiB", "%", "epochs")


def check_records(contexts: list[Path], *, root: Path, out: Path) -> int:
    """Check every record behind the items with these ``context.json``, write how many to `out`, and return it.

    A run is finished with finite errors on every grid and a history of every epoch, or diverged with the place where;
    every seed has its run; no two runs have the same spec; every item's page is there; published values have units and
    provenance.

    Raises:
        MpnoError: the first thing that does not hold, with how many there are.
    """
    wrong: list[str] = []
    runs: set[str] = set()
    for path in contexts:
        context = read_json(path, AGAIN)
        with whole(str(path)):
            wrong += _item(context, path, root)
            runs |= {run for part in context["parts"] for arm in part["arms"] for run in arm["runs"].values()}
    specs: dict[str, str] = {}
    for run in sorted(runs):
        with whole(str(root / "runs" / run)):
            wrong += [f"run {run}: {line}" for line in _run(root / "runs" / run, run)]
        spec = json.dumps(read_json(root / "runs" / run / "spec.json", AGAIN), sort_keys=True)
        if spec in specs:
            wrong.append(f"runs {specs[spec]} and {run} have the same spec")
        specs[spec] = run
    if wrong:
        raise MpnoError(f"records: {wrong[0]}" + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""))
    write_text(out, f"{len(runs)} runs of {len(contexts)} items hold\n")
    return len(runs)


def _item(context: dict[str, Any], path: Path, root: Path) -> Iterator[str]:
    name = context["item"]
    page = path.parent.parent.parent / "drawn" / f"{name}.json"
    if not page.is_file():
        yield f"item {name}: {page} is missing; nothing was drawn"
    for part in context["parts"]:
        for arm in part["arms"]:
            for seed, run in arm["runs"].items():
                record = read_json(root / "runs" / run / "metrics.json", AGAIN)
                if str(record["spec"]["seed"]) != seed:
                    yield f"item {name}, arm {arm['name']}: seed {seed} has the run of seed {record['spec']['seed']}"
    with (path.parent / "reference.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["unit"] not in UNITS or row["provenance"] not in PROVENANCE:
                about = f"unit {row['unit']!r}, provenance {row['provenance']!r}"
                yield f"item {name}: published {row['metric']} has {about}"


def _run(folder: Path, name: str) -> Iterator[str]:
    record = read_json(folder / "metrics.json", AGAIN)
    if record["id"] != name:
        yield f"its record is of {record['id']}"
    if record["status"] == "diverged":
        if record["metrics"] is not None or not (record["diverged"] or {}).get("where"):
            yield "diverged, but has errors or no place where"
        return
    errors = record["metrics"] or {}
    grids = {str(grid) for grid in record["spec"]["data"]["test_resolutions"]}
    if set(errors) != grids:
        yield f"has errors on {', '.join(errors) or 'no grid'}, not on {', '.join(sorted(grids))}"
    for grid, found in errors.items():
        for metric, value in found.items():
            if not (math.isfinite(value) and 0 < value < LARGEST):
                yield f"{metric} on {grid} is {value}"
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
    if epochs != list(range(1, record["spec"]["training"]["epochs"] + 1)):
        yield f"its history has epochs {epochs[:1]} to {epochs[-1:]}"
