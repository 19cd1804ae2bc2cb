"""What a check of a GPU leaves behind: cases with a fixed tolerance each, and the one JSON file that holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeFloat, model_validator

Value = bool | int | FiniteFloat | str
Rule = Literal["equal", "relative", "at most", "at least", "shown"]
"""How `found` is judged: equal to `expected`, within `tolerance` times it, at most or at least `tolerance`, or not."""


class Strict(BaseModel):
    """Unknown keys, converted types and numbers that are not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Case(Strict):
    """One number, or one fact, of a check.

    Attributes:
        name: what was looked at, with its size and unit.
        expected: what prediction, simulation or arithmetic says; None where the tolerance says it all.
        found: what the device gave; None where nothing was measured.
        rule: see :data:`Rule`.
        tolerance: fixed beforehand; the check says why.
        passed: None of what is only shown, and where nothing was measured.
        error: why nothing was, where it was tried.
    """

    name: str
    expected: Value | None = None
    found: Value | None = None
    rule: Rule = "shown"
    tolerance: FiniteFloat | None = None
    passed: bool | None = None
    error: str | None = None

    @model_validator(mode="after")
    def _judged_by_its_rule(self) -> Case:
        verdict = verdict_of(self.rule, self.expected, self.found, self.tolerance) if self.error is None else False
        if self.passed is not verdict:
            raise ValueError(f"{self.name}: passed is {self.passed}, its rule {self.rule!r} says {verdict}")
        return self


class Check(Strict):
    """One of the questions that only a GPU answers.

    Attributes:
        name: as printed.
        verifies: the question, in a sentence.
        reason: why `passed` is None or False; None of a check that passed.
        tolerance: the tolerances of its cases, and why these.
        seconds: wall time.
        curves: losses of trainings, step by step; None where one was not finite.
    """

    name: str
    verifies: str
    passed: bool | None
    reason: str | None
    tolerance: str
    seconds: NonNegativeFloat
    cases: list[Case] = []
    curves: dict[str, list[FiniteFloat | None]] = {}

    @model_validator(mode="after")
    def _reason_where_not_passed(self) -> Check:
        if (self.reason is None) != (self.passed is True):
            raise ValueError(f"{self.name}: passed is {self.passed} with reason {self.reason!r}")
        if self.passed and any(case.passed is None and case.rule != "shown" for case in self.cases):
            raise ValueError(f"{self.name}: passed, with cases that nothing was measured of")
        return self


class Device(Strict):
    """What was checked, and with which libraries. `memory` is in bytes."""

    name: str
    capability: str | None
    memory: int | None
    torch: str
    cuda: str | None
    cudnn: int | None


class Record(Strict):
    """The whole file. `passed` is False if one check failed, None if none did but not all were decided."""

    schema_: Literal[1] = Field(1, alias="schema")
    dry: bool
    device: Device
    passed: bool | None
    seconds: NonNegativeFloat
    budget: NonNegativeFloat
    source_digest: str
    checks: list[Check]

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def judged(
    name: str,
    found: Any,
    rule: Rule = "shown",
    *,
    expected: Any = None,
    tolerance: float | None = None,
) -> Case:
    """A case with its verdict. A number that is not finite is an error, since JSON has no word for it."""
    if isinstance(found, float) and not math.isfinite(found):
        return failed(name, f"found {found}", rule, expected=expected, tolerance=tolerance)
    passed = verdict_of(rule, expected, found, tolerance)
    return Case(name=name, expected=expected, found=found, rule=rule, tolerance=tolerance, passed=passed)


def failed(
    name: str, error: BaseException | str, rule: Rule = "equal", *, expected: Any = None, tolerance: float | None = None
) -> Case:
    """A case that could not be measured."""
    return Case(name=name, expected=expected, rule=rule, tolerance=tolerance, passed=False, error=in_a_line(error))


def in_a_line(error: BaseException | str) -> str:
    """The first line of what an exception says, after its kind."""
    if isinstance(error, str):
        return error
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0][:300] if said else ''}"


def verdict_of(rule: Rule, expected: Any, found: Any, tolerance: float | None) -> bool | None:
    """Whether `found` passes; None where there is nothing to judge."""
    if rule == "shown" or found is None:
        return None
    if rule == "equal":
        return bool(found == expected)
    assert tolerance is not None
    if rule == "relative":
        return bool(abs(found - expected) <= tolerance * abs(expected))
    return bool(found <= tolerance if rule == "at most" else found >= tolerance)


def overall(verdicts: Sequence[bool | None]) -> bool | None:
    """False if one is, else None if one is, else True."""
    return False if False in verdicts else None if None in verdicts else True
