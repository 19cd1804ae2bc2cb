"""The workflow on a real SLURM of one node with two cards that are none."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import slurm
from cluster_toy import ROOT, copy_project, environment_of, finish, snakemake

from mpno.plan import load_plan

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(slurm.missing() is not None, reason=f"no SLURM: {slurm.missing()}"),
]
# Jobs take seconds here, and the folder is no network's.
PROFILE = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5")
LONG = ("--config", "items=schedule", "set=training.epochs=100")
"""Trainings of half a minute, to be disturbed."""
SHORT = (*LONG[:2], "set=training.epochs=5")


def mixed_run(change: str) -> str:
    """The run in mixed precision of the item on schedules with a change."""
    planned = load_plan({"scale": "smoke", "items": "schedule", "set": change.removeprefix("set=")}, root=ROOT)
    return next(run for run, spec in planned.runs.items() if spec.precision.label == "mixed")


RUN = mixed_run(LONG[-1])
TARGET = f"results/smoke/runs/{RUN}/metrics.json"


@dataclass(frozen=True)
class Job:
    """What SLURM knows of a job."""

    number: int
    name: str
    state: str
    task: str
    folder: str
    mib: int
    began: str
    ended: str


def jobs(site: Mapping[str, str], project: Path) -> list[Job]:
    """The jobs ever submitted from `project`, in that order."""
    text = slurm.said(site, "scontrol", "show", "jobs")
    found = []
    for block in text.split("\n\n"):
        fields = dict(re.findall(r"(\w+)=(\S*)", block))
        if fields.get("WorkDir") == str(project):
            mib = {"M": 1, "G": 1024}[fields["MinMemoryNode"][-1]] * float(fields["MinMemoryNode"][:-1])
            found.append(
                Job(
                    int(fields["JobId"]),
                    fields["JobName"],
                    fields["JobState"],
                    fields["Comment"].removeprefix("rule_"),
                    fields["WorkDir"],
                    int(mib),
                    fields["StartTime"],
                    fields["EndTime"],
                )
            )
    return sorted(found, key=lambda job: job.number)


def wait_for(what: Callable[[], Any], seconds: float = 300) -> Any:
    """Wait until `what` returns something true, and return that."""
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, f"waited {seconds} s in vain"
        time.sleep(0.2)
    return found


def same_results(project: Path, other: Path, folder: str) -> None:
    """What was trained and what was asked of it is the same in both, bit by bit, times apart."""
    root = other / "results/smoke"
    files = [path.relative_to(other) for path in sorted((root / folder).rglob("*.*")) if path.is_file()]
    assert files
    for path in files:
        mine, theirs = ((place / path).read_bytes() for place in (project, other))
        if path.name == "metrics.json":
            mine, theirs = (json.loads(text)["metrics"] for text in (mine, theirs))
        elif path.name == "history.csv":
            mine, theirs = (without_times(text.decode()) for text in (mine, theirs))
        assert mine == theirs, path


def without_times(history: str) -> list[dict[str, str]]:
    rows = list(csv.DictReader(history.splitlines()))
    assert rows
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def trainings(site: Mapping[str, str], project: Path, begun: int) -> list[Job]:
    """The trainings submitted from `project` after `begun` jobs."""
    return [job for job in jobs(site, project)[begun:] if job.task.startswith("train_")]


def training(site: Mapping[str, str], project: Path, begun: int) -> Job | None:
    """The first training of `project` after `begun` jobs, once it trains."""
    started = trainings(site, project, begun)
    if not started or started[0].state != "RUNNING":
        return None
    said = project / "witness.txt"
    return started[0] if f"began {started[0].number} train" in said.read_text() else None


def checkpoints(project: Path) -> int:
    """How many the long training keeps just now."""
    return len(list((project / "results/smoke/runs" / f".{RUN}.resume").glob("*.safetensors")))


def resumed_after(project: Path) -> int:
    """The epoch after which the long training last went on."""
    log = (project / "results/smoke/logs/train" / f"{RUN}.log").read_text()
    (epoch,) = re.findall(r"^goes on after epoch (\d+) of 100$", log, flags=re.MULTILINE)
    return int(epoch)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a SLURM that runs."""
    with slurm.running(tmp_path_factory.mktemp("slurm") / "site") as environment:
        yield environment


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Future[Path], Future[Path]]]:
    """The project on this machine, being run while SLURM is waited for: first as it is, then the long training."""
    project = copy_project(tmp_path_factory.mktemp("local") / "project")
    environment = environment_of(project, os.environ)

    def run(*arguments: str) -> Path:
        finish(project, "--cores", "2", *arguments, environment=environment)
        return project

    with ThreadPoolExecutor(max_workers=1) as one_at_a_time:
        yield one_at_a_time.submit(run), one_at_a_time.submit(run, TARGET, *LONG)


@pytest.fixture(scope="module")
def local(here: tuple[Future[Path], Future[Path]]) -> Path:
    """The project after a run on this machine."""
    return here[0].result()


@pytest.fixture(scope="module")
def undisturbed(here: tuple[Future[Path], Future[Path]]) -> Path:
    """The same with the long training."""
    return here[1].result()


