"""The largest batch, and the largest grid, whose training step fits a card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from mpno.measurement.probes._cases import Case, cases_of
from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.step import reading_of
from mpno.specs import RunSpec

CLOSE = 1 / 32
"""Tracing a step takes as long as its batch is large."""


def capacity(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per case and card, by what nvidia-smi would show.

    `settings` holds ``cases`` as :func:`mpno.measurement.probes._cases.cases_of` reads them, ``cards`` (GiB), and
    ``resolutions`` to try with one sample, ascending; grids that a case cannot transform are left out.

    Returns:
        Rows of the case, ``card_gib``, ``largest_batch`` at the case's own grid, which fits and lies within
        :data:`CLOSE` of the largest, and ``largest_resolution``; 0 where nothing fits.
    """
    rows = []
    for case in cases_of(settings):

        @cache
        def batch_of(count: int, case: Case = case) -> float:
            return _shown(case, count, case.spec.data.square[0])

        tried = {n: _shown(case, 1, n) for n in settings["resolutions"] if _transforms(case, n)}
        for gib in settings["cards"]:
            fitting = [n for n, mib in tried.items() if mib <= 1024 * gib]
            largest = largest_below(batch_of, 1024.0 * gib, CLOSE)
            found = {"largest_batch": largest, "largest_resolution": max(fitting, default=0)}
            rows.append({**case.about(), "card_gib": gib, **found, "evidence": "predicted"})
    return rows


def largest_below(amount: Callable[[int], float], limit: float, close: float = 0.0) -> int:
    """The largest count whose amount is within the limit, of a function that rises about linearly; 0 if none.

    Each call is taken to be dear: the search ends where less than the share `close` of the count is left.

    Raises:
        ValueError: the amount does not rise.
    """
    if amount(1) > limit:
        return 0
    low, high = 1, 2
    while amount(high) <= limit:
        rise = (amount(high) - amount(low)) / (high - low)
        if rise <= 0:
            raise ValueError(f"amount {amount(low)} at {low}, {amount(high)} at {high}: it does not rise")
        # Where the line through the last two meets the limit, and a little beyond.
        guess = int(1.02 * (high + (limit - amount(high)) / rise)) + 1
        low, high = high, min(8 * high, max(high + 1, guess))
    halve = False
    while high - low > max(1, close * low):
        share = 0.5 if halve else (limit - amount(low)) / (amount(high) - amount(low))
        between = min(high - 1, max(low + 1, round(low + share * (high - low))))
        low, high = (between, high) if amount(between) <= limit else (low, between)
        halve = not halve
    return low


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
