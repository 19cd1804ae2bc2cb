"""Paired comparisons over seeds, and the verdict that the fixed margin allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Change:
    """The change of an error against a reference, paired by seed.

    Attributes:
        each: (error - reference) / reference per seed; of :func:`paired_points`, 100 (error - reference).
        mean: their mean; NaN without a pair.
        low, high: the two-sided Student interval of the mean; NaN with fewer than two pairs.
    """

    each: tuple[float, ...]
    mean: float
    low: float
    high: float

    @property
    def told_apart(self) -> bool:
        """Whether the interval excludes no change."""
        return self.low > 0 or self.high < 0


def paired_change(values: Mapping[int, float], reference: Mapping[int, float], *, confidence: float = 0.95) -> Change:
    """Compare the errors of the seeds that both arms finished.

    The spread is the sample standard deviation (divisor n - 1) of the per-seed relative changes.
    """
    seeds = sorted(set(values) & set(reference))
    return _interval([(values[seed] - reference[seed]) / reference[seed] for seed in seeds], confidence)


def paired_points(values: Mapping[int, float], reference: Mapping[int, float], *, confidence: float = 0.95) -> Change:
    """The same comparison in points of relative error (hundredths): 100 (error - reference) per seed.

    The paper's claims on accuracy read as points; the relative change of the same errors can be 20 times as large.
    """
    seeds = sorted(set(values) & set(reference))
    return _interval([100 * (values[seed] - reference[seed]) for seed in seeds], confidence)


def _interval(changes: Sequence[float], confidence: float) -> Change:
    each = np.array(changes)
    if len(each) < 2:
        return Change(tuple(each.tolist()), float(each[0]) if len(each) else math.nan, math.nan, math.nan)
    mean = float(each.mean())
    half = float(stats.t.ppf((1 + confidence) / 2, len(each) - 1) * each.std(ddof=1) / math.sqrt(len(each)))
    return Change(tuple(each.tolist()), mean, mean - half, mean + half)


def verdict(change: Change, *, margin: float, power: bool | None, diverged: int = 0) -> str:
    """What the interval allows one to say about `no loss within the margin`.

    `power`: whether the control with few mantissa bits is told from full; None where there is no such control.
    """
    size = f"{100 * margin:g} %"
    if diverged:
        return f"diverged in {diverged}"
    if not change.each:
        return "no pair"
    if len(change.each) == 1:
        return "illustration: one seed"
    if change.low > margin:
        return f"worse by more than {size}"
    if change.high < -margin:
        return f"better by more than {size}"
    if not (-margin < change.low and change.high < margin):
        return "inconclusive"
    if power is None:
        return f"within {size}, no control"
    return f"equivalent within {size}" if power else "no power at this scale"
