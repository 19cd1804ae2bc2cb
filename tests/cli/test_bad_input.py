"""Whatever is wrong in what a command is given: one line that names it, exit status 2, and every file as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import bad_config
import bad_files
import bad_values
import pytest
from bad_home import ROOT, Case, contents, ended, make_home

CASES = {**bad_config.CASES, **bad_values.CASES, **bad_files.CASES}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("bad") / "home")


def check(status: int, error: str, parts: tuple[str, ...]) -> None:
    assert status == 2, error
    assert error.startswith("mpno: ") and error.count("\n") == 1, error
    for part in parts:
        assert part in error


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_mistake_is_one_line_and_changes_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    here = tmp_path / "home"
    shutil.copytree(home, here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("MPNO_ZENODO", "http://127.0.0.1:9")  # nothing answers there, should a case ever ask
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value)
    if case.spoil:
        case.spoil(here)
    before = contents(here)
    check(*ended(case.arguments), case.parts)
    assert contents(here) == before


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 120


def test_what_is_not_spoilt_is_taken(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every case would be refused for the wrong reason."""
    here = tmp_path / "home"
    shutil.copytree(home, here)
    monkeypatch.chdir(here)
    commands = ["plan", "evaluate run --resolution 8", "predict run in.h5 out.h5", "describe run"]
    for arguments in (*commands, "data verify results/data/imported/toy.h5", "data list"):
        assert ended(arguments)[0] == 0, ended(arguments)[1]


@pytest.mark.parametrize("arguments", [["plan", "--scale", "smok"], ["evaluate", "run", "--resolution", "8x"]])
def test_a_process_of_its_own_ends_the_same_way(home: Path, arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "mpno", *arguments]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    check(done.returncode, done.stderr, (arguments[-1],))
