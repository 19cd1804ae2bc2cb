"""The check as a whole: its questions in order, the time they may take, and the file."""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path

from mpno.measurement.cuda_check import contractions, kernels, steps, training, transforms
from mpno.measurement.cuda_check.answers import Answer, Question
from mpno.measurement.cuda_check.bench import Bench, open_bench
from mpno.measurement.cuda_check.record import Check, Record, in_a_line, overall
from mpno.specs.files import write_text

BUDGET = 420.0
"""Seconds after which nothing is begun that may not end in time: 8 minutes, less one to load libraries in."""


def questions() -> list[Question]:
    """What is asked, the most telling first, since time may end."""
    return [
        transforms.OVERFLOW,
        transforms.VALUES,
        kernels.QUESTION,
        steps.MEMORY,
        training.QUESTION,
        steps.STEP_TIMES,
        contractions.QUESTION,
    ]


def cuda_check(out: Path, *, dry: bool = False, source_digest: str = "") -> Record:
    """Verify on the current GPU what no CPU can, and write the findings to `out`, anew after each check.

    Args:
        out: the JSON file.
        dry: on meta tensors, where no GPU is: everything runs, and what only a GPU decides stays open.
        source_digest: of the code, for the record.

    Raises:
        MpnoError: not dry, and no GPU.
    """
    return check(open_bench(dry=dry), questions(), out, dry=dry, source_digest=source_digest)


def check(bench: Bench, asked: list[Question], out: Path, *, dry: bool, source_digest: str) -> Record:
    """Put the questions that `asked` holds to a bench."""
    started = time.perf_counter()
    checks: list[Check] = []
    while True:
        left = [_open(question, "not begun when this was written") for question in asked[len(checks) :]]
        seconds = time.perf_counter() - started
        record = Record(
            dry=dry,
            device=bench.about(),
            passed=overall([check.passed for check in [*checks, *left]]),
            seconds=seconds,
            budget=BUDGET,
            source_digest=source_digest,
            checks=[*checks, *left],
        )
        write_text(out, record.to_json())
        if not left:
            return record
        question = asked[len(checks)]
        if seconds + question.allowance > BUDGET:
            reason = f"{BUDGET - seconds:.0f} s of {BUDGET:.0f} were left, and it may take {question.allowance:.0f}"
            checks.append(_open(question, reason))
        else:
            checks.append(_put(bench, question))
        print(line_of(checks[-1]), flush=True)


def line_of(check: Check) -> str:
    """A check as printed: its verdict and, where it is not passed, why."""
    verdict = {True: "passed", False: "FAILED", None: "open"}[check.passed]
    return f"{check.name:<18}{verdict:<8}{check.seconds:7.1f} s" + (f"  {check.reason}" if check.reason else "")


def _put(bench: Bench, question: Question) -> Check:
    started, error = time.perf_counter(), None
    answer = Answer([])
    # What an exception holds on to is let go of before the bench is cleaned.
    with bench.clean(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ComplexHalf support is experimental")
        try:
            answer = question.ask(bench)
        except Exception as raised:
            # Whatever it is, it is this check's finding, and no reason to lose the others.
            error = in_a_line(raised)
    cases = answer.cases
    passed = False if error else overall([case.passed for case in cases if case.rule != "shown"])
    return Check(
        name=question.name,
        verifies=question.verifies,
        passed=passed,
        reason=error or _reason(answer),
        tolerance=question.tolerance,
        seconds=time.perf_counter() - started,
        cases=cases,
        curves={
            name: [loss if math.isfinite(loss) else None for loss in curve] for name, curve in answer.curves.items()
        },
    )


def _reason(answer: Answer) -> str | None:
    wrong = [case for case in answer.cases if case.passed is False]
    if wrong:
        first = wrong[0]
        said = first.error or f"found {first.found}, expected {first.expected}, {first.rule} {first.tolerance}"
        return f"{len(wrong)} of {len(answer.cases)} cases, first {first.name}: {said}"
    unmeasured = sum(case.passed is None and case.rule != "shown" for case in answer.cases)
    return f"{unmeasured} of {len(answer.cases)} cases need a GPU" if unmeasured else None


def _open(question: Question, reason: str) -> Check:
    return Check(
        name=question.name,
        verifies=question.verifies,
        passed=None,
        reason=reason,
        tolerance=question.tolerance,
        seconds=0.0,
    )
