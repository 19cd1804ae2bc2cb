"""What a verdict may say, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from mpno.paper.claims.measured import Measured
from mpno.paper.claims.model import Ask, Claim
from mpno.paper.claims.verdicts import Judged, judge, together
from mpno.specs import MpnoError


def claim(**more: Any) -> Claim:
    values: dict[str, Any] = {
        "id": "C01",
        "group": "a group",
        "statement": "A change is small.",
        "source": "a table",
        "test": "effect",
        "scales": ["desk"],
        "item": "toy",
        "threshold": {"rule": "within 5 of zero", "words": "small", "at_least": -5, "at_most": 5},
        "records": [{"name": "toy", "reader": "change"}],
    }
    return Claim.model_validate(values | more)


def found(effect: float | None = 1.0, low: float | None = 0.5, high: float | None = 1.5, **more: Any) -> Measured:
    return Measured(effect, "%", **{"evidence": "native", "table": "errors", "n": 3, "low": low, "high": high, **more})


def verdict(measured: Measured, *, scale: str = "desk", device: str = "cpu", aside: str = "", **more: Any) -> str:
    one = claim(**more)
    ask = Ask(name="toy", reader="change", without_verdict=aside or None)
    judged = judge(one, ask, measured, scale=scale, device=device)
    return together(one, [judged], scale=scale)[0]


CONTROLLED = {"rule": "within 5 of zero", "words": "no loss", "at_least": -5, "at_most": 5, "control": True}
LOWER = {"rule": "below zero", "words": "lower", "below": 0}


def test_an_interval_is_inside_outside_or_neither() -> None:
    assert verdict(found(1, 0, 2)) == "supported"
    assert verdict(found(7, 6, 8)) == "not supported"
    assert verdict(found(5, 3, 7)) == "inconclusive"


def test_an_interval_that_contains_zero_is_inconclusive_and_never_no_effect() -> None:
    one = claim(threshold=LOWER)
    judged = judge(one, one.records[0], found(0.1, -1, 1.2), scale="desk", device="cpu")
    assert judged.verdict == "inconclusive" and "contains zero" in judged.why
    assert verdict(found(-2, -3, -1), threshold=LOWER) == "supported"
    assert verdict(found(2, 1, 3), threshold=LOWER) == "not supported"


@pytest.mark.parametrize("told", [None, False])
def test_no_loss_needs_its_control(told: bool | None) -> None:
    accuracy = {"accuracy": True, "threshold": CONTROLLED}
    assert verdict(found(told_apart=told), **accuracy) == "no power at this scale"
    assert verdict(found(told_apart=True), **accuracy) == "supported"
    # A loss that is there needs no control.
    assert verdict(found(7, 6, 8, told_apart=told), **accuracy) == "not supported"


def test_predictions_say_no_more_than_consistent() -> None:
    predicted = {"evidence": "predicted", "n": None, "low": None, "high": None}
    assert verdict(found(1, **predicted), scales=["predicted", "paper"]) == "consistent with"
    assert verdict(found(9, **predicted), scales=["predicted", "paper"]) == "not consistent with"
    assert verdict(found(1, **predicted)) == "consistent with"


def test_a_claim_of_the_paper_s_size_is_not_tested_below_it() -> None:
    for scale in ("smoke", "desk", "gpu"):
        assert verdict(found(), scale=scale, scales=["paper"]) == "not tested here"
    assert verdict(found(), scale="paper", scales=["paper"]) == "supported"
    assert verdict(found(), scale="smoke") == "not tested here"
    # Nor does a prediction decide what can only be measured.
    assert verdict(found(evidence="predicted"), scale="paper", scales=["paper"]) == "not tested here"


def test_stand_in_data_carry_no_verdict() -> None:
    assert verdict(found(stand_in=True)) == "not tested here"
    assert verdict(found(9, 8, 10, stand_in=True)) == "not tested here"


@pytest.mark.parametrize(("evidence", "device"), [("simulated", "cuda"), ("emulated", "cuda"), ("native", "cpu")])
def test_what_is_of_a_gpu_is_neither_confirmed_nor_refuted_elsewhere(evidence: str, device: str) -> None:
    gpu = {"scale": "paper", "scales": ["paper"], "gpu": True}
    assert verdict(found(evidence=evidence), device=device, **gpu) == "not tested here"
    assert verdict(found(9, 8, 10, evidence=evidence), device=device, **gpu) == "not tested here"
    assert verdict(found(), device="cuda", **gpu) == "supported"


def test_a_diverged_seed_counts() -> None:
    assert verdict(found(diverged=1)) == "not supported"
    assert verdict(found(None, None, None, n=0, diverged=3, note="no seed finished")) == "not supported"
    assert verdict(found(None, None, None, n=0, note="no seed finished")) == "not tested here"
    # Where divergence is what is asked, it is the number itself.
    assert verdict(found(diverged=1), test="divergence") == "supported"


def test_one_seed_says_nothing() -> None:
    assert verdict(found(1, None, None, n=1)) == "inconclusive"


def test_an_illustration_is_never_judged() -> None:
    assert verdict(found(), aside="its configuration is not known") == "inconclusive"
    assert verdict(found(), scales=["paper"], aside="not an epoch") == "not tested here"


def test_an_interval_says_that_it_leaves_out_the_published_value() -> None:
    one = claim(threshold=LOWER)
    ask = Ask(name="toy", reader="change", published=-16.8)
    assert "leaves out the published -16.8" in judge(one, ask, found(0, -1, 1), scale="desk", device="cpu").why
    assert "published" not in judge(one, ask, found(0, -20, 1), scale="desk", device="cpu").why


def views(*verdicts: tuple[str | None, Any], needed: bool = False, aside: int | None = None) -> tuple[str, str]:
    judged = [
        Judged(
            Ask(name=f"r{index}", reader="change", view=view, needed=needed and index == aside,
                without_verdict="not known" if index == aside else None),
            found(), said, "why",
        )
        for index, (view, said) in enumerate(verdicts)
    ]  # fmt: skip
    return together(claim(), judged, scale="desk")


def test_readings_of_a_view_must_all_hold() -> None:
    assert views((None, "supported"), (None, "supported"))[0] == "supported"
    assert views((None, "supported"), (None, "not supported"))[0] == "not supported"
    assert views((None, "supported"), (None, "inconclusive"))[0] == "inconclusive"
    assert views((None, "supported"), (None, "no power at this scale"))[0] == "no power at this scale"
    assert views((None, "supported"), (None, "consistent with"))[0] == "consistent with"


def test_points_and_relative_change_are_judged_apart() -> None:
    verdict, reason = views(("points", "supported"), ("relative change", "not supported"))
    assert verdict == "inconclusive" and "points: supported" in reason and "relative change: not supported" in reason
    assert views(("points", "not supported"), ("relative change", "not supported"))[0] == "not supported"
    assert views(("points", "not supported"), ("relative change", "inconclusive"))[0] == "inconclusive"


def test_what_was_measured_goes_before_what_was_predicted() -> None:
    assert views(("measured", "supported"), ("predicted", "consistent with"))[0] == "supported"
    assert views(("measured", "supported"), ("predicted", "not consistent with"))[0] == "inconclusive"


def test_what_cannot_be_judged_leaves_a_claim_open_where_it_is_needed() -> None:
    assert views((None, "consistent with"), (None, None))[0] == "inconclusive"
    assert views((None, "consistent with"), (None, None), aside=1)[0] == "consistent with"
    assert views((None, "consistent with"), (None, None), aside=1, needed=True)[0] == "inconclusive"


def test_no_number_is_nan() -> None:
    with pytest.raises(MpnoError, match="nan for a number"):
        found(float("nan"))
