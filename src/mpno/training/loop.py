"""One training, from its spec to its record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mpno.numerics import RangeMonitor, refuse_tf32, set_precision
from mpno.specs import RunSpec
from mpno.training.allocator import keep_freed_memory
from mpno.training.build import build_loss, build_model, build_optimizer, build_scheduler
from mpno.training.data import load_samples
from mpno.training.divergence import Divergence, first_not_finite
from mpno.training.errors import BATCH, baseline, evaluate
from mpno.training.headroom import used_range
from mpno.training.records import Outcome, Row, write_record
from mpno.training.samples import Samples
from mpno.training.techniques import PATIENCE, Updater
from mpno.training.tensorboard import epoch_writer


def train_run(
    spec: RunSpec,
    *,
    data: Path,
    out: Path,
    progress: bool | None = None,
    provenance: dict[str, Any] | None = None,
    tensorboard: Path | None = None,
) -> dict[str, Any]:
    """Train `spec` and write ``spec.json``, ``history.csv``, ``range.csv``, ``model.safetensors`` and ``metrics.json``
    to `out`.

    A training that diverges is written too, with status ``diverged``, no metrics, and the place where the
    first number that is not finite appeared.

    Args:
        spec: the run.
        data: its HDF5 file.
        out: the folder of the run; each file is whole or absent, the record comes last.
        progress: whether to draw a bar; by default on a terminal only, with a line per epoch elsewhere.
        provenance: what the caller knows of the code (source digest, changed keys), copied into the record.
        tensorboard: a folder for the history as TensorBoard shows it, beside ``history.csv``.

    Returns:
        The record, as in ``metrics.json``.

    Raises:
        MpnoError: the data file is missing, broken or too small, or `tensorboard` is asked for and not installed.
    """
    started = time.perf_counter()
    torch.set_num_threads(spec.threads)
    keep_freed_memory()
    refuse_tf32()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    samples = load_samples(spec, data, device)
    with epoch_writer(tensorboard) as write:
        outcome = fit(spec, samples, progress=progress, each_epoch=write)
    outcome.baseline = baseline(samples)
    seconds = time.perf_counter() - started
    about = {"data": data, "out": out, "device": device, "seconds": seconds, "provenance": provenance or {}}
    return write_record(spec, outcome, samples=samples, **about)


def fit(
    spec: RunSpec, samples: Samples, *, progress: bool | None = None, each_epoch: Callable[[Row], None] | None = None
) -> Outcome:
    """Train on `samples`. Initial weights and data order depend on the seed alone, so arms are paired.

    A precision schedule switches between epochs. A loss that is not finite ends the training; under loss
    scaling it is an update skipped, and the training ends when none has been made for a while. `each_epoch` is shown
    each row of the history.
    """
    device = samples.x.device
    model = build_model(spec, *samples.channels).to(device)
    order = torch.Generator().manual_seed(spec.seed)
    batches = math.ceil(len(samples.x) / spec.training.batch_size)
    optimizer = build_optimizer(spec, model)
    scheduler = build_scheduler(spec, optimizer, math.ceil(batches / (spec.training.delayed_updates or 1)))
    updater = Updater(optimizer, scheduler, spec.training)
    loss_of = build_loss(spec, samples.periodic)
    outcome = Outcome(model)
    started, step, first = time.perf_counter(), 0, 0
    bar = tqdm(range(1, spec.training.epochs + 1), desc=spec.id, disable=None if progress is None else not progress)
    setting = spec.precision.at(0.0)
    for epoch in bar:
        if spec.precision.phase(epoch, spec.training.epochs) != setting:
            setting = spec.precision.phase(epoch, spec.training.epochs)
            set_precision(model, setting)
        skipped = updater.skipped
        batches_of_epoch = _batches(samples, order, spec.training.batch_size)
        with RangeMonitor(model) as monitor:
            loss, steps, bad, origin = _train_epoch(model, batches_of_epoch, loss_of, updater)
            errors = {} if origin else evaluate(model, samples)
        outcome.ranges += used_range(epoch, monitor)
        first = first or (step + bad if bad else 0)
        step += steps
        if origin:
            return _diverge(outcome, bar, Divergence(epoch, step, *origin, first or step))
        test = {f"{name}@{grid}": value for grid, error in errors.items() for name, value in error.items()}
        if not all(map(math.isfinite, test.values())):
            origin = _in_evaluation(model, samples)
            return _diverge(outcome, bar, Divergence(epoch, step, *origin, first or step))
        row: Row = {"epoch": epoch, "step": step, "precision": setting.label, "train_loss": loss}
        row |= {"lr": float(optimizer.param_groups[0]["lr"]), "skipped": updater.skipped - skipped}
        row |= {"seconds": time.perf_counter() - started, **test}
        outcome.metrics = errors
        outcome.history.append(row)
        if each_epoch:
            each_epoch(row)
        _say(bar, "  ".join(f"{key} {_short(value)}" for key, value in row.items()))
    bar.close()
    return outcome


def _train_epoch(
    model: nn.Module,
    batches: Iterable[tuple[Any, Tensor]],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    updater: Updater,
) -> tuple[float, int, int, tuple[str, str] | None]:
    """Train on every batch once.

    Returns:
        Mean loss per sample; steps made; the first of them whose loss was not finite, 0 for none; and what was not, if
        that ended it.
    """
    model.train()
    total, seen, step, bad = 0.0, 0, 0, 0
    for x, y in batches:
        step += 1
        loss = loss_of(model(x), y)
        value = loss.item()
        finite = math.isfinite(value)
        bad = bad or (0 if finite else step)
        if not finite and not updater.scales_loss:
            return math.nan, step, bad, first_not_finite(model, x)
        updater.backward(loss)
        if updater.gave_up:
            return math.nan, step, bad, _after_skips(model, x, finite)
        if finite:
            total, seen = total + value, seen + len(y)
    updater.update()
    return total / seen if seen else math.nan, step, bad, None


def _after_skips(model: nn.Module, x: Any, finite: bool) -> tuple[str, str]:
    if finite:
        return f"gradient, in {PATIENCE} updates in a row whatever the loss was scaled by", ""
    return first_not_finite(model, x)


def _in_evaluation(model: nn.Module, samples: Samples, batch_size: int = BATCH) -> tuple[str, str]:
    for grid, (x, _) in samples.tests.items():
        for part in x.split(batch_size):
            where, operation = first_not_finite(model, part)
            if where != "loss":
                return f"evaluation on {grid} points along an axis: {where}", operation
    return "evaluation: the test error", ""


def _batches(samples: Samples, order: torch.Generator, size: int) -> Iterator[tuple[Any, Tensor]]:
    shuffled = torch.randperm(len(samples.x), generator=order).to(samples.x.device)
    for index in shuffled.split(size):
        yield samples.x[index], samples.y[index]


def _diverge(outcome: Outcome, bar: tqdm, where: Divergence) -> Outcome:
    outcome.metrics, outcome.diverged = None, where
    _say(bar, str(where))
    bar.close()
    return outcome


def _short(value: int | float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _say(bar: tqdm, line: str) -> None:
    """A line per epoch in a log; on a terminal the bar shows the same."""
    if bar.disable:
        print(line, flush=True)
    else:
        bar.set_postfix_str(line)