@pytest.fixture(scope="module")
def finished(
    here: tuple[Future[Path], Future[Path]], site: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The project after a run on SLURM, which has the one on this machine beside it."""
    project = copy_project(tmp_path_factory.mktemp("cluster") / "project")
    finish(project, *PROFILE, environment=environment_of(project, site))
    return project


def test_the_results_are_those_of_a_local_run(finished: Path, local: Path) -> None:
    for folder in ("runs", "probes"):
        same_results(local, finished, folder)  # here the long training has perhaps ended too
    assert (finished / "results/smoke/report/index.html").is_file()


def test_every_long_job_was_one_of_slurm_and_every_short_one_was_not(finished: Path, site: dict[str, str]) -> None:
    done = jobs(site, finished)
    assert {job.state for job in done} == {"COMPLETED"}
    assert len({job.task for job in done}) == len(done)
    rules = [re.split("_wildcards_|_", job.task)[0] for job in done]
    counts = {rule: rules.count(rule) for rule in rules}
    assert counts == {"data": 2, "train": 7, "time": 1, "memory": 1, "probe": 1}
    assert all(job.name.startswith("mpno_") for job in done)


def test_jobs_side_by_side_had_a_card_each(finished: Path) -> None:
    spans: dict[str, dict[str, float]] = {}
    cards: dict[str, str] = {}
    for line in (finished / "witness.txt").read_text().splitlines():
        what, job, command, card, at = line.split()
        if command == "train":
            spans.setdefault(job, {})[what] = float(at)
            cards[job] = card
    beside = [
        (one, other)
        for one, other in combinations(spans, 2)
        if spans[one]["began"] < spans[other]["ended"] and spans[other]["began"] < spans[one]["ended"]
    ]
    assert beside
    assert all(cards[one] != cards[other] for one, other in beside)
    assert set(cards.values()) == {"0", "1"}


def test_a_cancelled_training_goes_on_with_more_memory_and_ends_with_the_same_bits(
    finished: Path, undisturbed: Path, site: dict[str, str]
) -> None:
    begun = len(jobs(site, finished))
    with snakemake(finished, *PROFILE, TARGET, *LONG, environment=environment_of(finished, site)) as process:
        first = wait_for(lambda: training(site, finished, begun))
        wait_for(lambda: checkpoints(finished) == 2)
        slurm.said(site, "scancel", str(first.number))
        assert process.wait() == 0, (finished / "said.txt").read_text()[-6000:]
    first, second = trainings(site, finished, begun)
    assert (first.state, second.state) == ("CANCELLED", "COMPLETED")
    assert first.task == second.task == f"train_wildcards_{RUN}"
    assert second.mib == pytest.approx(2 * first.mib, abs=2)
    assert resumed_after(finished) >= 2
    same_results(finished, undisturbed, f"runs/{RUN}")


def test_what_a_killed_snakemake_left_running_is_cancelled_before_it_is_made_again(
    finished: Path, undisturbed: Path, site: dict[str, str]
) -> None:
    environment = environment_of(finished, site)
    shutil.rmtree(finished / "results/smoke/runs" / RUN, ignore_errors=True)
    begun = len(jobs(site, finished))
    with snakemake(finished, *PROFILE, TARGET, *LONG, environment=environment) as process:
        wait_for(lambda: training(site, finished, begun) and checkpoints(finished))
        # While it lives, another one is refused and leaves its job alone.
        with snakemake(finished, *PROFILE, TARGET, *LONG, environment=environment) as other:
            assert other.wait() == 1
        assert "LockException" in (finished / "said.txt").read_text()
        assert training(site, finished, begun)
        process.kill()
    finish(finished, "--cores", "1", "--unlock", *LONG, environment=environment)
    said = finish(finished, *PROFILE, TARGET, *LONG, environment=environment)
    assert "mpno: cancelled 1 jobs that a killed workflow had left" in said
    assert "core-seconds in data" not in said  # of how many cores, on a cluster
    orphan, again = trainings(site, finished, begun)
    assert (orphan.state, again.state) == ("CANCELLED", "COMPLETED")
    assert orphan.task == again.task == f"train_wildcards_{RUN}"
    assert orphan.ended <= again.began
    assert resumed_after(finished) >= 1
    same_results(finished, undisturbed, f"runs/{RUN}")


def test_what_a_killed_snakemake_left_running_and_has_ended_is_not_made_again(
    finished: Path, site: dict[str, str]
) -> None:
    environment = environment_of(finished, site)
    target = f"results/smoke/runs/{mixed_run(SHORT[-1])}/metrics.json"
    begun = len(jobs(site, finished))
    with snakemake(finished, *PROFILE, target, *SHORT, environment=environment) as process:
        wait_for(lambda: trainings(site, finished, begun))
        process.kill()
    wait_for(lambda: trainings(site, finished, begun)[0].state == "COMPLETED")
    finish(finished, "--cores", "1", "--unlock", *SHORT, environment=environment)
    assert "Nothing to be done" in finish(finished, *PROFILE, target, *SHORT, environment=environment)
    assert len(jobs(site, finished)) == begun + 1
