"""A finished run on another resolution, and in another setting."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from mpno.datasets import read_attrs
from mpno.numerics import RangeMonitor, refuse_shortcuts
from mpno.specs import MpnoError, PrecisionSetting, RunSpec
from mpno.training.bodies import load_bodies
from mpno.training.data import load_tests
from mpno.training.errors import BATCH, evaluate
from mpno.training.finished import FinishedRun, load_run
from mpno.training.headroom import advice, predicted_range
from mpno.training.samples import SHARE, Samples, memory


def evaluate_run(
    run: Path | str,
    *,
    data: Path,
    resolution: int | str,
    precision: PrecisionSetting | str | None = None,
    transform: str | None = None,
    n_test: int | None = None,
    batch_size: int = BATCH,
) -> dict[str, Any]:
    """Test errors of a finished run at `resolution`, which may be finer than the training grid (zero-shot).

    Args:
        run: its folder.
        data: a file with the test samples; of fields it needs no others.
        resolution: of the test.
        precision, transform: other ones than it was trained in.
        n_test: how many test samples; by default as many as the run's spec says.
        batch_size: test samples at a time.

    Returns:
        ``id`` and ``resolution``; ``precision``, ``transform`` and ``evidence`` of the evaluation; relative errors
        ``l2`` and, of fields, ``h1``, averaged over the test samples, None where they are not finite;
        ``finite``; ``range``, the share of its format's range that a half transform uses here and on grids 2 and 4
        times finer (:func:`mpno.training.headroom.predicted_range`); ``advice``, a line where that overflows, or None.

    Raises:
        MpnoError: as :func:`load_run`, and where the file holds another data set or no such tests.
    """
    finished = load_run(run, precision=precision, transform=transform)
    torch.set_num_threads(finished.run.threads)
    refuse_shortcuts()
    samples = _tests(finished, data, resolution, n_test)
    with RangeMonitor(finished.model) as monitor:
        errors = evaluate(finished.model, samples, batch_size)[str(resolution)]
    finite = all(map(math.isfinite, errors.values()))
    share = predicted_range(finished.model, monitor)
    return {
        "id": finished.run.id,
        "resolution": resolution,
        "precision": finished.setting.label,
        "transform": finished.spec.transform,
        "evidence": finished.evidence,
        **{name: value if math.isfinite(value) else None for name, value in errors.items()},
        "finite": finite,
        "range": share and {key: _for_json(value) for key, value in share.items()},
        "advice": advice(finished.model, finished.setting, samples, finite=finite, range=share),
    }


def _tests(finished: FinishedRun, data: Path, resolution: int | str, n_test: int | None) -> Samples:
    run, tests = finished.run, {"test_resolutions": (resolution,)}
    counts = {} if n_test is None else {"n_test": n_test, "n_test_finer": None}
    name = read_attrs(data)["name"]
    if name != run.data.name:
        raise MpnoError(
            f"{data}: holds the data set {name}, the run was trained on {run.data.name}; give a file of that"
        )
    wanted: RunSpec = run.model_copy(update={"data": run.data.model_copy(update=tests | counts)})
    if finished.input is None or finished.output is None:
        return load_bodies(wanted, data, finished.device, memory(finished.device) // SHARE, finished.bodies)
    return load_tests(wanted, data, finished.device, finished.input, finished.output, bool(finished.periodic))


def _for_json(value: Any) -> Any:
    """JSON has no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
