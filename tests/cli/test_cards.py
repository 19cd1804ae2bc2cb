"""Where a machine has several cards, jobs side by side have one each."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mpno.cli_cards import VARIABLE, take_card

ASK = """
import os, sys
from mpno.cli_cards import take_card

held = take_card(sys.argv[1:])
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks that no other process of this machine holds."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv(VARIABLE, "0,GPU-1f")


def job(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ASK, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def card_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_two_jobs_have_two_cards_and_a_third_has_the_first_that_is_given_back() -> None:
    with job("train") as one, job("measure", "probe") as two:
        first, second = card_of(one), card_of(two)
        assert {first, second} == {"0", "GPU-1f"}
        with job("train") as three:
            two.kill()  # however a job ends, its card is free
            two.wait()
            assert card_of(three) == second
            three.communicate("")
        one.communicate("")


def test_what_needs_no_card_takes_none() -> None:
    assert take_card(["measure", "memory"]) is None
    assert take_card(["notebook"]) is None
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_on_one_card_there_is_nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    assert take_card(["train"]) is None
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
