"""Where the time of a run of the workflow went: work, overhead, and the chain of jobs that more cores leave as long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpno.plan.build import Plan

WORK = ("data", "train", "time", "memory", "probe")
"""Stages that are the reproduction itself; what else the cores did, or did not do, is overhead."""
Job = tuple[str, str]


@dataclass(frozen=True)
class Timeline:
    """The jobs of one run of the workflow.

    Attributes:
        wall: seconds from its first moment to its last.
        cores: how many it had.
        work: core-seconds inside the stages of :data:`WORK`; a job that had every core counts for all of them.
        stages: per stage, jobs, core-seconds inside it and seconds of start-up.
        path: the chain of jobs that depend on one another and took longest together, with their seconds.
    """

    wall: float
    cores: int
    work: float
    stages: Mapping[str, tuple[int, float, float]]
    path: tuple[tuple[Job, float], ...]

    @property
    def overhead(self) -> float:
        """The share of the cores' time that was not work."""
        return 1 - self.work / (self.wall * self.cores)

    def __str__(self) -> str:
        had = self.wall * self.cores
        lines = [
            f"{_clock(self.wall)} on {self.cores} cores: {self.work:.0f} of {had:.0f} core-seconds in data, training "
            f"and measuring, overhead {100 * self.overhead:.1f} %"
        ]
        for stage, (jobs, inside, startup) in self.stages.items():
            lines.append(f"  {stage:8} {jobs:4} jobs  {inside:7.0f} core-s inside  {startup:6.0f} s of start-up")
        chain = " -> ".join(f"{stage} {name} {seconds:.0f} s" for (stage, name), seconds in self.path)
        total = sum(seconds for _, seconds in self.path)
        return "\n".join([*lines, f"critical path, {_clock(total)}: {chain}"])


def read_timeline(plan: Plan, path: Path, *, since: float, until: float, cores: int) -> Timeline | None:
    """What the jobs said in `path` since the time `since`; None where no job ran."""
    if not path.is_file():
        return None
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    # A job that was started again counts with its last time in the chain, with all of them in the sums.
    entries = [entry for entry in entries if entry["loaded"] >= since]
    if not entries:
        return None
    alone = {("time", name) for name in plan.times}
    alone |= {("probe", name) for name, probe in plan.probes.items() if probe.probe.exclusive}
    stages: dict[str, tuple[int, float, float]] = {}
    work, took = 0.0, {}
    for entry in entries:
        job = entry["stage"], entry["name"]
        inside = (entry["ended"] - entry["started"]) * (cores if job in alone else 1)
        count, sum_inside, sum_startup = stages.get(job[0], (0, 0.0, 0.0))
        stages[job[0]] = count + 1, sum_inside + inside, sum_startup + entry["started"] - entry["loaded"]
        work += inside if job[0] in WORK else 0.0
        took[job] = entry["ended"] - entry["loaded"]
    return Timeline(until - since, cores, work, stages, _longest(_needs(plan), took))


def _needs(plan: Plan) -> dict[Job, list[Job]]:
    """Which jobs each job waits for."""
    needs: dict[Job, list[Job]] = {("train", run): [("data", spec.data.slug)] for run, spec in plan.runs.items()}
    for stage, measured in (("time", plan.times), ("memory", plan.memories)):
        needs |= {(stage, name): [("data", part.data.slug) for part in parts] for name, parts in measured.items()}
    for name, probe in plan.probes.items():
        runs: list[Job] = [("train", run) for run in probe.runs]
        needs["probe", name] = [*runs, *(("data", data.slug) for _, _, data in probe.arms)]
    for name, item in plan.items.items():
        records: list[Job] = [("train", run) for run in item.runs]
        records += [("time", part.time) for part in item.parts if part.time]
        records += [("memory", part.memory) for part in item.parts if part.memory]
        needs["collect", name] = [*records, *(("probe", probe.id) for probe in item.probes)]
        needs["draw", name] = [("collect", name)]
    needs["report", "index"] = [("draw", name) for name in plan.items]
    return needs


def _longest(needs: Mapping[Job, list[Job]], took: Mapping[Job, float]) -> tuple[tuple[Job, float], ...]:
    best: dict[Job, tuple[float, tuple[Any, ...]]] = {}

    def chain(job: Job) -> tuple[float, tuple[Any, ...]]:
        if job not in best:
            before = max(map(chain, needs.get(job, ())), key=lambda found: found[0], default=(0.0, ()))
            own = took.get(job, 0.0)
            best[job] = before[0] + own, (*before[1], *([(job, own)] if job in took else []))
        return best[job]

    return max(map(chain, {*needs, *took}), key=lambda found: found[0])[1]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"
