"""Copies of the project with two items at scale smoke, and Snakemake in them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ITEMS = ("modes", "schedule")
"""Between them they have every kind of job, seven trainings of two seconds, and data that are solved here."""
# Every `python -m mpno` of a job says when it began and ended, and what cards it saw.
WITNESS = """
import atexit, os, sys, time

job = os.environ.get("SLURM_JOB_ID")
if job and sys.orig_argv[1:3] == ["-m", "mpno"]:
    def say(what):
        line = f"{what} {job} {sys.orig_argv[3]} {os.environ.get('CUDA_VISIBLE_DEVICES')} {time.time()}"
        with open(os.environ["WITNESS"], "a") as file:
            file.write(line + chr(10))

    say("began")
    atexit.register(say, "ended")
"""


def snakemake(project: Path, *arguments: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start Snakemake in `project`, what it says in said.txt."""
    with (project / "said.txt").open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=project,
            env=dict(environment),
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
        )


def finish(project: Path, *arguments: str, environment: Mapping[str, str]) -> str:
    """Run Snakemake to its end, which must be a good one; return what it said."""
    with snakemake(project, *arguments, environment=environment) as process:
        status = process.wait()
    said = (project / "said.txt").read_text()
    assert status == 0, said[-6000:]
    return said


def copy_project(project: Path) -> Path:
    """The project at scale smoke with two items, and the witness."""
    project.mkdir(parents=True)
    for name in ("src", "workflow", "profiles", "notebooks"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", project)
    (project / "config.yaml").write_text(f"scale: smoke\nitems: [{', '.join(ITEMS)}]\n")
    (project / "witness").mkdir()
    (project / "witness" / "sitecustomize.py").write_text(WITNESS)
    return project


def environment_of(project: Path, base: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in base.items() if not key.startswith("SNAKEMAKE")}
    paths = f"{project / 'src'}:{project / 'witness'}"
    return {**kept, "PYTHONPATH": paths, "WITNESS": str(project / "witness.txt"), "OMP_NUM_THREADS": "1"}
