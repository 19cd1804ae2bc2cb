"""The tidy tables of a whole run as the project ships them, and a new run beside them, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mpno.paper.records import AGAIN, TABLES, read_table, whole
from mpno.specs import MpnoError
from mpno.specs.files import read_json, write_text

ERROR, EXACT = 0.05, 1e-5
"""Tolerances, relative. Errors: another processor rounds otherwise, and a training carries that on. What follows from
shapes alone is exact but for a float's last digits. Times are not compared."""
COUNTED = ("parameters", "predicted_parameters", "predicted_gradients", "predicted_optimiser", "predicted_activations",
           "predicted_peak")  # fmt: skip


@dataclass(frozen=True)
class Check:
    """How a new run compares: cells compared, and a line for each that is outside its tolerance."""

    items: int
    cells: int
    outside: tuple[str, ...]

    def __str__(self) -> str:
        head = f"{self.cells} cells of {self.items} items compared: "
        head += f"{len(self.outside)} outside" if self.outside else "all within"
        return "\n".join([f"{head} their tolerance (errors {100 * ERROR:g} %, counts and bytes exact)", *self.outside])


def publish(tidy: Path, out: Path) -> int:
    """Copy the tidy tables of every item in `tidy` to `out`; return how many items.

    Raises:
        MpnoError: there are none.
    """
    folders = sorted(path.parent for path in tidy.glob("*/context.json"))
    if not folders:
        raise MpnoError(f"{tidy}: holds no tidy tables; make them with `make reproduce`")
    for folder in folders:
        for path in sorted(folder.glob("*.csv")):
            write_text(out / folder.name / path.name, path.read_text(encoding="utf-8"))
        write_text(out / folder.name / "context.json", (folder / "context.json").read_text(encoding="utf-8"))
    return len(folders)


def compare(new: Path, published: Path) -> Check:
    """Compare the tidy tables in `new` with those `published`: last errors, whether runs diverged, counts and bytes.

    Raises:
        MpnoError: an item is missing in one of the two.
    """
    names = {path.parent.name for path in published.glob("*/context.json")}
    if missing := sorted(names - {path.parent.name for path in new.glob("*/context.json")}):
        raise MpnoError(f"{new}: has no {missing[0]}; make it with `make item ITEM={missing[0]}`")
    if not names:
        raise MpnoError(f"{published}: holds no tidy tables; give the folder of published ones")
    cells, outside = 0, []
    for name in sorted(names):
        with whole(str(new / name)):
            for where, mine, theirs, tolerance in _cells(new / name, published / name):
                cells += 1
                if not _near(mine, theirs, tolerance):
                    outside.append(f"  {name}: {where}: {mine}, published {theirs}")
    return Check(len(names), cells, tuple(outside))


def _cells(new: Path, published: Path) -> Iterator[tuple[str, Any, Any, float]]:
    """Place, new value, published value, tolerance."""
    if not read_json(published / "context.json", AGAIN).get("parts"):
        return
    errors, arms = (_pair(new, published, name) for name in (TABLES[0], TABLES[2]))
    keys = ["part", "arm", "seed", "resolution", "metric"]
    for row in errors[0].merge(errors[1], on=keys, how="outer", suffixes=("", "_published")).to_dict("records"):
        where = " ".join(str(row[key]) for key in keys)
        yield f"{where} status", row["status"], row["status_published"], 0.0
        if row["status"] == row["status_published"] == "finished":
            yield where, row["value"], row["value_published"], ERROR
    keys = ["part", "arm"]
    for row in arms[0].merge(arms[1], on=keys, how="outer", suffixes=("", "_published")).to_dict("records"):
        for column in COUNTED:
            yield f"{row['part']} {row['arm']} {column}", row[column], row[f"{column}_published"], EXACT


def _pair(new: Path, published: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    return read_table(new / f"{name}.csv"), read_table(published / f"{name}.csv")


def _near(mine: Any, theirs: Any, tolerance: float) -> bool:
    if isinstance(mine, str) or isinstance(theirs, str):
        return mine == theirs
    if math.isnan(mine) or math.isnan(theirs):
        return math.isnan(mine) and math.isnan(theirs)
    return abs(mine - theirs) <= tolerance * abs(theirs)
