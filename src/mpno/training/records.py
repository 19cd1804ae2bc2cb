"""The record of a run: what its files hold."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import platform
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import mpno
from mpno.datasets import read_attrs
from mpno.models import save
from mpno.numerics import evidence_of, processor_name
from mpno.specs import RunSpec
from mpno.specs.files import remove, write_text, writing
from mpno.specs.sets import errors_of
from mpno.training.divergence import Divergence
from mpno.training.errors import Metrics
from mpno.training.headroom import RANGE_COLUMNS, Row
from mpno.training.samples import Samples

SCHEMA = 1
BELOW_NORMAL = "below_normal"
"""The column of the history for the share of spectral weights' gradients below the format's smallest normal number; of
runs alone whose precision it decides."""
FILES = ("spec.json", "history.csv", "range.csv", "model.safetensors", "metrics.json")
"""What a run's folder holds, in the order in which it is written."""


@dataclass
class Outcome:
    """What a training leaves: the model, one row per epoch, what each layer used of fp16's range in it, its errors and
    those of the mean, and why it stopped early, if it did.

    Of a training that was interrupted: the seconds it took before it was last taken up, and the epochs after which it
    was.
    """

    model: nn.Module
    history: list[Row] = field(default_factory=list)
    ranges: list[Row] = field(default_factory=list)
    metrics: Metrics | None = None
    baseline: Metrics | None = None
    diverged: Divergence | None = None
    seconds_before: float = 0.0
    resumed: list[int] = field(default_factory=list)


def write_record(
    spec: RunSpec,
    outcome: Outcome,
    *,
    data: Path,
    out: Path,
    device: torch.device,
    seconds: float,
    provenance: dict[str, Any],
    samples: Samples,
) -> dict[str, Any]:
    """Write a run's five files, the record last, and return the record. An older record goes first: it says that all
    five are there and of one run.

    The weights carry the run's spec and how inputs are normalised and outputs decoded: what a prediction needs beside
    the model.

    Raises:
        MpnoError: the folder cannot be written.
    """
    attrs = read_attrs(data)
    record = {
        "schema": SCHEMA,
        "id": spec.id,
        "spec": spec.model_dump(mode="json"),
        "status": "diverged" if outcome.diverged else "finished",
        "diverged": asdict(outcome.diverged) if outcome.diverged else None,
        "metrics": outcome.metrics,
        "baseline": outcome.baseline,
        "evidence": evidence_of(spec.precision, spec.transform, device),
        "device": device.type,
        "processor": processor_name(device),
        "threads": spec.threads,
        "parameters": sum(p.numel() for p in outcome.model.parameters()),
        "seconds": seconds,
        "resumed": outcome.resumed,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "versions": versions(),
        "data": {"digest": attrs["digest"], "source": attrs["source"]},
        **provenance,
    }
    with writing(out):
        for name in FILES:
            for left in out.glob(f".{name}.*"):  # of a process that was killed while it wrote
                left.unlink()
        remove(out / "metrics.json")
        write_text(out / "spec.json", json.dumps(spec.model_dump(mode="json"), indent=1, sort_keys=True) + "\n")
        write_text(out / "history.csv", _csv(outcome.history, _columns(spec)))
        write_text(out / "range.csv", _csv(outcome.ranges, RANGE_COLUMNS))
        save(outcome.model, out / "model.safetensors", more={"run": spec.model_dump(mode="json"), **_scaling(samples)})
        write_text(out / "metrics.json", json.dumps(record, indent=1, sort_keys=True) + "\n")
    return record


def _scaling(samples: Samples) -> dict[str, Any]:
    if samples.bodies is not None:
        return {"bodies": samples.bodies.to_json()}
    if samples.input is None:
        return {}
    return {"scaling": {"input": asdict(samples.input), "output": asdict(samples.output), "periodic": samples.periodic}}


def versions() -> dict[str, str]:
    """Versions of what decides a number."""
    packages = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "h5py")}
    return {"python": platform.python_version(), "mpno": mpno.__version__, "platform": sys.platform, **packages}


def _columns(spec: RunSpec) -> list[str]:
    """Of the history."""
    errors = [f"{error}@{grid}" for grid in spec.data.test_resolutions for error in errors_of(spec.data.name)]
    measured = [] if spec.precision.full_above is None else [BELOW_NORMAL]
    return ["epoch", "step", "precision", "train_loss", "lr", "skipped", "seconds", *measured, *errors]


def _csv(rows: list[Row], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
