"""Which jobs of SLURM a restarted workflow takes for its own, with stand-ins for SLURM's commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mpno.cli_cluster import cancel_orphans
from mpno.specs import MpnoError

JOBS = {("train", "run_a"), ("train", "run_b")}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, and a SLURM that lists the lines of squeue.txt and forgets all once something is cancelled."""
    commands = tmp_path / "bin"
    commands.mkdir()
    listed, asked = tmp_path / "squeue.txt", tmp_path / "scancel.txt"
    (commands / "squeue").write_text(f"#!/bin/sh\ncat {listed}\n")
    (commands / "scancel").write_text(f'#!/bin/sh\necho "$@" >> {asked}\n: > {listed}\n')
    for command in commands.iterdir():
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_only_jobs_of_this_folder_and_this_plan_are_cancelled(here: Path) -> None:
    link = here.parent / "link"
    link.symlink_to(here)
    rows = [
        (1, "mpno_5f3e", here, "rule_train_wildcards_run_a"),
        (2, "mpno_5f3e", link, "rule_train_wildcards_run_b"),
        (3, "mpno_5f3e", here, "rule_train_wildcards_run_c"),
        (4, "mpno_5f3e", here.parent, "rule_train_wildcards_run_a"),
        (5, "interactive", here, "rule_train_wildcards_run_a"),
        (6, "mpno_5f3e", here, "(null)"),
    ]
    (here.parent / "squeue.txt").write_text("".join("|".join(map(str, row)) + "\n" for row in rows))
    assert cancel_orphans(JOBS, interval=0) == 2
    assert (here.parent / "scancel.txt").read_text() == "1 2\n"


def test_where_nothing_was_left_nothing_is_cancelled(here: Path) -> None:
    (here.parent / "squeue.txt").touch()
    assert cancel_orphans(JOBS, interval=0) == 0
    assert not (here.parent / "scancel.txt").exists()


def test_a_slurm_that_does_not_answer_stops_the_workflow(here: Path) -> None:
    (here.parent / "bin" / "squeue").write_text("#!/bin/sh\necho no controller >&2\nexit 1\n")
    with pytest.raises(MpnoError, match="squeue: no controller; run Snakemake where"):
        cancel_orphans(JOBS, interval=0)
