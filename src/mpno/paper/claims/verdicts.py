"""From readings to verdicts: what each may say, and what a claim's readings say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpno.paper.claims.measured import Measured
from mpno.paper.claims.model import Ask, Claim, Verdict

ORDER = ("smoke", "desk", "gpu", "paper")
"""Scales by size: what can be decided at one can be at those after it."""
GOOD: tuple[Verdict, ...] = ("supported", "consistent with")
BAD: tuple[Verdict, ...] = ("not supported", "not consistent with")


@dataclass(frozen=True)
class Judged:
    """A reading with what it says of the claim: nothing (verdict None) where it only illustrates, and why."""

    ask: Ask
    found: Measured
    verdict: Verdict | None
    why: str


def judge(claim: Claim, ask: Ask, found: Measured, *, scale: str, device: str) -> Judged:
    """Judge one reading: first whether it may count at all, then by the bounds."""
    why = _illustrates(claim, ask, found, scale, device)
    if why:
        return Judged(ask, found, None, why)
    verdict, why = _within(claim, ask, found)
    if found.predicted:
        verdict = {"supported": "consistent with", "not supported": "not consistent with"}.get(verdict, verdict)
    return Judged(ask, found, verdict, why)  # pyright: ignore[reportArgumentType]


def _illustrates(claim: Claim, ask: Ask, found: Measured, scale: str, device: str) -> str:
    """Why a reading carries no verdict; empty where it may."""
    if ask.without_verdict:
        return ask.without_verdict
    if found.stand_in:
        return "stand-in data carry no verdict"
    if not (found.predicted and "predicted" in claim.scales):
        sizes = [where for where in claim.scales if where != "predicted"]
        if not any(ORDER.index(scale) >= ORDER.index(where) for where in sizes):
            return "it can be decided only " + (
                "at the published size on a GPU" if "paper" in sizes else "at scale desk or larger" if sizes else
                "by prediction"
            )  # fmt: skip
        if claim.gpu and (device != "cuda" or found.evidence != "native"):
            return f"it is of a GPU, and {found.evidence} records on {device} neither confirm nor refute it"
    return (found.note or "there is no number") if found.effect is None else ""


def _within(claim: Claim, ask: Ask, found: Measured) -> tuple[str, str]:
    """The verdict by the bounds, and why: a diverged seed counts, one seed says nothing, a straddled bound little."""
    bounds = ask.bounds or claim.threshold
    if found.diverged and claim.test != "divergence":
        return "not supported", f"{found.diverged} of its seeds diverged"
    if found.n is not None and (found.n < 2 or found.low is None):
        return "inconclusive", f"{found.n} seed gives no interval" if found.n < 2 else "there is no interval"
    assert found.effect is not None
    low = found.effect if found.low is None else found.low
    high = found.effect if found.high is None else found.high
    if bounds.apart(low, high):
        return "not supported", "outside the bounds"
    if not (bounds.holds(low) and bounds.holds(high)):
        zero = " and contains zero" if low <= 0 <= high else ""
        return "inconclusive", f"its interval reaches over a bound{zero}"
    if claim.threshold.control and found.told_apart is not True:
        control = "no few-bit control" if found.told_apart is None else "its few-bit control is not told apart"
        return "no power at this scale", f"within the margin, but {control}"
    return "supported", "within the bounds"


def together(claim: Claim, judged: Sequence[Judged]) -> tuple[Verdict, str]:
    """The verdict on the claim and the reason, one sentence.

    Readings of a view must all hold. Views, which read ambiguous words or sizes each in its own way, must agree.
    """
    if all(one.verdict is None for one in judged):
        first = next((one for one in judged if not one.ask.without_verdict), judged[0])
        return _open(claim, first)
    views = list(dict.fromkeys(one.ask.view for one in judged if one.ask.view is not None and one.verdict is not None))
    found = {view: _all_of([one for one in judged if one.ask.view in (None, view)]) for view in views or [None]}
    verdicts = list(dict.fromkeys(verdict for verdict, _ in found.values()))
    if len(verdicts) == 1:
        return verdicts[0], _sentence(claim, "; ".join(why for _, why in found.values()))
    each = "; ".join(f"{view}: {verdict} ({why})" for view, (verdict, why) in found.items())
    good, bad = any(v in GOOD for v in verdicts), any(v in BAD for v in verdicts)
    if bad and not good:
        return next(v for v in verdicts if v in BAD), _sentence(claim, f"no view holds: {each}")
    return "inconclusive", _sentence(claim, f"views differ: {each}")


def _all_of(judged: list[Judged]) -> tuple[Verdict, str]:
    """Of readings that must all hold: the first that does not decides, and one that cannot be judged leaves it open."""
    counted = [one for one in judged if not one.ask.without_verdict]
    for wanted in (BAD, ("inconclusive",), ("no power at this scale",)):
        failing = [one for one in counted if one.verdict in wanted]
        if failing:
            verdict: Verdict = failing[0].verdict or "inconclusive"
            return verdict, "; ".join(f"{one.ask.name}, {one.found.shown}: {one.why}" for one in failing)
    opened = [one for one in judged if one.verdict is None and (one.ask.needed or not one.ask.without_verdict)]
    if opened:
        return "inconclusive", f"{opened[0].ask.name} could not be judged: {opened[0].why}"
    weakest: Verdict = "consistent with" if any(one.verdict == "consistent with" for one in counted) else "supported"
    return weakest, "; ".join(f"{one.ask.name}, {one.found.shown}" for one in counted)


def _aside(one: Judged) -> bool:
    return one.ask.without_verdict is not None


def _open(claim: Claim, first: Judged) -> tuple[Verdict, str]:
    """Where nothing could be judged: open, unless it is this scale or device that cannot judge it."""
    assumed = all(where == "predicted" for where in claim.scales) or (first.found.predicted and _aside(first))
    verdict: Verdict = "inconclusive" if assumed and "predicted" in claim.scales else "not tested here"
    return verdict, _sentence(claim, f"{first.why}; {first.ask.name} here, {first.found.shown}, is an illustration")


def _sentence(claim: Claim, text: str) -> str:
    text = f"{text}; {claim.caveat}" if claim.caveat else text
    return f"{text[0].upper()}{text[1:]}."
