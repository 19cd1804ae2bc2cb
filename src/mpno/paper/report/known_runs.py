"""What the page knows of each run, once, however many numbers lead to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mpno.paper.records import ItemTables
from mpno.paper.runs import RUN_COLUMNS
from mpno.specs import MpnoError

SHARED = ("part", "arm", "seed")  # of a use of the run, not of the run


def known_runs(items: Mapping[str, ItemTables], *, own: bool) -> dict[str, dict[str, Any]]:
    """By run: where its numbers are used, and its record.

    Args:
        items: the tidy tables of each item.
        own: whether they are this run's own, which always come with their records.

    Raises:
        MpnoError: they are, and have runs that ``runs.csv`` does not know.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, item in items.items():
        records = {row["run"]: _record(row) for row in item.runs.to_dict("records")}
        for part in item.parts.values():
            names = settings(part.context["arms"])
            for arm in part.context["arms"]:
                for seed, run in arm["runs"].items():
                    if own and run not in records:
                        raise MpnoError(
                            f"runs.csv of item {name}: has no run {run}; delete its folder in tidy and run "
                            "`make reproduce`"
                        )
                    entry = found.setdefault(run, {"uses": []})
                    entry.update(records.get(run, {}))
                    entry["uses"].append([name, part.context["part"], names[arm["name"]], int(seed)])
    return found


def settings(arms: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The arms of a part by name, as a reader tells them from one another."""
    differing = [key for key in ("model", "recipe") if len({arm[key] for arm in arms}) > 1]
    said = {arm["name"]: _setting(arm, differing) for arm in arms}
    texts = list(said.values())
    return {name: text if texts.count(text) == 1 else f"{text} ({name})" for name, text in said.items()}


def _setting(arm: Mapping[str, Any], differing: Sequence[str]) -> str:
    words = [arm["model"]] if "model" in differing else []
    words += [arm["label"], f"by {arm['transform']}", *(["control"] * (arm["role"] == "control"))]
    recipe = f", {arm['recipe']}" if "recipe" in differing and arm["recipe"] else ""
    return " ".join(words) + recipe


def _record(row: Mapping[Any, Any]) -> dict[str, Any]:
    kept = {key: row[key] for key in RUN_COLUMNS if key not in ("run", *SHARED)}
    plain = {
        key: None if pd.isna(value) else getattr(value, "item", lambda v=value: v)() for key, value in kept.items()
    }
    return plain | {key: json.loads(row[key]) for key in ("spec", "versions")}
