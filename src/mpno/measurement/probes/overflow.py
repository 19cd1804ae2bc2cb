"""When and where the trainings of an item left the finite numbers, in epochs, batches and updates."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpno.measurement.probes.inputs import ProbedArm
from mpno.specs import MpnoError


def overflow(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How every run of `arms` ended.

    Returns:
        Rows of part, arm, seed, evidence, ``technique`` (of the training, in words) and status, with ``batch``, counted
        from 1 over all epochs, in which the first number was not finite (a test comes after its epoch's last), or the
        last one of a run that finished; ``epochs``, that batch over the batches of an epoch; ``updates`` tried before
        it, or in all: under loss scaling some may have been skipped. ``where`` and ``operation`` are as the record has
        them, empty of a run that finished; ``train_loss`` is the mean of the last whole epoch, None where there was
        none.

    Raises:
        MpnoError: settings, of which there are none, or a run whose files cannot be read.
    """
    if settings:
        raise MpnoError(f"probe overflow: settings are {', '.join(settings)}; it takes none")
    return [
        {"part": arm.part, "arm": arm.name, "seed": seed} | _row(arm, read_record(run), _last_loss(run))
        for arm in arms
        for seed, run in arm.runs.items()
    ]


def read_record(run: Path) -> dict[str, Any]:
    """The record of a run.

    Raises:
        MpnoError: there is none, or it is broken.
    """
    path = run / "metrics.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise MpnoError(f"{path}: no record of a run ({error}); delete the folder and train again") from None


def _row(arm: ProbedArm, record: dict[str, Any], loss: float | None) -> dict[str, Any]:
    training = arm.spec.training
    batches, every = math.ceil(arm.spec.data.n_train / training.batch_size), training.delayed_updates or 1
    of_epoch = math.ceil(batches / every)

    def updates_by(batch: int) -> int:
        epochs, rest = divmod(batch, batches)
        return epochs * of_epoch + rest // every

    gone = record["diverged"] or {}
    batch = gone.get("first", training.epochs * batches)
    tested = gone and gone["where"].startswith("evaluation") and gone["first"] == gone["step"]
    updates = updates_by(batch - 1 if gone and not tested else batch)
    return {
        "evidence": record["evidence"],
        "technique": training.techniques,
        "status": record["status"],
        "batch": batch,
        "epochs": batch / batches,
        "updates": updates,
        "where": gone.get("where", ""),
        "operation": gone.get("operation", ""),
        "train_loss": loss,
    }


def _last_loss(run: Path) -> float | None:
    path = run / "history.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return float(rows[-1]["train_loss"]) if rows else None
    except (OSError, KeyError, ValueError) as error:
        raise MpnoError(f"{path}: no history of a run ({error!r}); delete the folder and train again") from None
