"""What trainings of a plan will need: the committed table that jobs are sized by, and the answer for one case."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpno.measurement.accounting import KINDS, Step
from mpno.measurement.cards import CARDS, Card
from mpno.measurement.cost import predict_seconds, trace_costs
from mpno.measurement.libraries import CONTEXT_MIB
from mpno.measurement.shapes import Bodies, channels_of
from mpno.measurement.step import MIB, Prepared, Reading, prepare_step, reading_of
from mpno.numerics import DTYPES
from mpno.numerics.aligned import aligned
from mpno.specs import RunSpec
from mpno.specs.files import write_text
from mpno.spectral.fft import NotOnGPU

COLUMNS: tuple[str, ...] = ("scale", "key", "data", "model", "setting", "mib", "seconds")
REFERENCE = CARDS["a100"]
"""The card whose seconds the table gives."""


@dataclass(frozen=True)
class Phase:
    """A part of a run in one precision: its step, what a GPU shows of it, and the share of the epochs that it takes."""

    prepared: Prepared
    step: Step
    reading: Reading
    share: float


def phases_of(spec: RunSpec, bodies: Bodies) -> list[Phase] | None:
    """The phases of a run, one where its precision is no schedule; None for a format or transform that no GPU has."""
    found = []
    for share, setting in spec.precision.phases:
        if any(variant.format not in DTYPES for variant in setting.variants):
            return None
        prepared = prepare_step(spec.model_copy(update={"precision": setting}), channels_of(spec), body=bodies.of(spec))
        try:
            step = prepared.trace()
        except NotOnGPU:
            return None
        found.append(Phase(prepared, step, reading_of(step), share / 100))
    return found


def training_seconds(spec: RunSpec, phases: Sequence[Phase], card: Card) -> float:
    """Of a whole training on a card, by the time model; tests and reading of data are not in it."""
    steps = spec.training.epochs * math.ceil(spec.data.n_train / spec.training.batch_size)
    return steps * sum(phase.share * predict_seconds(trace_costs(phase.prepared), card) for phase in phases)


def predict_table(scale: str, specs: Iterable[RunSpec], out: Path) -> int:
    """Write a line for every arm among `specs`, in the order of their ids; returns how many.

    Args:
        scale: of the plan that they come from.
        specs: runs; seeds cost the same, so that one of each arm counts.
        out: the CSV file.
    """
    arms = {spec.arm.id: spec for spec in specs}
    bodies = Bodies()
    text = io.StringIO()
    text.write(
        "# Made by `python -m mpno measure predict`: MiB of GPU memory that nvidia-smi would show of a training, and "
        f"its seconds on one {REFERENCE.name}.\n"
        "# Predicted from shapes and dtypes; empty where no GPU has the format or the transform.\n"
    )
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row_of(scale, key, arms[key], bodies) for key in sorted(arms))
    write_text(out, text.getvalue())
    return len(arms)


def row_of(scale: str, key: str, spec: RunSpec, bodies: Bodies) -> dict[str, str]:
    """One line of the table."""
    phases = phases_of(spec, bodies)
    return {
        "scale": scale,
        "key": key,
        "data": spec.data.name,
        "model": spec.model.title,
        "setting": spec.precision.label,
        "mib": "" if phases is None else f"{max(phase.reading.shown for phase in phases):.0f}",
        "seconds": "" if phases is None else f"{training_seconds(spec, phases, REFERENCE):.0f}",
    }


def answer(spec: RunSpec, card: Card) -> str:
    """What one run would need on a card, in a few lines; a schedule phase by phase."""
    phases = phases_of(spec, Bodies())
    head = f"{spec.model.title}, {spec.precision.label}, transform {spec.transform}, on {spec.data.name}"
    head += f" at {spec.data.resolution}, batch {spec.training.batch_size}, on one {card.name} of {card.gib} GiB"
    if phases is None:
        return f"{head}\nno GPU has this format or this transform of this grid; nothing is predicted"
    lines = [head]
    for number, phase in enumerate(phases, 1):
        reading, parts = phase.reading, phase.step.peak()
        name = f"phase {number}, {100 * phase.share:.0f} % of the epochs: " if len(phases) > 1 else ""
        lines.append(
            f"{name}{reading.shown:,.0f} MiB as nvidia-smi shows them: {reading.allocated:,.0f} of tensors at the peak "
            f"({phase.step.phase_of_peak()}), {reading.reserved:,.0f} reserved, {CONTEXT_MIB} of context"
        )
        lines.append(
            aligned(("of the peak", "MiB"), [[kind, f"{parts.get(kind, 0) / MIB:,.1f}"] for kind in KINDS], left=1)
        )
    shown = max(phase.reading.shown for phase in phases)
    fits = "fits" if shown <= 1024 * card.gib else "does NOT fit"
    seconds = training_seconds(spec, phases, card)
    epoch = seconds / spec.training.epochs
    lines.append(
        f"it {fits}: {100 * shown / (1024 * card.gib):.0f} % of the card; by the time model {epoch:,.1f} s per epoch, "
        f"{seconds / 3600:,.2f} h for {spec.training.epochs} epochs. All of it is predicted, nothing measured"
    )
    if spec.precision.full_above is not None:
        lines.append("gradients decide which epochs are in full; the time is that of none, the memory that of some")
    return "\n".join(lines)
