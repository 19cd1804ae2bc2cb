"""What it takes to repeat a training: its spec as numbers and words, and what its finished runs took."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpno.datasets import read_attrs
from mpno.datasets.layout import evidence_of_data
from mpno.measurement.probes.inputs import ProbedArm
from mpno.specs import RunSpec
from mpno.specs.grid import shown
from mpno.specs.models import ARCHITECTURES

NAMES = {"adam": "Adam", "adamw": "AdamW"}
APART = ("name", "modes", "width", "layers", "features", "contraction")
"""Fields of a model that have rows of their own."""


def recipes(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per arm with a column per quantity, None where a recipe has none of it.

    `seconds` is that of a whole training, evaluations included, in the mean over the runs that finished, beside other
    jobs. The evidence is that of the runs, ``stated`` where there are none.
    """
    rows = []
    for arm in arms:
        attrs = read_attrs(arm.data)
        data = {
            "data": attrs["title"],
            "source": evidence_of_data(attrs),
            "licence": attrs["licence"],
            "data_seed": None if attrs["source"] == "fetch" else arm.spec.data.seed,
        }
        rows.append({"part": arm.part, "arm": arm.name, **data, **_stated(arm.spec), **_measured(arm.runs)})
    return rows


def _stated(spec: RunSpec) -> dict[str, Any]:
    data, model, training, schedule = spec.data, spec.model, spec.training, spec.scheduler
    contraction = getattr(model, "contraction", None)
    modes = getattr(model, "modes", None)
    return {
        "grid": shown(data.resolution, spec.axes, name=data.name),
        "n_train": data.n_train,
        "n_test": data.n_test,
        "points": data.points,
        "model": model.title,
        "modes": None if modes is None else "x".join(map(str, modes)),
        "width": getattr(model, "width", getattr(model, "features", None)),
        "layers": getattr(model, "layers", getattr(model, "depth", None)),
        "rank": None if contraction is None else contraction.rank,
        "more_of_model": _others(spec),
        "optimiser": NAMES[spec.optimizer.name],
        "rate": spec.optimizer.lr,
        "weight_decay": spec.optimizer.weight_decay,
        "schedule": {"none": "constant", "step": "StepLR", "one-cycle": "one-cycle"}[schedule.name],
        "step_epochs": schedule.step_epochs,
        "gamma": schedule.gamma,
        "loss": training.loss.upper(),
        "normalised": "inputs and outputs" if training.normalise_output else "inputs",
        "batch": training.batch_size,
        "epochs": training.epochs,
        "techniques": training.techniques or None,
        "transform": ", ".join(spec.transforms) or None,
    }


def _others(spec: RunSpec) -> str | None:
    """What else differs from the defaults of the model, in the words of a run's spec."""
    plain = ARCHITECTURES[spec.model.name].model_fields
    given = {key: value for key, value in spec.model.model_dump(mode="json").items() if key not in APART}
    differs = {key: value for key, value in given.items() if value != _json(plain[key].default)}
    return ", ".join(f"{key} {_words(value)}" for key, value in differs.items()) or None


def _json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _words(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def _measured(runs: Mapping[int, Path]) -> dict[str, Any]:
    records = [json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in runs.values()]
    seconds = [record["seconds"] for record in records if record["status"] == "finished"]
    return {
        "seeds": len(runs),
        "parameters": records[0]["parameters"] if records else None,
        "seconds": sum(seconds) / len(seconds) if seconds else None,
        "processor": records[0]["processor"] if records else None,
        "threads": records[0]["threads"] if records else None,
        "evidence": "/".join(sorted({record["evidence"] for record in records})) or "stated",
    }
