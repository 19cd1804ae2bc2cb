"""One training, from its spec to its record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mpno.numerics import RangeMonitor, refuse_shortcuts, set_precision
from mpno.specs import PrecisionSetting, RunSpec
from mpno.training.allocator import keep_freed_memory
from mpno.training.build import build_loss
from mpno.training.checkpoint import Checkpoints, identity_of, scratch
from mpno.training.data import load_samples
from mpno.training.divergence import Divergence, first_not_finite
from mpno.training.errors import BATCH, baseline, evaluate
from mpno.training.headroom import used_range
from mpno.training.records import BELOW_NORMAL, Outcome, Row, write_record
from mpno.training.samples import Samples
from mpno.training.smallness import SmallGradients
from mpno.training.state import Progress
from mpno.training.techniques import PATIENCE, Updater
from mpno.training.tensorboard import epoch_writer
from mpno.training.watchdog import Watchdog


def train_run(
    spec: RunSpec,
    *,
    data: Path,
    out: Path,
    progress: bool | None = None,
    provenance: dict[str, Any] | None = None,
    tensorboard: Path | None = None,
    end_if_hung: bool = False,
) -> dict[str, Any]:
    """Train `spec` and write ``spec.json``, ``history.csv``, ``range.csv``, ``model.safetensors`` and ``metrics.json``
    to `out`.

    A training that diverges is written too, with status ``diverged``, no metrics, and the place where the
    first number that is not finite appeared.

    After every epoch the training leaves a checkpoint in a scratch folder beside `out`. Killed at any moment and called
    again with the same spec, data, code and machine, it repeats at most one epoch and writes the same bits, times
    apart.

    Args:
        spec: the run.
        data: its HDF5 file.
        out: the folder of the run; each file is whole or absent, the record comes last.
        progress: whether to draw a bar; by default on a terminal only, with a line per epoch elsewhere.
        provenance: what the caller knows of the code (source digest, changed keys), copied into the record.
        tensorboard: a folder for the history as TensorBoard shows it, beside ``history.csv``.
        end_if_hung: whether an epoch that takes far too long ends the process, as :class:`Watchdog` has it.

    Returns:
        The record, as in ``metrics.json``.

    Raises:
        MpnoError: the data file is missing, broken or too small, `tensorboard` is asked for and not installed, or
            another process trains to `out`.
    """
    started = time.perf_counter()
    torch.set_num_threads(spec.threads)
    keep_freed_memory()
    refuse_shortcuts()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    samples, code = load_samples(spec, data, device), provenance or {}
    with epoch_writer(tensorboard) as write, scratch(out) as folder, ExitStack() as stack:
        checkpoints = Checkpoints(folder, identity_of(spec, data, device, code))
        begin = stack.enter_context(Watchdog(spec.id)).begin if end_if_hung else None
        outcome = fit(spec, samples, progress=progress, begin_epoch=begin, each_epoch=write, checkpoints=checkpoints)
        outcome.baseline = baseline(samples)
        seconds = outcome.seconds_before + time.perf_counter() - started
        about = {"data": data, "out": out, "device": device, "seconds": seconds, "provenance": code}
        return write_record(spec, outcome, samples=samples, **about)


def fit(
    spec: RunSpec,
    samples: Samples,
    *,
    progress: bool | None = None,
    begin_epoch: Callable[[int], None] | None = None,
    each_epoch: Callable[[Row], None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Outcome:
    """Train on `samples`. Initial weights and data order depend on the seed alone, so arms are paired.

    A precision schedule switches between epochs, and so does a setting that what is measured decides: by the history
    alone, which a checkpoint holds. A loss that is not finite ends the training; under loss
    scaling it is an update skipped, and the training ends when none has been made for a while. `begin_epoch` is
    told each epoch before it begins, `each_epoch` is shown each row of the history.

    Where the training stands after each epoch goes to `checkpoints`. If they hold something, the training goes on from
    there, and ends in the same bits as one that was never interrupted; seconds go on from those before.
    """
    training = Progress.begin(spec, samples)
    model, outcome, updater = training.model, training.outcome, training.updater
    loss_of = build_loss(spec, samples.periodic)
    if checkpoints and (found := checkpoints.latest()):
        training.restore(found)
        print(f"goes on after epoch {training.epoch} of {spec.training.epochs}", flush=True)
    show = each_epoch or (lambda _: None)
    for row in outcome.history:
        show(row)
    started = time.perf_counter() - training.seconds
    todo = range(training.epoch + 1, spec.training.epochs + 1)
    shown = {"initial": training.epoch, "total": spec.training.epochs, "desc": spec.id}
    bar = tqdm(todo, **shown, disable=None if progress is None else not progress)
    setting = spec.precision.at(0.0)
    counted = None if spec.precision.full_above is None else spec.precision.format
    for epoch in bar:
        if begin_epoch:
            begin_epoch(epoch)
        if _setting(spec, epoch, outcome) != setting:
            setting = _setting(spec, epoch, outcome)
            set_precision(model, setting)
        skipped = updater.skipped
        batches_of_epoch = _batches(samples, training.order, spec.training.batch_size)
        with RangeMonitor(model) as monitor, SmallGradients(model, counted) as small:
            loss, steps, bad, origin = _train_epoch(model, batches_of_epoch, loss_of, updater)
            errors = {} if origin else evaluate(model, samples)
        outcome.ranges += used_range(epoch, monitor)
        training.first = training.first or (training.step + bad if bad else 0)
        training.step += steps
        test = {f"{name}@{grid}": value for grid, error in errors.items() for name, value in error.items()}
        if not origin and not all(map(math.isfinite, test.values())):
            origin = _in_evaluation(model, samples)
        if origin:
            where = Divergence(epoch, training.step, *origin, training.first or training.step)
            return _diverge(outcome, bar, where)
        training.epoch, training.seconds = epoch, time.perf_counter() - started
        row: Row = {"epoch": epoch, "step": training.step, "precision": setting.label, "train_loss": loss}
        row |= {"lr": float(training.optimizer.param_groups[0]["lr"]), "skipped": updater.skipped - skipped}
        row |= {"seconds": training.seconds, **({BELOW_NORMAL: small.share} if counted else {}), **test}
        outcome.metrics = errors
        outcome.history.append(row)
        show(row)
        _say(bar, "  ".join(f"{key} {_short(value)}" for key, value in row.items()))
        if checkpoints and epoch < spec.training.epochs:
            checkpoints.write(epoch, training.state())
    bar.close()
    return outcome


def _setting(spec: RunSpec, epoch: int, outcome: Outcome) -> PrecisionSetting:
    """What an epoch is trained in."""
    before = outcome.history[-1].get(BELOW_NORMAL) if outcome.history else None
    below = before if isinstance(before, float) else None
    return spec.precision.phase(epoch, spec.training.epochs, below=below)


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
