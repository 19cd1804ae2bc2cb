"""Seconds per epoch of the arms of an item, measured in one process, side by side."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpno.numerics import evidence_of, processor_name, refuse_shortcuts
from mpno.specs import RunSpec
from mpno.specs.files import write_text
from mpno.training.allocator import keep_freed_memory
from mpno.training.build import build_loss, build_model, build_optimizer
from mpno.training.data import load_samples
from mpno.training.samples import Samples

ROUNDS = 9
STEPS = 4


def measure_arms(
    specs: list[RunSpec], *, root: Path, out: Path, provenance: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Time the native arms of `specs`, interleaved.

    Every round times a few training steps of every arm in turn, so that a busy moment of the machine falls
    on all of them. Settings that are simulated or emulated here get no time: theirs would say nothing.

    Args:
        specs: one run per arm; those on the same data file are interleaved.
        root: below which the data files lie, as :meth:`mpno.specs.DataSpec.file` names them.
        out: where the JSON goes.
        provenance: copied into the record.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = max(spec.threads for spec in specs)
    torch.set_num_threads(threads)
    keep_freed_memory()
    refuse_shortcuts()
    native = [s for s in specs if evidence_of(s.precision, s.transform, device) == "native"]
    seconds: dict[str, dict[str, float]] = {}
    for data in dict.fromkeys(spec.data.file(root) for spec in native):
        seconds |= _interleaved([spec for spec in native if spec.data.file(root) == data], data, device)
    arms = []
    for spec in specs:
        evidence = evidence_of(spec.precision, spec.transform, device)
        timed = seconds.get(spec.arm.id)
        arms.append(
            {
                "arm": spec.arm.id,
                "label": spec.precision.label,
                "transform": spec.transform,
                "evidence": evidence,
                "seconds_per_epoch": timed,
                "why": None if timed else f"{evidence} on this {device.type}: its time is not the setting's",
            }
        )
    record = {
        "schema": 1,
        "device": device.type,
        "processor": processor_name(device),
        "threads": threads,
        "rounds": ROUNDS,
        "arms": arms,
        **(provenance or {}),
    }
    write_text(out, json.dumps(record, indent=1, sort_keys=True) + "\n")
    return record


def _interleaved(specs: list[RunSpec], data: Path, device: torch.device) -> dict[str, dict[str, float]]:
    """Seconds per epoch of every arm, a schedule's phases by their shares of the epochs."""
    parts = {spec.arm.id: _phases(spec) for spec in specs}
    phases = {phase.arm.id: phase for each in parts.values() for _, phase in each}
    steppers = {arm: _stepper(phase, load_samples(phase, data, device)) for arm, phase in phases.items()}
    times: dict[str, list[float]] = {arm: [] for arm in steppers}
    for step in steppers.values():
        step()
    for _ in range(ROUNDS):
        for arm, step in steppers.items():
            started = time.perf_counter()
            for _ in range(STEPS):
                step()
            times[arm].append((time.perf_counter() - started) / STEPS)
    out = {}
    for spec in specs:
        epoch = math.ceil(spec.data.n_train / spec.training.batch_size)
        mean = sum(share / 100 * np.array(times[phase.arm.id]) for share, phase in parts[spec.arm.id])
        low, median, high = np.quantile(mean, [0.25, 0.5, 0.75]) * epoch
        out[spec.arm.id] = {"median": float(median), "low": float(low), "high": float(high), "n": ROUNDS}
    return out


def _phases(spec: RunSpec) -> list[tuple[float, RunSpec]]:
    return [(share, spec.model_copy(update={"precision": setting})) for share, setting in spec.precision.phases]


def _stepper(spec: RunSpec, samples: Samples) -> Callable[[], None]:
    """A training step on the first full batch, waiting for the device to finish."""
    device = samples.x.device
    model = build_model(spec, *samples.channels).to(device)
    optimizer, loss_of = build_optimizer(spec, model), build_loss(spec, samples.periodic)
    x, y = samples.x[: spec.training.batch_size], samples.y[: spec.training.batch_size]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(model(x), y).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step
