"""Fifty steps of training in mixed beside full and full with tanh, from the same weights on the same batches."""

from __future__ import annotations

import math
import statistics
from typing import Any

import torch
from torch import Tensor

from mpno.measurement.cuda_check.answers import Answer, Question
from mpno.measurement.cuda_check.bench import Bench
from mpno.measurement.cuda_check.record import Case, judged
from mpno.measurement.cuda_check.steps import stepper
from mpno.specs import RunSpec, build_spec

SETTINGS = ("full", "full+tanh", "mixed")
SEEDS = (0, 1, 2)
STEPS = 50
LAST = 10
"""Steps whose mean loss stands for the end of a training: single batches differ more than settings do."""
RUN: dict[str, Any] = {
    "data": {"name": "navier-stokes", "source": "generate", "resolution": 64, "test_resolutions": [64]},
    "model": {"name": "fno", "modes": [16, 16], "width": 32, "layers": 4},
    "training": {"batch_size": 8, "loss": "l2"},
    "optimizer": {"name": "adamw", "lr": 2e-3},
}


def training(bench: Bench) -> Answer:
    """Losses step by step. On shapes alone, two steps of one seed show that it runs."""
    seeds, steps = (SEEDS, STEPS) if bench.measures else (SEEDS[:1], 2)
    curves: dict[str, list[float]] = {}
    for seed in seeds:
        x, y = fields(seed, steps * RUN["training"]["batch_size"], RUN["data"]["resolution"])
        for setting in SETTINGS:
            with bench.clean():
                spec = build_spec({**RUN, "precision": setting, "seed": seed}, where="measure cuda-check")
                losses = _losses(bench, spec, x, y)
                if losses:
                    curves[f"{setting}, seed {seed}"] = losses
    return Answer(_cases(curves), curves)


def fields(seed: int, count: int, n: int) -> tuple[Tensor, Tensor]:
    """Smooth periodic fields of unit variance, (count, 1, n, n), and their squares smoothed, likewise."""
    generator = torch.Generator().manual_seed(seed)
    k = torch.fft.fftfreq(n, 1 / n)
    squares = k[:, None] ** 2 + k[None, : n // 2 + 1].abs() ** 2
    noise = torch.fft.rfft2(torch.randn(count, 1, n, n, generator=generator))
    x = torch.fft.irfft2(noise * (1 + squares / 9) ** -2)
    x = x / x.std()
    y = torch.fft.irfft2(torch.fft.rfft2(x**2) * torch.exp(-squares / 50))
    return x, (y - y.mean()) / y.std()


def _losses(bench: Bench, spec: RunSpec, x: Tensor, y: Tensor) -> list[float]:
    size = spec.training.batch_size
    batch = [field[:size].to(bench.device) for field in (x, y)]
    step = stepper(bench, spec, *batch)
    losses: list[Tensor] = []
    for wanted in zip(x.split(size), y.split(size), strict=True):
        for held, given in zip(batch, wanted, strict=True):
            held.copy_(given)
        losses.append(step())
    return [value / size for value in bench.numbers(torch.stack(losses))]


def _cases(curves: dict[str, list[float]]) -> list[Case]:
    cases: list[Case] = []
    for setting in SETTINGS:
        own = [losses for name, losses in curves.items() if name.startswith(f"{setting}, ")]
        finite = all(math.isfinite(loss) for losses in own for loss in losses) if own else None
        cases.append(judged(f"{setting}: all losses are finite", finite, "equal", expected=True))
    learned = [_end(losses) / losses[0] for name, losses in curves.items() if name.startswith("full, ")]
    found = max(learned) if learned else None
    cases.append(judged("full: loss at the end over the first, worst seed", found, "at most", tolerance=0.7))
    for other, tolerance in (("full+tanh", 1.1), ("full", 1.25)):
        found = _ratio(curves, other)
        name = f"mixed over {other}: loss at the end, mean over paired seeds"
        cases.append(judged(name, found, "at most", tolerance=tolerance))
    return cases


def _end(losses: list[float]) -> float:
    return statistics.mean(losses[-LAST:])


def _ratio(curves: dict[str, list[float]], other: str) -> float | None:
    pairs = [
        (_end(curves[f"mixed, seed {seed}"]), _end(curves[f"{other}, seed {seed}"]))
        for seed in SEEDS
        if f"mixed, seed {seed}" in curves
    ]
    return statistics.mean(mixed / beside for mixed, beside in pairs) if pairs else None


QUESTION = Question(
    "training",
    "Fifty steps in mixed stay finite and end at the loss of full, from the same weights on the same batches.",
    "mixed at most 1.1 of full+tanh, from which it differs in precision alone, and 1.25 of full, from which it differs "
    "in tanh too: the first is twice the 5 % within which whole trainings count as equal, fifty steps being noisier; "
    "full at most 0.7 of its first loss, without which the rest would say nothing",
    60.0,
    training,
)
