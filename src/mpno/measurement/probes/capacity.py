"""The largest batch, and the largest grid, whose training step fits a card."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from mpno.measurement.probes._cases import Case, cases_of
from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.step import reading_of
from mpno.specs import RunSpec

FIRST = (32, 64)
"""Batches whose line says where to look: bytes rise in proportion to the batch once a device is busy."""


def capacity(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per case and card, by what nvidia-smi would show.

    `settings` holds ``cases`` as :func:`mpno.measurement.probes._cases.cases_of` reads them, ``cards`` (GiB), and
    ``resolutions`` to try with one sample, ascending; grids that a case cannot transform are left out.

    Returns:
        Rows of the case, ``card_gib``, ``largest_batch`` at the case's own grid, which fits and by the line through
        smaller ones is the largest that does, and ``largest_resolution``; 0 where nothing fits.
    """
    rows = []
    for case in cases_of(settings):

        @cache
        def batch_of(count: int, case: Case = case) -> float:
            return _shown(case, count, case.spec.data.square[0])

        tried = {n: _shown(case, 1, n) for n in settings["resolutions"] if _transforms(case, n)}
        for gib in settings["cards"]:
            fitting = [n for n, mib in tried.items() if mib <= 1024 * gib]
            largest = largest_below(batch_of, 1024.0 * gib)
            found = {"largest_batch": largest, "largest_resolution": max(fitting, default=0)}
            rows.append({**case.about(), "card_gib": gib, **found, "evidence": "predicted"})
    return rows


def largest_below(amount: Callable[[int], float], limit: float, first: tuple[int, int] = FIRST) -> int:
    """A count whose amount is within the limit, and the largest if the amount rises along a line; 0 if none.

    Calls are dear, the more so for large counts: the line through the `first` two says which count to try, and where
    that is too much, the line through it says the next. What lies above a count that fits is taken from the line.

    Raises:
        ValueError: the amount does not rise.
    """
    low, high = first
    if amount(low) > limit:
        low, high = 1, low
        if amount(low) > limit:
            return 0
    while True:
        rise = (amount(high) - amount(low)) / (high - low)
        if rise <= 0:
            raise ValueError(f"amount {amount(low)} at {low}, {amount(high)} at {high}: it does not rise")
        count = max(low, math.floor(low + (limit - amount(low)) / rise))
        if amount(count) <= limit:
            return count
        high = count


def _shown(case: Case, batch: int, resolution: int) -> float:
    return reading_of(_at(case, batch, resolution).prepare().trace()).shown


def _at(case: Case, batch: int, resolution: int) -> Case:
    values = case.spec.model_dump()
    values["data"] |= {"resolution": resolution, "test_resolutions": (resolution,)}
    values["training"]["batch_size"] = batch
    return replace(case, spec=RunSpec.model_validate(values))


def _transforms(case: Case, resolution: int) -> bool:
    """Whether a GPU has the case's transforms on this grid: cuFFT's in half are those of powers of two."""
    triple = case.spec.precision.triple
    in_half = case.spec.transform == "fft" and "H" in (triple[0], triple[2])
    return not in_half or resolution & (resolution - 1) == 0
