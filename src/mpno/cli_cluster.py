"""What the workflow does on SLURM before its first job: it ends the jobs that a killed workflow left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

from mpno.specs import MpnoError

PREFIX = "mpno"
"""What the names of the workflow's jobs begin with: `slurm-jobname-prefix` of the profile."""
PATIENCE = 600
"""Seconds that cancelled jobs have to end; sites leave them half a minute between the two signals."""


def start_clean(jobs: Collection[tuple[str, str]]) -> None:
    """Call :func:`cancel_orphans` and say what it did; where it cannot, end Snakemake with status 2 and one line."""
    try:
        cancelled = cancel_orphans(jobs)
    except MpnoError as error:
        print(f"mpno: {error}", file=sys.stderr)
        sys.exit(2)
    if cancelled:
        print(f"mpno: cancelled {cancelled} jobs that a killed workflow had left", file=sys.stderr)


def cancel_orphans(jobs: Collection[tuple[str, str]], *, interval: float = 2) -> int:
    """Cancel what still waits or runs of `jobs` from this folder, wait until it is gone, return how many there were.

    To be called once Snakemake holds its lock, so that no other workflow can be working on these jobs. What they had
    trained is in their checkpoints.

    Args:
        jobs: rule and wildcard of each job of the plan.
        interval: seconds between questions to SLURM.

    Raises:
        MpnoError: SLURM does not answer, or a job does not end.
    """
    found = _orphans(jobs)
    if not found:
        return 0
    _slurm("scancel", *found)
    until = time.monotonic() + PATIENCE
    while left := _orphans(jobs):
        if time.monotonic() > until:
            raise MpnoError(f"SLURM job {left[0]} was cancelled and has not ended; wait until squeue drops it")
        time.sleep(interval)
    return len(found)


def _orphans(jobs: Collection[tuple[str, str]]) -> list[str]:
    """The ids of those of `jobs` that SLURM has, submitted from this folder."""
    comments = {f"rule_{rule}_wildcards_{wildcard}" for rule, wildcard in jobs}
    listed = _slurm("squeue", "--user", str(os.getuid()), "--noheader", "--format=%i|%j|%Z|%k")
    here = Path.cwd().resolve()
    rows = [line.split("|", 3) for line in listed.splitlines()]
    return [
        number
        for number, name, folder, comment in rows
        if name.startswith(f"{PREFIX}_") and Path(folder).resolve() == here and comment in comments
    ]


def _slurm(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MpnoError(f"{command[0]}: {error}; run Snakemake where SLURM's commands work") from None
    # A job that ended between two questions is no longer there to be cancelled.
    if done.returncode and command[0] != "scancel":
        raise MpnoError(f"{command[0]}: {done.stderr.strip()}; run Snakemake where SLURM's commands work")
    return done.stdout
