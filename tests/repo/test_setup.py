"""The set-up: once, again when the lock changes, whole again after being cut short; and the Makefile's own promises."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .paths import ENVS, ROOT, load_script

mend = load_script("mend")

# Stands for Python: makes a .venv whose interpreter is this script again, and notes what pip is asked to do.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >>"$LOG"
case "$*" in
    "-m venv --clear .venv")
        rm -rf .venv && mkdir -p .venv/bin .venv/lib/python3.11/site-packages
        cp "$0" .venv/bin/python && echo "VIRTUAL_ENV=$(pwd -P)/.venv" >.venv/bin/activate ;;
    *"pip install"*--require-hashes*) [ -z "${CUT:-}" ] || kill -9 $PPID ;;
    --version) echo "Python ${FAKE_VERSION:-3.12.1}" ;;
    "-c "*) [ -z "${FAKE_VERSION:-}" ] ;;
esac
"""


class Checkout:
    """A folder with the set-up script and a small lock, and a Python that only takes notes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "envs").mkdir(parents=True)
        for name in ("setup.sh", "mend.py"):
            shutil.copy(ENVS / name, home / "envs")
        (home / "envs/run.txt").write_text("a==1\n")
        (home / "envs/test.txt").write_text("a==1\nb==2\n")
        (home / "pyproject.toml").write_text("[project]\n")
        self.python = home.parent / f"{home.name}-python"
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(0o755)
        self.log = home.parent / f"{home.name}.log"

    def set_up(self, group: str, **environment: str) -> tuple[int, str, list[str]]:
        """Return the exit status, what was printed, and what pip and venv were asked to do."""
        self.log.write_text("")
        env = {**os.environ, "PYTHON": str(self.python), "LOG": str(self.log), **environment}
        done = subprocess.run(
            [self.home / "envs/setup.sh", group], env=env, capture_output=True, text=True, check=False
        )
        work = [line for line in self.log.read_text().splitlines() if "install" in line or "venv --" in line]
        return done.returncode, done.stdout + done.stderr, work


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


def test_the_second_call_does_nothing_and_says_nothing(checkout: Checkout) -> None:
    status, said, work = checkout.set_up("run", PIP_ARGS="--proxy here")
    assert status == 0 and "6 GB on disk" in said and "done in" in said
    assert work[0] == "-m venv --clear .venv"
    assert len(work) == 3 and all(line.endswith("--proxy here") for line in work[1:])
    assert checkout.set_up("run") == (0, "", [])


def test_a_changed_lock_installs_again_into_the_same_environment(checkout: Checkout) -> None:
    checkout.set_up("run")
    (checkout.home / "envs/run.txt").write_text("a==2\n")
    status, _, work = checkout.set_up("run")
    assert status == 0 and len(work) == 2 and "--clear" not in work[0]
    assert len(list(checkout.home.glob(".venv/.run-*"))) == 1


def test_the_test_group_brings_the_run_group(checkout: Checkout) -> None:
    checkout.set_up("test")
    assert checkout.set_up("run") == (0, "", [])
    assert checkout.set_up("test") == (0, "", [])


def test_the_run_group_does_not_count_as_the_test_group(checkout: Checkout) -> None:
    checkout.set_up("run")
    assert len(checkout.set_up("test")[2]) == 2


def test_a_set_up_cut_short_is_taken_up_again(checkout: Checkout) -> None:
    status, said, _ = checkout.set_up("run", CUT="yes")
    assert status != 0 and "done in" not in said
    status, said, work = checkout.set_up("run")
    assert status == 0 and "did not finish" in said and len(work) == 2
    assert checkout.set_up("run") == (0, "", [])


def test_a_moved_checkout_gets_its_own_environment(checkout: Checkout) -> None:
    checkout.set_up("run")
    checkout.home = checkout.home.rename(checkout.home.with_name("moved"))
    assert "-m venv --clear .venv" in checkout.set_up("run")[2]


def test_an_old_python_is_refused_in_one_line(checkout: Checkout) -> None:
    status, said, work = checkout.set_up("run", FAKE_VERSION="3.9.2")
    assert status == 2 and work == [] and said.count("\n") == 1
    assert "Python 3.9.2" in said and "3.11 or newer" in said and str(checkout.python) in said


def test_a_python_that_is_not_there_is_refused_in_one_line(checkout: Checkout) -> None:
    status, said, _ = checkout.set_up("run", PYTHON="/nowhere/python")
    assert status == 2 and said.count("\n") == 1 and "/nowhere/python" in said


def package(site: Path, name: str) -> Path:
    """An installed package of one file."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text("x = 1\n")
    (info / "INSTALLER").write_text("pip\n")
    (info / "RECORD").write_text(f"{name}.py,sha256=abc,6\n{info.name}/INSTALLER,,\n{info.name}/RECORD,,\n")
    return info


def test_mend_leaves_whole_packages_and_removes_unfinished_ones(tmp_path: Path) -> None:
    whole = package(tmp_path, "whole")
    (package(tmp_path, "norecord") / "RECORD").unlink()
    (package(tmp_path, "noinstaller") / "INSTALLER").unlink()
    package(tmp_path, "nofile")
    (tmp_path / "nofile.py").unlink()
    package(tmp_path, "torn")
    (tmp_path / "torn.py").write_text("x")
    (tmp_path / "~orch").mkdir()
    removed = mend.mend(tmp_path)
    assert removed == sorted([f"{n}-1.0.dist-info" for n in ("norecord", "noinstaller", "nofile", "torn")] + ["~orch"])
    assert whole.is_dir() and not (tmp_path / "~orch").exists()


def make(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *words], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def with_makefile(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    return tmp_path


def test_make_alone_lists_the_targets(with_makefile: Path) -> None:
    listed = make(folder=with_makefile).stdout
    for target in ["reproduce", "item", "plan", "figures", "test", "test-extra", "lint", "lock", "clean", "help"]:
        assert f"\n  {target} " in listed


def test_clean_removes_one_scale_and_keeps_the_published_results(with_makefile: Path) -> None:
    for name in ("smoke", "desk", "published"):
        (with_makefile / "results" / name).mkdir(parents=True)
        (with_makefile / "results" / name / "a.csv").write_text("1")
    done = make("clean", "SCALE=smoke", folder=with_makefile)
    assert "results/smoke: 1 files" in done.stdout
    assert sorted(path.name for path in (with_makefile / "results").iterdir()) == ["desk", "published"]


@pytest.mark.parametrize("scale", ["published", "..", ""])
def test_clean_refuses_what_is_not_a_scale(with_makefile: Path, scale: str) -> None:
    (with_makefile / "results/published").mkdir(parents=True)
    done = make("clean", f"SCALE={scale}", folder=with_makefile)
    assert done.returncode == 2 and "allowed: smoke, desk, gpu, paper" in done.stderr
    assert (with_makefile / "results/published").is_dir()
