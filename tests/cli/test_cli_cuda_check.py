"""`python -m mpno measure cuda-check`: its file, its exit status, and one line where there is no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpno import cli
from mpno.measurement.cuda_check import Record, run
from mpno.measurement.cuda_check.answers import Answer, Question
from mpno.measurement.cuda_check.record import judged

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cuda-check.md"


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["measure", "cuda-check", *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(("found", "code"), [(None, 0), (1, 0), (2, 1)])
def test_a_check_that_fails_is_status_1(
    found: int | None, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = judged("one", found, "equal", expected=1)
    asked = [Question("only", "whether it is so", "none", 1.0, lambda _: Answer([case]))]
    monkeypatch.setattr(run, "questions", lambda: asked)
    out = tmp_path / "folder" / "check.json"
    assert status("--dry", "--out", str(out)) == code
    record = Record.model_validate_json(out.read_text())
    assert record.dry and record.passed is case.passed and len(record.source_digest) == 16
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("only") and said[-1] == str(out)


def test_without_a_gpu_one_line_names_dry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert status() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("mpno: measure cuda-check: ") and "--dry" in error
    assert not list(tmp_path.iterdir())


def test_the_page_names_every_check() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [question.name for question in run.questions() if f"| {question.name} |" not in page] == []
