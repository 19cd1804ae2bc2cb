"""Predicted device memory: one real training step, traced on meta tensors in the true dtypes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from mpno.measurement.step import Prepared, prepare_step
from mpno.numerics import DTYPES, step_bytes
from mpno.specs import RunSpec
from mpno.specs.files import write_text
from mpno.specs.sets import BODIES
from mpno.spectral.fft import NotOnGPU
from mpno.training.build import build_model
from mpno.training.data import load_samples
from mpno.training.samples import Samples


def predict_bytes(
    spec: RunSpec, in_channels: int = 1, out_channels: int = 1, latent_channels: int = 1, *, body: Any = None
) -> dict[str, int] | None:
    """Predict the device memory of one training step of `spec` on its training grid, in a schedule's costliest phase.

    Args:
        spec: the run.
        in_channels, out_channels, latent_channels: of the data, as ``Samples.channels``.
        body: on bodies, the geometry whose numbers of points and edges count.

    Returns:
        What :func:`mpno.numerics.step_bytes` counts, which is ``parameters``, ``gradients``, ``optimiser``,
        ``activations`` and ``peak`` in bytes; None for a format that no hardware stores, or a half transform of a
        grid that no GPU transforms.
    """
    if any(setting.format not in DTYPES for setting in spec.precision.variants):
        return None
    channels = in_channels, out_channels, latent_channels
    phases = [spec.model_copy(update={"precision": setting}) for _, setting in spec.precision.phases]
    try:
        steps = [_step_bytes(prepare_step(phase, channels, body=body)) for phase in phases]
    except NotOnGPU:
        return None
    return max(steps, key=lambda sizes: sizes["peak"])


def predict_arms(
    specs: list[RunSpec], *, root: Path, out: Path, provenance: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Predict the device memory of every one of `specs`, and write it with the number of the model's parameters.

    Args:
        specs: one run per arm.
        root: below which the data files lie, as :meth:`mpno.specs.DataSpec.file` names them; of fields only the number
            of channels counts, of bodies the first.
        out: where the JSON goes.
        provenance: copied into the record.
    """
    arms = []
    loaded: dict[Path, Samples] = {}
    for spec in specs:
        path = spec.data.file(root)
        if path not in loaded:
            loaded[path] = load_samples(spec, path, torch.device("cpu"), in_memory=0)
        samples = loaded[path]
        body = samples.x[:1] if spec.data.name in BODIES else None
        with torch.device("meta"):
            model = build_model(spec, *samples.channels)
        entry: dict[str, Any] = {"arm": spec.arm.id, "label": spec.precision.label, "transform": spec.transform}
        entry["parameters"] = sum(p.numel() for p in model.parameters())
        arms.append(entry | {"predicted_bytes": predict_bytes(spec, *samples.channels, body=body)})
    record = {"schema": 1, "arms": arms, **(provenance or {})}
    write_text(out, json.dumps(record, indent=1, sort_keys=True) + "\n")
    return record


def _step_bytes(prepared: Prepared) -> dict[str, int]:
    model = prepared.model
    return step_bytes(prepared.loss_of, list(model.parameters()), prepared.batch, list(model.buffers()))
