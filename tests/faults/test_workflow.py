"""A reproduction under faults: a job killed for memory, a second reproduction beside the first, Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from checker import faults_of

from mpno.plan import load_plan, room_digest

pytestmark = pytest.mark.faults
ROOT = Path(__file__).resolve().parents[2]
ITEM = "darcy-settings"
SIZES = {"source": "generate", "resolution": 8, "test_resolutions": [8], "n_train": 8, "n_test": 2}
BASE = {
    "data": SIZES,
    "model": {"name": "fno", "modes": [4, 4], "width": 4, "layers": 1},
    "training": {"epochs": 800, "batch_size": 4},
}
PART = {
    "name": "darcy",
    "base": BASE,
    "needs": [],
    "arms": [{"name": "full"}, {"name": "amp", "against": "full", "set": {"precision": "amp"}}],
    "scales": {name: {"seeds": [0]} for name in ("smoke", "desk", "gpu", "paper")},
}
BEGUN: list[subprocess.Popen[str]] = []
SOON = 600.0
"""Seconds within which what is waited for has to happen, on however busy a machine."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with two short trainings of one item."""
    project = tmp_path_factory.mktemp("faults") / "project"
    for name in ("src", "workflow", "profiles", "notebooks"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", project)
    (project / "config.yaml").write_text("scale: smoke\n")
    folder = project / "workflow" / "experiments"
    experiment = yaml.safe_load((folder / f"{ITEM}.yaml").read_text())
    for path in folder.iterdir():
        path.unlink()
    kept = {key: experiment[key] for key in ("item", "title", "paper", "draws", "drawn_by") if key in experiment}
    scales = {name: {"core_seconds": {}} for name in PART["scales"]}
    (folder / f"{ITEM}.yaml").write_text(yaml.safe_dump({**kept, "parts": [PART], "scales": scales}))
    return project


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """None of those begun outlives a test that failed."""
    yield
    for reproduction in BEGUN:
        if reproduction.poll() is None:
            reproduction.terminate()
            reproduction.wait()


@pytest.fixture(scope="module")
def runs(project: Path) -> list[Path]:
    return [Path("results", "smoke", "runs", name) for name in load_plan({"scale": "smoke"}, root=project).runs]


def begin(project: Path, runs: list[Path]) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE")}
    environment |= {"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *(f"{run}/metrics.json" for run in runs)]
    reproduction = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    BEGUN.append(reproduction)
    return reproduction


def said(reproduction: subprocess.Popen[str]) -> str:
    return reproduction.communicate(timeout=SOON)[0]


def until(found: Callable[[], bool], reproduction: subprocess.Popen[str]) -> None:
    end = time.monotonic() + SOON
    while not found():
        assert time.monotonic() < end and reproduction.poll() is None, said(reproduction)
        time.sleep(0.02)


def epochs_kept(project: Path, run: Path) -> list[str]:
    return sorted(path.name[:6] for path in (project / run.parent / f".{run.name}.resume").glob("[0-9]*.safetensors"))


def test_a_reproduction_survives_a_killed_job_a_second_one_and_an_interrupt(project: Path, runs: list[Path]) -> None:
    one, other = runs
    first = begin(project, runs)
    until(lambda: bool(epochs_kept(project, one) and epochs_kept(project, other)), first)
    job = int((project / one.parent / f".{one.name}.resume" / "lock").read_text())
    os.kill(job, signal.SIGSTOP)
    try:
        second = begin(project, runs)
        assert "LockException" in said(second) and second.returncode != 0, "two at once in one folder"
    finally:
        os.kill(job, signal.SIGKILL)  # what the kernel does to a process that takes too much memory
    text = said(first)
    assert first.returncode != 0, text
    assert not (project / one).exists() or not (project / one / "metrics.json").exists()
    assert epochs_kept(project, one) and faults_of(project / other, data_of(project), code(project)) == []
    ended = (project / other / "metrics.json").stat().st_mtime_ns

    at = epochs_kept(project, one)
    again = begin(project, runs)
    until(lambda: epochs_kept(project, one) > at, again)
    os.killpg(again.pid, signal.SIGINT)
    said(again)
    assert again.returncode != 0 and epochs_kept(project, one)

    last = begin(project, runs)
    text = said(last)
    assert last.returncode == 0, text
    assert (project / other / "metrics.json").stat().st_mtime_ns == ended, "what was whole is not made again"
    for run in runs:
        assert faults_of(project / run, data_of(project), code(project)) == []
    resumed = json.loads((project / one / "metrics.json").read_text())["resumed"]
    assert len(resumed) == 2 and 0 < resumed[0] < resumed[1]
    assert not list((project / one.parent).glob(".*"))


def data_of(project: Path) -> Path:
    (path,) = (project / "results" / "smoke" / "data").glob("*.h5")
    return path


def code(project: Path) -> str:
    return room_digest("train", project / "src" / "mpno")
