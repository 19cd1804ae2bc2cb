"""From readings to verdicts: what each may say, and what a claim's readings say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpno.paper.claims.measured import CHANGES, Measured
from mpno.paper.claims.model import Ask, Claim, Verdict

ORDER = ("smoke", "desk", "gpu", "paper")
"""Scales by size: what can be decided at one can be at those after it."""
GOOD: tuple[Verdict, ...] = ("supported", "consistent with")
BAD: tuple[Verdict, ...] = ("not supported", "not consistent with")
AT_MOST: dict[Verdict, Verdict] = {"supported": "consistent with", "not supported": "not consistent with"}
"""What predictions may say."""


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
    return Judged(ask, found, AT_MOST.get(verdict, verdict) if found.predicted else verdict, why)


def _illustrates(claim: Claim, ask: Ask, found: Measured, scale: str, device: str) -> str:
    """Why a reading carries no verdict; empty where it may."""
    if ask.without_verdict:
        return ask.without_verdict
    if not _decides(claim, found, scale):
        if "paper" in claim.scales:
            return "it can be decided only at the published size on a GPU"
        return "it can be decided only at scale desk or larger"
    if found.stand_in:
        return "stand-in data carry no verdict"
    if claim.gpu and not found.predicted and (device != "cuda" or found.evidence != "native"):
        return f"it is of a GPU, and {found.evidence} records on {device} neither confirm nor refute it"
    lost = bool(found.diverged) and claim.test != "divergence"  # which is an answer, though without a number
    return (found.note or "there is no number") if found.effect is None and not lost else ""


def _decides(claim: Claim, found: Measured, scale: str) -> bool:
    """Whether records of this kind can decide the claim at a scale."""
    if found.predicted and "predicted" in claim.scales:
        return True
    sizes = [where for where in claim.scales if where != "predicted" and not (found.predicted and where == "paper")]
    return any(ORDER.index(scale) >= ORDER.index(where) for where in sizes)


def _within(claim: Claim, ask: Ask, found: Measured) -> tuple[Verdict, str]:
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
        zero = found.unit in CHANGES and low <= 0 <= high
        why = "its interval reaches over a bound" + (" and contains zero" if zero else "")
        left_out = ask.published is not None and not low <= ask.published <= high
        return "inconclusive", why + (f"; it leaves out the published {ask.published:g}" if left_out else "")
    if claim.threshold.control and found.told_apart is not True:
        control = found.control or "there is no few-bit control"
        return "no power at this scale", f"within the margin, but without power ({control})"
    return "supported", "within the bounds"


def together(claim: Claim, judged: Sequence[Judged], *, scale: str) -> tuple[Verdict, str]:
    """The verdict on the claim and the reason, one sentence.

    Readings of a view must all hold. Views, which read ambiguous words or sizes each in its own way, must agree.
    """
    if all(one.verdict is None for one in judged):
        first = next((one for one in judged if not one.ask.without_verdict), judged[0])
        return _open(claim, first, scale)
    views = list(dict.fromkeys(one.ask.view for one in judged if one.ask.view is not None and one.verdict is not None))
    found = {view: _all_of([one for one in judged if one.ask.view in (None, view)]) for view in views or [None]}
    verdicts: list[Verdict] = list(dict.fromkeys(verdict for verdict, _ in found.values()))
    if len(verdicts) == 1:
        return verdicts[0], _sentence(claim, "; ".join(why for _, why in found.values()))
    if set(verdicts) in (set(GOOD), set(BAD)):  # what was measured goes before what was predicted
        measured: Verdict = "supported" if "supported" in verdicts else "not supported"
        return measured, _sentence(claim, "; ".join(why for _, why in found.values()))
    each = "; ".join(f"{view}: {verdict} ({why})" for view, (verdict, why) in found.items())
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
        return "inconclusive", "; ".join(f"{one.ask.name} could not be judged: {one.why}" for one in opened)
    weakest: Verdict = "consistent with" if any(one.verdict == "consistent with" for one in counted) else "supported"
    return weakest, "; ".join(f"{one.ask.name}, {one.found.shown}" for one in counted)


def _open(claim: Claim, first: Judged, scale: str) -> tuple[Verdict, str]:
    """Where nothing could be judged: inconclusive, unless it is this scale, device or data that cannot judge it."""
    tried = first.ask.without_verdict is not None and _decides(claim, first.found, scale)
    why = f"{first.why}; {first.ask.name} here, {first.found.shown}, is an illustration"
    return "inconclusive" if tried else "not tested here", _sentence(claim, why)


def _sentence(claim: Claim, text: str) -> str:
    text = f"{text}; {claim.caveat}" if claim.caveat else text
    named = any(char.isdigit() for char in text.split()[0])  # as fp16 is
    return f"{text if named else text[0].upper() + text[1:]}."
