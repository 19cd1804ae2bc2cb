"""Commands handed over to a warm process: the same words, the same status, and no survivors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpno.cli_warm import VARIABLE, hand_over, keep_warm

ROOT = Path(__file__).resolve().parents[2]
LINES = [["cite"], ["plan", "--scale", "smok"], ["train", "--nothing"], ["--help"]]


@pytest.fixture(scope="module")
def warm() -> Iterator[dict[str, str]]:
    """The environment in which a warm process is named, once it listens."""
    before = os.environ.get(VARIABLE)
    process = keep_warm()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    while not Path(environment[VARIABLE]).exists():
        assert process.poll() is None
        time.sleep(0.05)
    yield environment
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=10) == 0
    assert not Path(environment[VARIABLE]).parent.exists()
    os.environ.pop(VARIABLE)
    if before is not None:
        os.environ[VARIABLE] = before


def run(arguments: list[str], environment: dict[str, str], folder: Path = ROOT) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "mpno", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", LINES, ids=" ".join)
def test_a_command_says_and_ends_as_it_would_alone(arguments: list[str], warm: dict[str, str]) -> None:
    cold = {key: value for key, value in warm.items() if key != VARIABLE}
    assert run(arguments, warm) == run(arguments, cold)


def train(folder: Path, epochs: int) -> list[str]:
    data = "data={name: darcy, source: generate, resolution: 8, test_resolutions: [8], n_train: 40, n_test: 4}"
    small = ["model={name: fno, modes: [4, 4], width: 4, layers: 2}", f"training.epochs={epochs}"]
    changes = [word for change in (data, *small) for word in ("--set", change)]
    return ["train", "--item", "darcy-settings", "--scale", "smoke", *changes, "--out", str(folder)]


def test_a_training_gives_the_same_bits(tmp_path: Path, warm: dict[str, str]) -> None:
    cold = {key: value for key, value in warm.items() if key != VARIABLE}
    folder = copy_of_the_plan(tmp_path)
    assert run(train(tmp_path / "first", 1), warm, folder)[0] == 0  # makes the data file
    for name, environment in (("warm", warm), ("cold", cold)):
        assert run(train(tmp_path / name, 2), environment, folder)[0] == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("warm", "cold")]
    assert weights[0] == weights[1]


def test_a_job_ends_with_the_one_who_waits_for_it(tmp_path: Path, warm: dict[str, str]) -> None:
    folder = copy_of_the_plan(tmp_path)
    command = [sys.executable, "-m", "mpno", *train(tmp_path / "run", 100_000)]
    with (tmp_path / "log").open("w") as log:
        waiting = subprocess.Popen(command, cwd=folder, env=warm, stdout=log, stderr=log)
        seen = 0
        while not (seen := (tmp_path / "log").read_text().count("epoch")):
            assert waiting.poll() is None
            time.sleep(0.1)
        waiting.send_signal(signal.SIGKILL)
        waiting.wait()
    time.sleep(1)
    stopped = (tmp_path / "log").read_text()
    time.sleep(1)
    assert seen and (tmp_path / "log").read_text() == stopped


def test_without_a_warm_process_or_with_more_threads_nothing_is_handed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, warm: dict[str, str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv(VARIABLE, warm[VARIABLE])
    assert hand_over(["cite"]) is None
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert hand_over(["cite"]) == 0
    assert hand_over(["plan", "--scale", "smok"]) == 2
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nobody"))
    assert hand_over(["cite"]) is None


def copy_of_the_plan(tmp_path: Path) -> Path:
    """A folder to work in that has the experiments, and in which data files are made."""
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    return tmp_path
