"""A model and samples to ask advice for: of a run's spec before it is trained, or of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mpno.specs import MpnoError, RunSpec
from mpno.specs.grid import grid_of
from mpno.specs.sets import BODIES
from mpno.training import load_run
from mpno.training.build import build_model
from mpno.training.data import load_samples, load_tests

SAMPLES = 4
"""Test samples, unless more are asked for; of bodies, which differ in their points, there is one."""
SAME = 1e-4
"""Two grids show the same functions when inputs agree in the points that they share to this, relatively."""


@dataclass(frozen=True)
class Asked:
    """What :func:`mpno.theory.advice.advise` is asked with.

    Attributes:
        model: untrained, from the spec's seed, or a finished run's.
        batch: test inputs as the model takes them.
        finer: the same samples on a grid twice as fine, where the file has them; else None.
        what: in a few words.
    """

    model: nn.Module
    batch: Any
    finer: Tensor | None
    what: str


def before_training(spec: RunSpec, data: Path, *, samples: int = SAMPLES) -> Asked:
    """The untrained model of `spec` and test samples of its data file, normalised as a training would.

    Raises:
        MpnoError: as :func:`mpno.training.data.load_samples`, or no sample is asked for.
    """
    _check(samples)
    found = load_samples(spec, data, torch.device("cpu"))
    latent = (found.channels[2],) if len(found.channels) == 3 else ()
    model = build_model(spec, found.channels[0], found.channels[1], *latent)
    batch, finer = _batch(spec, found.tests, samples)
    return Asked(model, batch, finer, f"the untrained {spec.model.title}, seed {spec.seed}")


def after_training(run: Path, data: Path, *, resolution: int | str | None = None, samples: int = SAMPLES) -> Asked:
    """The weights of a finished run and test samples of a data file, normalised as it was trained.

    Args:
        run: its folder.
        data: a file with tests at `resolution`, by default the run's own.
        resolution: of the samples; a finer one than the run was trained on is allowed.
        samples: how many.

    Raises:
        MpnoError: as :func:`mpno.training.load_run` and :func:`mpno.training.data.load_tests`.
    """
    _check(samples)
    finished = load_run(run, device="cpu")
    spec = finished.run
    if resolution is not None:
        tests = {"test_resolutions": (resolution,), "n_test": samples, "n_test_finer": None}
        spec = spec.model_copy(update={"data": spec.data.model_copy(update={**tests, "resolution": resolution})})
    if spec.data.name in BODIES or finished.input is None or finished.output is None:
        found = load_samples(spec, data, torch.device("cpu"))
    else:
        periodic = bool(finished.periodic)
        found = load_tests(spec, data, torch.device("cpu"), finished.input, finished.output, periodic)
    batch, finer = _batch(spec, found.tests, samples)
    return Asked(finished.model, batch, finer, f"the trained run {finished.run.id}")


def _batch(spec: RunSpec, tests: Mapping[int | str, tuple[Any, Any]], samples: int) -> tuple[Any, Tensor | None]:
    data = spec.data
    if data.resolution not in tests:
        listed = ", ".join(map(str, tests))
        raise MpnoError(
            f"advise: no test samples at resolution {data.resolution}, only at {listed}; give one of them as "
            "--resolution"
        )
    x = tests[data.resolution][0]
    if data.name in BODIES:
        return x[0:1], None
    batch = x[: min(samples, len(x))]
    home = grid_of(data.resolution, spec.axes, name=data.name)
    for resolution in tests:
        grid = grid_of(resolution, spec.axes, name=data.name)
        if grid == tuple(2 * n for n in home) and len(tests[resolution][0]) >= len(batch):
            fine = tests[resolution][0][: len(batch)]
            # On the sphere grids share no latitudes, but a generated sample is one function on every grid.
            if spec.model.name == "sfno" and data.source == "generate":
                return batch, fine
            if spec.model.name != "sfno" and _same(batch, fine):
                return batch, fine
    return batch, None


def _same(coarse: Tensor, fine: Tensor) -> bool:
    shared = fine[(..., *(slice(None, None, 2) for _ in coarse.shape[2:]))]
    return bool((shared - coarse).abs().max() <= SAME * coarse.abs().max())


def _check(samples: int) -> None:
    if samples < 1:
        raise MpnoError(f"advise: samples is {samples}; give 1 or more")
