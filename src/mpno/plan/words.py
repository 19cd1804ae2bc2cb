"""How a run is trained, in the words and numbers of a table."""

from __future__ import annotations

from mpno.specs import RunSpec


def last_rate(spec: RunSpec) -> float | None:
    """The learning rate of the last epoch in parts of the first; None of a one-cycle, which rises and falls."""
    if spec.scheduler.name == "one-cycle":
        return None
    period, gamma = spec.scheduler.step_epochs, spec.scheduler.gamma
    return gamma ** ((spec.training.epochs - 1) // period) if period and gamma else 1.0


def recipe(spec: RunSpec) -> str:
    """How a run is trained, in a few words."""
    names = {"adam": "Adam", "adamw": "AdamW"}
    scheduler = {"none": "constant rate", "step": "StepLR", "one-cycle": "one-cycle"}[spec.scheduler.name]
    output = ", normalised output" if spec.training.normalise_output else ""
    techniques = f", {spec.training.techniques}" if spec.training.techniques else ""
    return f"{names[spec.optimizer.name]}, {scheduler}, {spec.training.loss.upper()} loss{output}{techniques}"
