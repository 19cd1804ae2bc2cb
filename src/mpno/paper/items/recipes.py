"""Hyper-parameters, data and compute: what a reader needs to repeat the trainings, and the authors' beside."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from mpno.paper.drawing import Table
from mpno.paper.records import NONE

HERE, AUTHORS = "here", "authors"
WHOSE = {HERE: "here", AUTHORS: "the authors'"}


def table(item: Any) -> Table:
    """One row per recipe: those of this scale, then the authors'."""
    ours = item.probes["recipes"].drop(columns=["arm"]).rename(columns={"part": "recipe"})
    frame = pd.concat([ours.assign(whose=HERE), _published(item.reference)], ignore_index=True)
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    return Table(frame, shown, _notes(item, ours), roles=list(frame["whose"]))


def _published(reference: pd.DataFrame) -> pd.DataFrame:
    """The authors' configurations, a row each: numbers by their names, and what their conditions say in words."""
    wide = reference.pivot(index="setting", columns="metric", values="value").reindex(reference["setting"].unique())
    wide = wide.rename_axis(columns=None, index="recipe").reset_index()
    said = reference.drop_duplicates("setting").set_index("setting").loc[wide["recipe"]]
    wide[["model", "optimiser", "loss"]] = [text.split("; ") for text in said["conditions"]]
    wide["grid"], wide["modes"] = ([_square(value) for value in wide[name]] for name in ("grid", "modes"))
    wide["schedule"] = ["StepLR" if value > 0 else None for value in wide["step_epochs"]]
    wide["source"] = [f"{row['provenance']}: {row['place']}" for row in said.to_dict("records")]
    return wide.assign(whose=AUTHORS)


def _cells(row: dict[str, Any]) -> dict[str, str]:
    step = f"{row['schedule']} {_number(row['step_epochs'])}, x {_number(row['gamma'])}"
    rank = "" if _none(row["rank"]) else f", rank {_number(row['rank'])}"
    more = "" if _none(row["more_of_model"]) else f", {row['more_of_model']}"
    return {
        "whose": WHOSE[row["whose"]],
        "recipe": row["recipe"],
        "data": row["source"],
        "grid": _text(row["grid"]),
        "train / test": f"{_number(row['n_train'])} / {_number(row['n_test'])}",
        "model": f"{row['model']}{rank}{more}",
        "modes": _text(row["modes"]),
        "width": _number(row["width"]),
        "layers": _number(row["layers"]),
        "optimiser": f"{row['optimiser']}, rate {_number(row['rate'])}, decay {_number(row['weight_decay'])}",
        "schedule": step if row["schedule"] == "StepLR" else _text(row["schedule"]),
        "loss": row["loss"],
        "batch": _number(row["batch"]),
        "epochs": _number(row["epochs"]),
        "seeds": _number(row["seeds"]),
        "parameters": NONE if _none(row["parameters"]) else f"{row['parameters']:,.0f}",
        "s/training": NONE if _none(row["seconds"]) else f"{row['seconds']:.1f}",
    }


def _none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> str:
    return NONE if _none(value) else str(value)


def _number(value: Any) -> str:
    return NONE if _none(value) else f"{value:g}"


def _square(points: float) -> str | None:
    return None if _none(points) else f"{points:.0f}x{points:.0f}"


def _notes(item: Any, ours: pd.DataFrame) -> list[str]:
    context = item.context
    notes = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    for row in ours.to_dict("records"):
        seed = "" if _none(row["data_seed"]) else f", seed {row['data_seed']:.0f}"
        points = "" if _none(row["points"]) else f"; {row['points']:.0f} points of each body"
        notes.append(
            f"{row['recipe']}: {row['data']} ({row['source']}{seed}, licence {row['licence']}){points}; "
            f"{row['normalised']} normalised; transform {row['transform']}"
        )
    missing = [name for name in ours["recipe"] if name not in set(item.reference["setting"])]
    return [
        *notes,
        f"{WHOSE[HERE]}: scale {context['scale']}, the arm full of each recipe, on {context['device']} "
        f"({context['processor']}), {context['threads']} thread(s) per run",
        "s/training: a whole training with its evaluations, mean over seeds, beside other jobs on the machine: what it "
        "takes to repeat it, not a timing to compare",
        f"{WHOSE[AUTHORS]}: their configuration files, each named; a number that they do not state is left empty",
        "rate: at the start; StepLR n, x g: the rate times g every n epochs; loss: relative, of the training",
        *([f"no hyper-parameters of the paper could be sourced for {', '.join(missing)}"] if missing else []),
    ]
