"""The paired interval against scipy's and statsmodels' way of computing it, and what the margin allows one to say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mpno.paper import Change, paired_change, verdict

errors = st.floats(0.01, 1.0)


@given(st.lists(st.tuples(errors, errors), min_size=2, max_size=12), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_interval_is_scipys_paired_interval(pairs: list[tuple[float, float]], confidence: float) -> None:
    values, reference = (dict(enumerate(column)) for column in zip(*pairs, strict=True))
    change = paired_change(values, reference, confidence=confidence)
    ratio = np.array([a / b for a, b in pairs])
    oracle = stats.ttest_rel(ratio, np.ones(len(pairs))).confidence_interval(confidence)
    scale = 1e-9 * max(1.0, float(np.abs(ratio).max()))
    assert change.mean == pytest.approx(ratio.mean() - 1, abs=scale)
    if np.ptp(ratio) > 1e-9:
        assert (change.low, change.high) == pytest.approx((oracle.low, oracle.high), rel=1e-6, abs=scale)


def test_textbook_interval() -> None:
    # changes of 1, 2 and 3 %: mean 2 %, standard error 1 % / sqrt(3), t(0.975, 2) = 4.302653
    change = paired_change({0: 1.01, 1: 1.02, 2: 1.03}, {0: 1.0, 1: 1.0, 2: 1.0})
    assert change.mean == pytest.approx(0.02)
    assert change.high - change.mean == pytest.approx(0.01 / math.sqrt(3) * 4.302653, rel=1e-6)


def test_pairs_only_what_both_finished() -> None:
    change = paired_change({0: 1.1, 2: 2.2, 5: 9.0}, {0: 1.0, 1: 7.0, 2: 2.0})
    assert change.each == pytest.approx((0.1, 0.1))


def test_one_seed_has_no_interval() -> None:
    change = paired_change({3: 1.1}, {3: 1.0})
    assert change.mean == pytest.approx(0.1)
    assert math.isnan(change.low)
    assert math.isnan(change.high)
    assert not change.told_apart
    assert verdict(change, margin=0.05, power=True) == "illustration: one seed"


def _change(low: float, high: float) -> Change:
    return Change((low, high), (low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("low", "high", "power", "said"),
    [
        (-0.01, 0.02, True, "equivalent within 5 %"),
        (-0.01, 0.02, False, "no power at this scale"),
        (-0.01, 0.02, None, "within 5 %, no control"),
        (0.01, 0.06, True, "inconclusive"),
        (-0.06, 0.01, True, "inconclusive"),
        (-0.2, 0.2, True, "inconclusive"),
        (0.06, 0.10, False, "worse by more than 5 %"),
        (-0.10, -0.06, False, "better by more than 5 %"),
        (0.01, 0.05, True, "inconclusive"),
    ],
)
def test_verdict(low: float, high: float, power: bool | None, said: str) -> None:
    assert verdict(_change(low, high), margin=0.05, power=power) == said


def test_divergence_outweighs_any_interval() -> None:
    assert verdict(_change(-0.01, 0.01), margin=0.05, power=True, diverged=2) == "diverged in 2"


def test_without_a_pair_nothing_is_said() -> None:
    change = paired_change({0: 1.0}, {1: 1.0})
    assert verdict(change, margin=0.05, power=True) == "no pair"
