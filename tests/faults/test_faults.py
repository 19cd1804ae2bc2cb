"""Trainings under faults: each is told in one line, leaves nothing half-written, and the next call completes it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checker import ending, faults_of
from kills import run, spec_of, write_data

from mpno.cli import main
from mpno.plan import room_digest

pytestmark = pytest.mark.faults
SPEC = spec_of("fno")
NOBODY = 65534


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that any user may enter."""
    with tempfile.TemporaryDirectory(prefix="mpno-faults-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    return write_data(folder)["fno"]


@pytest.fixture(scope="module")
def whole(folder: Path, data: Path) -> dict[str, Any]:
    """How a training ends that nothing happened to."""
    assert in_a_process(data, folder / "whole") == (0, [])
    return ending(folder / "whole")


@pytest.fixture
def out(folder: Path) -> Iterator[Path]:
    yield folder / "results" / "run"
    shutil.rmtree(folder / "results")


def in_a_process(
    data: Path, out: Path, fault: Callable[[], None] = lambda: None, **environment: str
) -> tuple[int, list[str]]:
    """Train by the command line in a forked process after `fault`; its exit status and the lines of its stderr."""
    read, write = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.dup2(write, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.environ.update(environment)
            fault()
            main(["train", "--spec", SPEC.canonical(), "--data", str(data), "--out", str(out)])
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as said:
        lines = said.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), lines


def completes(data: Path, out: Path, whole: dict[str, Any]) -> None:
    """The next call ends as if nothing had happened."""
    assert in_a_process(data, out) == (0, [])
    assert faults_of(out, data, room_digest("train")) == [] and ending(out) == whole


def test_ten_kills_end_in_the_same_bits() -> None:
    assert run(seed=0, count=10) >= 10


@pytest.mark.parametrize("bytes_", [2000, 30_000])
def test_a_full_disk(data: Path, out: Path, whole: dict[str, Any], bytes_: int) -> None:
    """No file may grow beyond a limit, as where a disk is full: the first checkpoint is not written, or a later one."""
    status, lines = in_a_process(data, out, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_)))
    (line,) = lines
    assert status == 2 and line.startswith("mpno: ") and "cannot be written" in line and "make room" in line
    assert not out.exists() and not list(out.parent.glob(".*/.*")), "no half of a file is left"
    completes(data, out, whole)


def test_a_disk_that_is_full_when_the_record_is_due(data: Path, out: Path, whole: dict[str, Any]) -> None:
    def fault() -> None:
        import mpno.training.records as records

        save, patched = records.save, records  # the weights are the largest file

        def filled(*given: Any, **named: Any) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
            save(*given, **named)

        patched.save = filled  # type: ignore[assignment]

    status, lines = in_a_process(data, out, fault)
    (line,) = lines
    assert status == 2 and "model.safetensors: cannot be written" in line
    assert sorted(path.name for path in out.iterdir()) == ["history.csv", "range.csv", "spec.json"], "and no record"
    completes(data, out, whole)


def test_a_folder_that_may_not_be_written(data: Path, out: Path, whole: dict[str, Any]) -> None:
    out.parent.mkdir()
    out.parent.chmod(0o555)
    drop = (lambda: os.setuid(NOBODY)) if os.getuid() == 0 else (lambda: None)
    status, lines = in_a_process(data, out, drop)
    out.parent.chmod(0o755)
    (line,) = lines
    assert status == 2 and str(out) in line and "is no folder that can be written to; choose another" in line
    assert list(out.parent.iterdir()) == []
    completes(data, out, whole)


@pytest.mark.parametrize("by", ["the limit given", "the epochs before"])
def test_a_training_that_hangs_is_ended(data: Path, out: Path, whole: dict[str, Any], by: str) -> None:
    """In its third epoch, by a limit on the epoch; what was done before it is kept."""

    def fault() -> None:
        import mpno.training.loop as loop
        import mpno.training.watchdog as watchdog

        evaluate, calls, patched = loop.evaluate, [0], loop

        def hanging(*given: Any) -> Any:
            calls[0] += 1
            if calls[0] == 3:
                time.sleep(60)
            return evaluate(*given)

        patched.evaluate = hanging  # type: ignore[assignment]
        watchdog.LEAST, watchdog.FACTOR = 5.0, 2.0

    given = {"MPNO_EPOCH_LIMIT": "5"} if by == "the limit given" else {}
    status, lines = in_a_process(data, out, fault, **given)
    (line,) = lines
    assert status == 1 and f"{SPEC.id}: epoch 3 has run for " in line and "MPNO_EPOCH_LIMIT=SECONDS" in line
    completes(data, out, whole)
    assert json.loads((out / "metrics.json").read_text())["resumed"] == [2]


@pytest.mark.parametrize("text", ["0", "soon", "nan"])
def test_a_limit_that_is_none_is_refused(data: Path, out: Path, text: str) -> None:
    status, lines = in_a_process(data, out, MPNO_EPOCH_LIMIT=text)
    assert (status, lines) == (
        2,
        [f"mpno: MPNO_EPOCH_LIMIT is {text!r}; give a number of seconds above 0, or leave it out"],
    )
    assert not any(out.parent.iterdir())
