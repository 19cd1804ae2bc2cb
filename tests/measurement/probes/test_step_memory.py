"""Cases of a file, their predicted memory and what fits a card."""

from __future__ import annotations

from typing import Any

import pytest

from mpno.measurement.libraries import CONTEXT_MIB
from mpno.measurement.probes.capacity import capacity, largest_below
from mpno.measurement.probes.step_memory import step_memory
from mpno.measurement.probes.step_timeline import step_timeline
from mpno.specs import MpnoError

RUN: dict[str, Any] = {
    "data": {"name": "darcy", "source": "generate", "resolution": 32, "test_resolutions": [32]},
    "model": {
        "name": "tfno", "modes": [8, 8], "width": 16, "layers": 2, "norm": "group",
        "contraction": {"factorization": "cp", "rank": 4, "layout": "corners"},
    },
    "training": {"batch_size": 16},
}  # fmt: skip
CASES = [
    {"implementation": "authors", "run": RUN, "each": [
        {"name": "full", "precision": "full"}, {"name": "A", "precision": "mixed", "option": "A"}]},
    {"run": RUN, "each": [{"name": "ours", "precision": "mixed", "set": {"transform": "matmul"}}]},
]  # fmt: skip


def test_a_row_per_case() -> None:
    rows = {row["case"]: row for row in step_memory([], {"cases": CASES})}
    assert list(rows) == ["full", "A", "ours"]
    for row in rows.values():
        assert row["allocated"] <= row["reserved"] == row["shown"] - CONTEXT_MIB
        assert 0 < row["spectral_share"] < 1 and row["evidence"] == "predicted"
    assert rows["ours"]["activations"] < rows["full"]["activations"]
    assert (rows["ours"]["transform"], rows["full"]["implementation"]) == ("matmul", "authors")


def test_only_the_cases_asked_for() -> None:
    assert [row["case"] for row in step_memory([], {"cases": CASES, "only": ["A"]})] == ["A"]


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ({"implementation": "theirs"}, "probe, case full: 'theirs'; did you mean authors. allowed: ours, authors"),
        ({"each": [{"name": "x", "precision": "full", "option": "D"}]}, "probe, case x: 'D'; allowed: A, B, C"),
        ({"each": [{"name": "x", "precision": "ful"}]}, "probe, case x: precision is 'ful'"),
    ],
)
def test_a_wrong_case_is_named(group: dict[str, Any], words: str) -> None:
    with pytest.raises(MpnoError, match=words):
        step_memory([], {"cases": [{**CASES[0], **group}]})


def test_a_timeline_holds_the_peak() -> None:
    rows = step_timeline([], {"cases": CASES, "only": ["full"], "points": 20})
    (whole,) = step_memory([], {"cases": CASES, "only": ["full"]})
    kinds = ("parameters", "gradients", "optimiser", "data", "activations", "temporaries", "workspaces")
    assert max(sum(row[kind] for kind in kinds) for row in rows) == pytest.approx(whole["allocated"])
    assert [row["phase"] for row in rows] == sorted(
        (row["phase"] for row in rows), key=["forward", "backward", "optimiser"].index
    )


@pytest.mark.parametrize("limit", [0.5, 1.0, 7.3, 100.0, 4321.0])
def test_the_largest_count_below_a_limit(limit: float) -> None:
    """Along a line it is the largest, with few calls; beside one it fits and is near."""
    for rise, share in ((lambda n: float(n), 0.0), (lambda n: 3.5 + 0.7 * n + 0.3 * (n % 3), 0.05)):
        expected = max((n for n in range(1, 7000) if rise(n) <= limit), default=0)
        calls: list[int] = []

        def counted(n: int, rise: Any = rise, calls: list[int] = calls) -> float:
            calls.append(n)
            return rise(n)

        found = largest_below(counted, limit)
        assert (1 - share) * expected - 3 * bool(share) <= found <= expected
        assert len(set(calls)) < 10


def test_what_fits_a_card() -> None:
    rows = capacity([], {"cases": CASES, "only": ["full", "A"], "cards": [0.5, 1], "resolutions": [32, 48, 64]})
    assert [(row["case"], row["card_gib"]) for row in rows] == [("full", 0.5), ("full", 1), ("A", 0.5), ("A", 1)]
    small, large, _, half = rows
    assert 1 <= small["largest_batch"] < large["largest_batch"]
    # 48 points have no half transform on a GPU.
    assert large["largest_resolution"] == 64 and half["largest_resolution"] in (32, 64)
    run = {**RUN, "training": {"batch_size": large["largest_batch"]}}
    (row,) = step_memory([], {"cases": [{**CASES[0], "run": run}], "only": ["full"]})
    assert row["shown"] <= 1024
