"""`python -m mpno theory advise`, on sets of the paper, on a run, and on a file of the user's own."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpno import cli

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--set", "model.width=4", "--set", "model.layers=1")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the experiments, whose recipes advice is asked for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_a_set_by_either_spelling_and_all_numbers_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("theory", "advise", "--resolution", "16", "--samples", "2", *SMALL, "--out", "a.csv")
    few = ("--format", "fp16", "--format", "bf16", "--set", "model.modes=[6,6]")
    assert run(*asked, *few, "--dataset", "navier_stokes") == 0
    said = capsys.readouterr().out
    assert "the untrained FNO, seed 0, on navier-stokes at 16" in said and "FNO on (2, 1, 16, 16)" in said
    assert re.search(r"^Cheapest safe format: (bf16|fp16|none)", said, flags=re.MULTILINE) or "stay with fp32" in said
    lines = Path("a.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 and "discretization_evidence" in lines[0] and "estimate, subsampled" in lines[1]
    # Few samples are solved where the user has none yet.
    assert [path.name for path in Path("results/desk/data").iterdir()] == [
        "navier-stokes-generate-nu0.02-16-n8-2-s0.h5"
    ]
    assert run(*asked, *few, "--dataset", "navier-stokes") == 0
    assert "bytes" not in capsys.readouterr().out


def test_a_setting_that_packs_is_advised_on_too(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--dataset", "darcy", "--resolution", "16", "--samples", "4", "--set", "data.source=generate")
    assert run("theory", "advise", *asked, *SMALL, "--format", "fp16", "--precision", "compact") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "fp16 (mixed)" in said or "stay with fp32" in said
    assert "mixed, saved mxfp8: packing is" in said and "noise from the choice of a batch" in said


def test_the_finer_grid_is_solved_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--dataset", "darcy", "--resolution", "16", "--finer", "--samples", "2", "--set", "data.source=generate")
    assert run("theory", "advise", *asked, *SMALL, "--format", "fp16") == 0
    assert "an estimate (finer grid)" in " ".join(capsys.readouterr().out.split())


def test_a_trained_run_and_one_s_own_file(capsys: pytest.CaptureFixture[str]) -> None:
    """The commands stand in docs/advice.md; here they get a small file and a small model."""
    with h5py.File("my.h5", "w") as file:
        rng = np.random.default_rng(0)
        file["a"] = a = rng.standard_normal((10, 1, 32, 16))
        file["u"] = np.cumsum(a, axis=-1)
    page = (ROOT / "docs" / "advice.md").read_text()
    commands = re.findall(r"^python -m mpno (.*?)(?: +#.*)?$", page, flags=re.MULTILINE)
    assert [" ".join(command.split()[:2]) for command in commands[:2]] == ["data import", "theory advise"]
    small = [*SMALL, "--set", "training.epochs=1"]
    for command in commands:
        if not any(word in command for word in ("--dataset mine", "import", "--run")):
            continue
        words = command.replace("RUN", next(map(str, Path("results").rglob("mine*_fno_*")), "")).split()
        more = [] if "import" in words or "--run" in words else small if words[0] == "train" else list(SMALL)
        assert run(*words, *more) == 0, command
    said = capsys.readouterr().out
    assert "on mine at 32x16" in said and "the trained run mine32x16_fno" in said


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--dataset", "darci"], ["'darci'", "did you mean darcy"]),
        (["--resolution", "6x"], ["--resolution 6x", "60x100"]),
        (["--format", "fp17"], ["'fp17'", "did you mean fp16"]),
        (["--precision", "amp"], ["'amp'", "no low format", "mixed"]),
        (["--fraction", "0"], ["fraction 0"]),
        (["--samples", "0"], ["samples is 0"]),
        (["--run", "nowhere"], ["nowhere", "no such file"]),
        (["--run", "nowhere", "--model", "fno"], ["--run is model and data"]),
        (["--dataset", "car", "--model", "fno"], ["car holds bodies"]),
        (["--scale", "huge"], ["'huge'", "desk"]),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    arguments: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("theory", "advise", *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("mpno: ") and all(part in error for part in parts)
