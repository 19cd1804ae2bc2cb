"""`python -m mpno measure predict` and `plan`, as a person calls them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpno.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_one_case_in_the_words_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["measure", "plan", "--dataset", "darcy", "--setting", "mixed", "--gpu", "v100", "--scale", "desk"])
    assert not stopped.value.code
    text = capsys.readouterr().out
    assert "in mixed" in text and "MiB as nvidia-smi shows them" in text and "it fits" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--gpu", "v200"], "--gpu 'v200'; did you mean v100? allowed: v100, rtx3090ti, a100, h100"),
        (["plan", "--setting", "mixd"], "'mixd'"),
        (["plan", "--dataset", "darci"], "'darci'"),
        (["predict", "--scale", "desk"], "--scale 'desk'; allowed: gpu, paper"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["measure", *arguments])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and words in error and error.count("\n") == 1
