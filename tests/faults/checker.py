"""Whether runs are whole: nothing lost, nothing half-written, nothing of another spec, code or data."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mpno.datasets import read_attrs
from mpno.models.saving import read_header
from mpno.specs import build_spec
from mpno.training import load_run
from mpno.training.records import FILES

VARYING = {"seconds", "peak_rss_bytes", "resumed"}
"""What of a record is allowed to differ between two runs of one spec."""


def faults_of(run: Path, data: Path, code: str | None = None) -> list[str]:
    """What is wrong with a run that is said to have ended; empty if it is whole.

    Args:
        run: its folder, named by its id where the workflow made it.
        data: the file it has to be trained on.
        code: the digest of the code it has to be trained by.
    """
    return list(_faults(run, data, code))


def _faults(run: Path, data: Path, code: str | None) -> Iterator[str]:
    names = sorted(path.name for path in run.iterdir()) if run.is_dir() else []
    if names != sorted(FILES):
        yield f"{run} holds {names}"
        return
    if beside := [path.name for path in run.parent.glob(f".{run.name}.*")]:
        yield f"beside {run} lies {beside}"
    record, spec = (json.loads((run / name).read_text()) for name in ("metrics.json", "spec.json"))
    if not record["spec"] == spec == read_header(run).more["run"]:
        yield f"{run}: record, spec and weights are of different runs"
    if record["id"] != build_spec(spec).id:
        yield f"{run}: its record is of {record['id']}"
    load_run(run)
    epochs = [int(row["epoch"]) for row in csv.DictReader((run / "history.csv").open())]
    ended = record["diverged"]["epoch"] - 1 if record["diverged"] else spec["training"]["epochs"]
    if epochs != list(range(1, ended + 1)):
        yield f"{run}: its history has epochs {epochs}"
    seen = sorted({int(row["epoch"]) for row in csv.DictReader((run / "range.csv").open())})
    if seen and seen != list(range(1, ended + 1 + bool(record["diverged"]))):
        yield f"{run}: its ranges are of epochs {seen}"
    if record["data"]["digest"] != read_attrs(data)["digest"]:
        yield f"{run}: was trained on other data"
    if code is not None and record["source_digest"] != code:
        yield f"{run}: was trained by other code"


def ending(run: Path) -> dict[str, Any]:
    """All bits that a run leaves, times apart."""
    record = json.loads((run / "metrics.json").read_text())
    rows = [{**row, "seconds": None} for row in csv.DictReader((run / "history.csv").open())]
    return {
        "weights": hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest(),
        "history": rows,
        "range": (run / "range.csv").read_text(),
        "spec": (run / "spec.json").read_text(),
        "record": {key: value for key, value in record.items() if key not in VARYING},
    }
