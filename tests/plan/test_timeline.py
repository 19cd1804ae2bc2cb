"""Where the time of a run went, from hand-made times of its jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpno.plan import load_plan
from mpno.plan.timeline import read_timeline

ROOT = Path(__file__).resolve().parents[2]


def job(stage: str, name: str, loaded: float, started: float, ended: float) -> str:
    return json.dumps({"stage": stage, "name": name, "loaded": loaded, "started": started, "ended": ended})


def test_work_overhead_and_the_chain_that_took_longest(tmp_path: Path) -> None:
    plan = load_plan({"scale": "smoke", "item": "unet"}, root=ROOT)
    slow, fast, *_ = plan.runs
    slug = plan.runs[slow].data.slug
    (time,) = plan.times
    path = tmp_path / "times.jsonl"
    entries = [
        job("train", slow, 1.0, 2.0, 900.0),  # of an earlier call
        job("data", slug, 1000.0, 1001.0, 1005.0),
        job("train", fast, 1005.0, 1007.0, 1010.0),
        job("train", slow, 1005.0, 1007.0, 1015.0),
        job("time", time, 1015.0, 1016.0, 1018.0),
        job("collect", "unet", 1018.0, 1019.0, 1019.5),
        job("draw", "unet", 1020.0, 1021.0, 1025.0),
        job("report", "index", 1025.0, 1026.0, 1026.5),
    ]
    path.write_text("\n".join(entries) + "\n")
    found = read_timeline(plan, path, since=1000.0, until=1030.0, cores=2)
    assert found is not None
    # Timings have both cores to themselves: 4 + 3 + 8 + 2 * 2.
    assert (found.wall, found.work) == (30.0, 19.0)
    assert found.overhead == pytest.approx(1 - 19 / 60)
    assert found.stages["train"] == (2, 11.0, 4.0)
    chain = [("data", slug), ("train", slow), ("collect", "unet"), ("draw", "unet"), ("report", "index")]
    assert [name for name, _ in found.path] == chain
    assert [seconds for _, seconds in found.path] == [5.0, 10.0, 1.5, 5.0, 1.5]
    assert "overhead 68.3 %" in str(found) and "critical path, 0 min 23 s" in str(found)


def test_without_jobs_there_is_nothing_to_say(tmp_path: Path) -> None:
    plan = load_plan({"scale": "smoke", "item": "unet"}, root=ROOT)
    assert read_timeline(plan, tmp_path / "none.jsonl", since=0.0, until=1.0, cores=2) is None
