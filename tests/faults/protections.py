"""Takes the protection against each fault away, in a copy of the project, and sees the fault's test fail.

    python -m tests.faults.protections            # all of them, about ten minutes on two cores
    python -m tests.faults.protections Ctrl-C     # those whose fault is called so

A protection is named by the text that makes it. `test_protections.py` sees that every text is still there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("src", "tests", "workflow", "notebooks", "profiles", "envs", "Snakefile", "config.yaml", "pyproject.toml")
SECONDS = 600
"""A test that takes longer has failed too: what protects against waiting for ever leaves one that does."""
IN_THE_DAG = "tests/faults/test_workflow.py"


class Protection(NamedTuple):
    """What stands between a fault and its harm.

    Attributes:
        fault: the fault.
        file: where the protection is, from the root of the project.
        text: what makes it; it occurs once.
        without: what stands there instead when it is taken away.
        test: which must fail then.
    """

    fault: str
    file: str
    text: str
    without: str
    test: str


PROTECTIONS = (
    Protection(
        "disk full",
        "src/mpno/specs/files.py",
        "        temporary.unlink(missing_ok=True)\n\n\n@contextmanager\ndef writing",
        "        pass\n\n\n@contextmanager\ndef writing",
        "tests/faults/test_faults.py::test_a_full_disk",
    ),
    Protection(
        "disk full when the record is due",
        "src/mpno/training/records.py",
        "        save(outcome.model, out",
        '        write_text(out / "metrics.json", json.dumps(record))\n        save(outcome.model, out',
        "tests/faults/test_faults.py::test_a_disk_that_is_full_when_the_record_is_due",
    ),
    Protection(
        "read-only results folder",
        "src/mpno/cli.py",
        'raise MpnoError(f"{option} {folder}: {place} is no folder that can be written to; choose another")',
        "pass",
        "tests/faults/test_faults.py::test_a_folder_that_may_not_be_written",
    ),
    Protection(
        "clock jump",
        "src/mpno/training/loop.py",
        "started = time.perf_counter() - training.seconds",
        "started = time.time() - training.seconds; time.perf_counter = time.time",
        "tests/training/test_checkpoint.py::test_seconds_go_on",
    ),
    Protection(
        "out-of-memory kill",
        "src/mpno/training/checkpoint.py",
        "            temporary.write_bytes(data)",
        "            pass",
        IN_THE_DAG,
    ),
    Protection(
        "a worker that hangs",
        "src/mpno/training/watchdog.py",
        "                    self._end()",
        "                    return",
        "tests/faults/test_faults.py::test_a_training_that_hangs_is_ended",
    ),
    Protection(
        "two reproductions in one folder",
        "profiles/default/profile.yaml",
        "",
        "nolock: true\n",
        IN_THE_DAG,
    ),
    Protection(
        "two trainings of one run",
        "src/mpno/training/checkpoint.py",
        "fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        "tests/training/test_checkpoint.py::test_two_processes_never_train_one_run",
    ),
    Protection(
        "a network that stalls",
        "src/mpno/datasets/download.py",
        "if count < PATIENCE.rate * span:",
        "if False:",
        "tests/datasets/test_zenodo.py::test_a_server_that_stalls_or_is_too_slow",
    ),
    Protection(
        "a notebook that raises",
        "src/mpno/paper/execute.py",
        "    with replacing(out) as temporary:\n        try:",
        "    with replacing(out.with_name('spare')):\n        temporary = out\n        try:",
        "tests/paper/test_pages.py::test_a_notebook_draws_from_its_parameters",
    ),
    Protection(
        "Ctrl-C",
        "src/mpno/training/checkpoint.py",
        "        if folder.is_dir() and not any(path.name != _LOCK for path in folder.iterdir()):",
        "        if folder.is_dir():",
        IN_THE_DAG,
    ),
    Protection(
        "a damaged checkpoint",
        "src/mpno/training/checkpoint.py",
        'if path.stem.partition("-")[2] != _digest(data):',
        "if False:",
        "tests/training/test_checkpoint.py::test_a_damaged_checkpoint_is_seen_and_the_one_before_is_used",
    ),
    Protection(
        "a checkpoint of something else",
        "src/mpno/training/checkpoint.py",
        "if other := [key for key in keys if found.get(key) != self._identity.get(key)]:",
        "if other := []:",
        "tests/training/test_checkpoint.py::test_a_checkpoint_of_something_else_is_not_used",
    ),
    Protection(
        "a kill: the order of the samples",
        "src/mpno/training/state.py",
        '            generator.set_state(tensors[f"random.{name}"])',
        "            pass",
        "tests/training/test_checkpoint.py::test_every_random_number_goes_on_where_it_was",
    ),
    Protection(
        "power off",
        "src/mpno/specs/files.py",
        "            os.fsync(file.fileno())",
        "            pass",
        "tests/training/test_checkpoint.py::test_every_rename_is_between_a_synced_file_and_a_synced_folder",
    ),
)


def without(protection: Protection, project: Path) -> None:
    """Take it away in `project`."""
    path = project / protection.file
    there = path.read_text(encoding="utf-8")
    path.write_text(there.replace(protection.text, protection.without, 1), encoding="utf-8")


def fails(protection: Protection) -> str | None:
    """The line of pytest that says that the test failed without the protection; None where it passed."""
    with tempfile.TemporaryDirectory(prefix="mpno-unprotected-") as folder:
        project = Path(folder) / "project"
        for name in COPIED:
            place = ROOT / name
            copy = shutil.copytree if place.is_dir() else shutil.copy
            project.mkdir(exist_ok=True)
            copy(place, project / name)
        without(protection, project)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "", "-p", "no:cacheprovider", protection.test]
        environment = os.environ | {"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                command, cwd=project, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return f"did not end within {SECONDS} s"
        if done.returncode == 0:
            return None
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
        return failed[0] if done.returncode == 1 and failed else f"could not run: {done.stdout[-2000:]}{done.stderr}"


def main(*faults: str) -> int:
    """Try those asked for, or all; return how many tests did not fail."""
    bad = 0
    for protection in PROTECTIONS:
        if faults and not any(fault in protection.fault for fault in faults):
            continue
        started = time.monotonic()
        line = fails(protection)
        bad += line is None or line.startswith("could not")
        said = line or f"NOT SEEN: {protection.test} passes without its protection"
        print(f"{protection.fault} ({time.monotonic() - started:.0f} s): {said}", flush=True)
    return bad


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
