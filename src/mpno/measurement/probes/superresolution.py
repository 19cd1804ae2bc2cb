"""Finished runs on grids finer than their own, beside interpolation of what they predict on their own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpno.datasets import load_split, read_attrs
from mpno.datasets.store import Split, read_pairs
from mpno.measurement.interpolation import interpolate
from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.probes.outcome import diverged
from mpno.specs import MpnoError
from mpno.training import evaluate_run, load_run, relative_h1, relative_l2

INTERPOLATIONS = ("fourier", "linear")
POINTS = 2**18
"""Grid points of a batch: the widest layer of the published model holds 256 MiB of them."""
SAME = 1e-4
"""Two grids show the same functions when their inputs agree in the points that they share to this, relatively."""


def superresolution(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Errors of every run on every test grid of the arms' data, and of its own grid's prediction interpolated there.

    Errors are relative, L2 and H1 as everywhere (:mod:`mpno.training.losses`), averaged over the same test functions
    on every grid.

    Args:
        arms: on periodic fields; the data hold tests on the training grid and on multiples of it.
        settings: none.

    Returns:
        Rows by part, arm, seed, resolution and method: ``model`` is the run on that grid; ``fourier`` and ``linear``
        are the run on its own grid, interpolated; of arm ``truth``, the true field on the training grid, interpolated,
        which is what any interpolation can reach. Each has factor (resolution over the training grid), samples, l2, h1
        (None where not finite), finite, trained (``finished`` or ``diverged``: such a run is not evaluated), precision,
        evidence; of models range (largest share of its format's range that a half transform used), advice, and same:
        whether the grid shows the functions of the training grid. Where it does not, nothing is interpolated.

    Raises:
        MpnoError: settings are given, fields are not periodic, or the training grid has no tests.
    """
    if settings:
        raise MpnoError(f"probe superresolution: has settings {', '.join(settings)}; it takes none")
    rows: list[dict[str, Any]] = []
    shown: set[tuple[str, Path]] = set()
    for arm in arms:
        tests = _tests(arm)
        if (arm.part, arm.data) not in shown:
            shown.add((arm.part, arm.data))
            truth = {"part": arm.part, "arm": "truth", "trained": "finished", "evidence": "native"}
            rows += [truth | row for row in _interpolated(tests[_home(arm)].y, tests, _home(arm))]
        for seed, run in arm.runs.items():
            rows += [{"part": arm.part, "arm": arm.name, "seed": seed} | row for row in _of_run(arm, run, tests)]
    return rows


def _of_run(arm: ProbedArm, run: Path, tests: Mapping[int, Split]) -> Iterator[dict[str, Any]]:
    home = _home(arm)
    if diverged(run):
        for grid, test in tests.items():
            place = {"method": "model", "resolution": grid, "factor": grid / home, "samples": len(test.y)}
            place |= {"same": _same(test, tests[home])}
            nothing = {"l2": None, "h1": None, "finite": False, "trained": "diverged"}
            yield place | nothing | {"precision": arm.spec.precision.at(1.0).label}
        return
    for grid, test in tests.items():
        size = max(1, POINTS // grid**2)
        found = evaluate_run(run, data=arm.data, resolution=grid, n_test=len(test.y), batch_size=size)
        yield {
            "method": "model",
            "resolution": grid,
            "factor": grid / home,
            "samples": len(test.y),
            **{key: found[key] for key in ("l2", "h1", "finite", "precision", "evidence", "advice")},
            "trained": "finished",
            "range": found["range"] and found["range"]["1x"],
            "same": _same(test, tests[home]),
        }
    finished = load_run(run)
    size = max(1, POINTS // home**2)
    parts = [tests[home].x[start : start + size] for start in range(0, len(tests[home].x), size)]
    prediction = np.concatenate([finished.predict(part).numpy() for part in parts])
    made = {"trained": "finished", "precision": finished.setting.label, "evidence": finished.evidence}
    yield from (made | row for row in _interpolated(prediction, tests, home))


def _interpolated(field: np.ndarray, tests: Mapping[int, Split], home: int) -> Iterator[dict[str, Any]]:
    """The errors of what is on the training grid, interpolated to every finer one."""
    for grid, test in tests.items():
        for method in INTERPOLATIONS if grid > home and _same(test, tests[home]) else ():
            target = torch.from_numpy(test.y).double()
            fine = torch.from_numpy(interpolate(field, grid, method))
            errors = {"l2": relative_l2(fine, target), "h1": relative_h1(fine, target, periodic=True)}
            means = {name: values.mean().item() for name, values in errors.items()}
            yield {
                "method": method,
                "resolution": grid,
                "factor": grid / home,
                "samples": len(test.y),
                **{name: value if math.isfinite(value) else None for name, value in means.items()},
                "finite": all(map(math.isfinite, means.values())),
            }


def _home(arm: ProbedArm) -> int:
    return arm.spec.data.square[0]


def _tests(arm: ProbedArm) -> dict[int, Split]:
    """The tests by grid, coarse first, as many on each as there are on all."""
    home, data = _home(arm), arm.data
    if not read_attrs(data).get("periodic", False):
        raise MpnoError(f"{data}: its fields are not periodic, which the interpolation takes for granted")
    counts = {int(grid): n for (split, grid), n in read_pairs(data).items() if split == "test" and int(grid) >= home}
    if home not in counts:
        raise MpnoError(f"{data}: has no tests on the training grid, {home}; add it to the probe's test_resolutions")
    n = min(counts.values())
    return {grid: load_split(data, "test", grid, n) for grid in sorted(counts)}


def _same(test: Split, coarse: Split) -> bool:
    """Whether two grids show the same functions, by their inputs in the points that they share."""
    step, rest = divmod(test.x.shape[-1], coarse.x.shape[-1])
    if rest:
        return False
    return bool(np.abs(test.x[..., ::step, ::step] - coarse.x).max() <= SAME * np.abs(coarse.x).max())
