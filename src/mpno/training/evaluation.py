"""A finished run on another resolution."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mpno.numerics import set_precision
from mpno.specs import MpnoError, RunSpec, build_spec
from mpno.training.build import build_model
from mpno.training.data import load_samples
from mpno.training.errors import evaluate


def load_run(run: Path) -> tuple[RunSpec, dict[str, torch.Tensor]]:
    """Read the spec and the weights of a run's folder, on the CPU.

    Raises:
        MpnoError: the folder has no weights, or they carry no spec.
    """
    weights = run / "model.safetensors"
    if not weights.is_file():
        raise MpnoError(
            f"{run}: no model.safetensors there; give the folder of a finished run, as results/desk/runs/ID"
        )
    with safe_open(weights, framework="pt") as file:
        text = (file.metadata() or {}).get("spec")
    if text is None:
        raise MpnoError(f"{weights}: carries no spec, so it was not written by mpno; train it again")
    return build_spec(json.loads(text), where=str(weights)), load_file(weights)


def evaluate_run(run: Path, *, data: Path, resolution: int | str) -> dict[str, Any]:
    """Test errors of a finished run at `resolution`, which may be finer than the training grid (zero-shot).

    Returns:
        ``{"id", "resolution", "l2", "h1"}``, relative errors averaged over the test samples of the run's spec; no h1 of
        bodies.
    """
    spec, weights = load_run(run)
    torch.set_num_threads(spec.threads)
    wanted = spec.model_copy(update={"data": spec.data.model_copy(update={"test_resolutions": (resolution,)})})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    samples = load_samples(wanted, data, device)
    model = build_model(spec, *samples.channels).to(device)
    model.load_state_dict(weights)
    if spec.precision.setting == "schedule":
        set_precision(model, spec.precision.at(1.0))
    return {"id": spec.id, "resolution": resolution, **evaluate(model, samples)[str(resolution)]}
