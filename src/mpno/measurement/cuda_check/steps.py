"""A training step in each setting: its memory beside the prediction, and its time beside a model of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mpno.measurement.cards import CARDS
from mpno.measurement.cost import predict_seconds, trace_costs
from mpno.measurement.cuda_check.answers import Answer, Question
from mpno.measurement.cuda_check.bench import Bench, Peak
from mpno.measurement.cuda_check.record import Case, judged
from mpno.measurement.memory import predict_bytes
from mpno.measurement.step import prepare_step
from mpno.specs import RunSpec, build_spec
from mpno.training.build import build_loss, build_model, build_optimizer

SETTINGS = ("full", "amp", "half", "mixed")
TimeModel = Callable[[RunSpec, str], float | None]
"""Seconds that a training step of a run takes on the GPU of this name; None of a GPU that the model does not know."""
RUN: dict[str, Any] = {
    "data": {"name": "navier-stokes", "source": "generate", "resolution": 128, "test_resolutions": [128]},
    "model": {
        "name": "tfno",
        "modes": [64, 64],
        "width": 64,
        "layers": 4,
        "norm": "group",
        "lifting_ratio": 4.0,
        "projection_ratio": 4.0,
        "contraction": {"factorization": "cp", "rank": 0.05, "layout": "corners"},
    },
    "training": {"batch_size": 32, "loss": "h1"},
}
"""The paper's Navier-Stokes model with half of its layers: 3.5 GiB in full."""
CONTEXT = 2**30
ROUNDS = 15
SECONDS = 60.0


def memory(bench: Bench) -> Answer:
    """The peak of the second of two steps, when the optimiser's states are there."""
    cases: list[Case] = []
    peaks: dict[str, Peak | None] = {}
    predictions: dict[str, int] = {}
    for setting in SETTINGS:
        spec = spec_of(setting)
        with bench.clean():
            peak = peaks[setting] = bench.peak(lambda spec=spec: _steps(bench, spec))
        predicted = predict_bytes(spec)
        assert predicted is not None
        predictions[setting] = predicted["peak"]
        allocated, reserved = (None, None) if peak is None else (peak.allocated, peak.reserved)
        name = f"{setting}: peak in tensors, bytes"
        cases.append(judged(name, allocated, "relative", expected=predicted["peak"], tolerance=0.1))
        cases.append(judged(f"{setting}: peak in the allocator's blocks, bytes", reserved))
    full, mixed = peaks["full"], peaks["mixed"]
    ratio = None if full is None or mixed is None else mixed.allocated / full.allocated
    name, expected = "mixed over full, of the peaks in tensors", predictions["mixed"] / predictions["full"]
    cases.append(judged(name, ratio, "relative", expected=expected, tolerance=0.05))
    name = "context: in use on the device and not in blocks, bytes"
    cases.append(judged(name, bench.context(), "at most", tolerance=float(CONTEXT)))
    return Answer(cases)


def modelled(spec: RunSpec, gpu: str) -> float | None:
    """The project's own :data:`TimeModel`, for the cards whose data sheets it has."""
    card = next((card for card in CARDS.values() if card.name in gpu), None)
    return None if card is None else predict_seconds(trace_costs(prepare_step(spec)), card)


def times(bench: Bench, *, time_model: TimeModel = modelled) -> Answer:
    """Seconds of a step in each setting, interleaved, all models side by side."""
    specs = {setting: spec_of(setting) for setting in SETTINGS}
    with bench.clean():
        steps = {setting: stepper(bench, spec, *_batch(bench, spec)) for setting, spec in specs.items()}
        found = bench.times(steps, rounds=ROUNDS, seconds=SECONDS)
    cases: list[Case] = []
    for setting, spec in specs.items():
        spread = found.get(setting)
        predicted = time_model(spec, bench.about().name)
        name, median = f"{setting}: median of a step, s", spread.median if spread else None
        if predicted is None:
            cases.append(judged(name, median))
        else:
            cases.append(judged(name, median, "relative", expected=predicted, tolerance=0.5))
        cases.append(judged(f"{setting}: lower quartile of a step, s", spread.low if spread else None))
        cases.append(judged(f"{setting}: upper quartile of a step, s", spread.high if spread else None))
    for setting in ("amp", "mixed"):
        ratio = found[setting].median / found["full"].median if found else None
        cases.append(judged(f"{setting} over full, of the medians", ratio, "at most", tolerance=1.0))
    return Answer(cases)


def spec_of(setting: str) -> RunSpec:
    return build_spec({**RUN, "precision": setting}, where="measure cuda-check")


def stepper(bench: Bench, spec: RunSpec, x: torch.Tensor, y: torch.Tensor) -> Callable[[], torch.Tensor]:
    """A training step, as the loop of mpno makes it, on one batch. It gives the loss without waiting for it."""
    model = bench.make(lambda: build_model(spec, x.shape[1], y.shape[1]))
    optimizer, loss_of = build_optimizer(spec, model), build_loss(spec, periodic=True)

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _batch(bench: Bench, spec: RunSpec) -> tuple[torch.Tensor, torch.Tensor]:
    assert isinstance(spec.data.resolution, int)
    shape = (spec.training.batch_size, 1, *(spec.data.resolution,) * spec.axes)
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(shape, generator=generator).to(bench.device) for _ in range(2))
    return x, y


def _steps(bench: Bench, spec: RunSpec) -> None:
    step = stepper(bench, spec, *_batch(bench, spec))
    for _ in range(2 if bench.measures else 1):
        step()


STEP_TIMES = Question(
    "step times",
    "A training step in amp and in mixed is no slower than in full, and takes the time that a model predicts.",
    "at most the time of full, where the paper's mixed takes 0.63 to 0.76 of it; half of the prediction either way, "
    "which knows bandwidth and rates and not how kernels use them; of a card that the model does not know, times are "
    "only shown",
    140.0,
    times,
)


MEMORY = Question(
    "memory",
    "A training step takes the device memory that is predicted from shapes, in every setting.",
    "10 % of the prediction: it has no workspaces and no copies that a library makes inside, as cuFFT of a field (128 "
    "MiB in full, 64 in half, 4 % of the peak); 5 % of the ratio, in which these cancel in part; the context is held "
    "to 1 GiB, where the paper's V100 had some 0.4 and newer libraries bring more kernels",
    60.0,
    memory,
)
