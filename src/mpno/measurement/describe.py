"""What a run's model is: its parameters, and the memory of a training step in each precision setting."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from mpno.measurement.memory import predict_bytes
from mpno.models.graph import Geometry
from mpno.numerics.aligned import aligned
from mpno.specs import SETTINGS, MpnoError, PrecisionSetting, RunSpec
from mpno.specs.grid import shown
from mpno.specs.sets import BODIES
from mpno.training.build import build_model
from mpno.training.data import load_samples

PARTS = ("parameters", "gradients", "optimiser", "activations", "peak")


@dataclass(frozen=True)
class Description:
    """A model, counted and predicted. Prints itself as a few lines and a table.

    Attributes:
        spec: the run.
        channels: of input and output.
        parameters: how many real numbers are learned; a complex one counts as two.
        memory: per setting the bytes of :func:`predict_bytes`, evidence class ``predicted``; None where the model has
            no such setting, or of bodies without a data file.
        points: of the body that memory is predicted for; None of fields, or without a data file.
    """

    spec: RunSpec
    channels: tuple[int, int]
    parameters: int
    memory: dict[str, dict[str, int] | None]
    points: int | None = None

    def __str__(self) -> str:
        spec, (given, made) = self.spec, self.channels
        sizes = _listed(spec.model.model_dump(mode="json", exclude={"name"}))
        head = f"{spec.model.name}: {self.parameters:,} parameters, {given} to {made} channels"
        head += f", precision {spec.precision.label}, transform {spec.transform}"
        lines = [head, f"  {sizes}"]
        if spec.data.name in BODIES and self.points is None:
            return "\n".join([*lines, "memory of a training step: not predicted, for it takes a body of the data file"])
        grid = shown(spec.data.resolution, spec.axes, name=spec.data.name)
        batch = f"batch {spec.training.batch_size}" if self.points is None else f"a body of {self.points:,} points"
        lines.append(f"memory of a training step, predicted, MiB: {batch}, grid {grid}")
        full = self.memory.get("full")
        rows = []
        for setting, found in self.memory.items():
            if found is None:
                rows.append([setting, *["-"] * len(PARTS), ""])
                continue
            share = f"{found['peak'] / full['peak']:.2f}" if full else ""
            rows.append([setting, *[f"{found[part] / 2**20:.2f}" for part in PARTS], share])
        lines.append(aligned(("setting", *PARTS, "of full"), rows, left=1))
        if self.memory.get("schedule"):
            lines.append("schedule: that of its costliest phase, as the peak of a run is")
        return "\n".join(lines)


def describe(
    spec: RunSpec,
    in_channels: int = 1,
    out_channels: int = 1,
    latent_channels: int = 1,
    *,
    settings: Sequence[str] = SETTINGS,
    data: Path | None = None,
) -> Description:
    """Count the parameters of a run's model and predict the memory of its training step in each setting.

    No weights, and of fields no data: everything is traced on shapes, as a GPU would compute it. Bodies differ in
    their points and edges, so theirs is predicted for the first training body of `data`, as :func:`measure_arms` does.

    Args:
        spec: the run; its own precision counts only through `settings`.
        in_channels, out_channels, latent_channels: of the data.
        settings: short forms of precision settings.
        data: of bodies, the data file, whose channels then count; None leaves the memory open.

    Raises:
        MpnoError: `spec` is no run; `data` does not hold what the run asks for.
    """
    if not isinstance(spec, RunSpec):
        raise MpnoError(
            f"describe: got a {type(spec).__name__}; pass a RunSpec, or use mpno.audit(model, batch) for a model"
        )
    channels, body = (in_channels, out_channels, latent_channels), None
    if spec.data.name in BODIES and data is not None:
        samples = load_samples(spec, data, torch.device("cpu"), in_memory=0)
        assert len(samples.channels) == 3
        body, channels = samples.x[:1], samples.channels
    with torch.device("meta"):
        model = build_model(spec, *channels)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ComplexHalf support is experimental")  # shapes alone are asked of it
        memory = {setting: _memory(spec, setting, channels, body) for setting in settings}
    count = sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())
    return Description(spec, channels[:2], count, memory, None if body is None else len(body.points))


def _memory(
    spec: RunSpec, setting: str, channels: tuple[int, int, int], body: Geometry | None
) -> dict[str, int] | None:
    if spec.data.name in BODIES and body is None:
        return None
    # However few epochs the run has, a step is predicted in every phase.
    training = {**spec.training.model_dump(), "epochs": max(spec.training.epochs, 100)}
    values = {"training": training, "precision": PrecisionSetting.of(setting, where="describe")}
    try:
        other = RunSpec.model_validate({**spec.model_dump(), **values})
    except ValidationError:
        return None
    return predict_bytes(other, *channels, body=body)


def _listed(values: Mapping[str, Any]) -> str:
    inner = {key: f"({_listed(value)})" if isinstance(value, dict) else value for key, value in values.items()}
    return "  ".join(f"{key}={value}" for key, value in inner.items() if value is not None)
