"""`python -m mpno data`, and the README's way from a file of one's own to trainings in full and mixed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpno import cli
from mpno.datasets import catalogue as stock
from mpno.datasets import write_store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the experiments, whose recipes a run by hand takes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    assert isinstance(caught.value.code, int)
    return caught.value.code


def rows(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    assert run("data", "list") == 0
    return [re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines()]


def test_a_made_set_is_listed_and_verified(capsys: pytest.CaptureFixture[str]) -> None:
    changes = [
        f"--set={change}" for change in ("n_train=3", "data.n_test=2", "resolution=8", "test_resolutions=[16,8]")
    ]
    assert run("data", "make", "darcy", "--source", "generate", *changes) == 0
    path = "results/data/darcy-generate-public-8-16-n3-2-s0.h5"
    assert capsys.readouterr().out.startswith(f"{path}: ")
    listed = rows(capsys)
    assert listed[0] == ["set", "source", "state", "disk", "licence", "samples", "where"]
    size = f"{Path(path).stat().st_size / 2**20:.1f} MiB"
    assert listed[1] == ["darcy", "generate", "present", size, "MIT", "train 8 (3); test 8 (2), 16 (2)", path]
    assert run("data", "verify", "darcy") == 0
    assert f"{path}: verified, digest " in capsys.readouterr().out
    assert rows(capsys)[1][2] == "verified"
    os.utime(path, ns=(1, 1))  # the file may be another one now
    assert rows(capsys)[1][2] == "present"
    Path(path).write_bytes(b"gone")
    assert rows(capsys)[1][2] == "broken"
    assert run("data", "verify", path) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_every_set_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    found = {(row[0], row[1], row[2]) for row in rows(capsys)[1:]}
    names = ("darcy", "navier-stokes", "shallow-water", "car", "ahmed")
    assert found == {(name, "generate", "missing") for name in names} | {
        (name, "fetch", "missing") for name in ("darcy", "navier-stokes", "car")
    }


def test_auto_says_what_it_took(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("mpno.cli_data.make_data", lambda spec, out, cache: made.append((spec, out)))
    assert run("data", "make", "darcy") == 0
    assert "auto took fetch" in capsys.readouterr().out
    assert run("data", "make", "navier-stokes") == 0
    assert "auto took generate" in capsys.readouterr().out
    assert [spec.source for spec, _ in made] == ["fetch", "generate"]
    assert made[0][1] == Path("results/data/darcy-fetch.h5")


def test_the_spec_of_the_workflow_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("mpno.cli_data.make_data", lambda spec, out, cache: made.append((spec, out)))
    text = '{"name": "darcy", "source": "generate", "resolution": 8, "test_resolutions": [8]}'
    assert run("data", "make", "--spec", text, "--out", "x.h5") == 0
    ((spec, out),) = made
    assert (spec.source, spec.resolution, out) == ("generate", 8, Path("x.h5"))


def test_the_stock_reads_imported_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    attrs = dict.fromkeys(("title", "units_x", "units_y", "licence", "citation", "origin"), "toy")
    values = np.random.default_rng(0).random((3, 1, 9, 8, 7))
    arrays = {f"train/9x8x7/{kind}": values for kind in "xy"}
    write_store(Path("own/a.h5"), arrays, attrs | {"name": "a", "source": "import", "seed": None}, {"x": "", "y": ""})
    monkeypatch.setenv("MPNO_IMPORTED", "own")
    assert stock.Stock().imports() == ["a"]
    assert stock.Stock().imported("a") == ({("train", "9x8x7"): 3}, 3)
    assert stock.Stock().imported("b") is None
    assert stock.Stock().downloaded("ahmed", [32]) is None


SMALL = ("training.epochs=1", "model.width=4", "model.layers=1", "training.batch_size=4")


def test_the_readme_imports_and_trains_a_strangers_file(capsys: pytest.CaptureFixture[str]) -> None:
    """The commands stand in the README; here they get a small file and a small model."""
    with h5py.File("my.h5", "w") as file:
        rng = np.random.default_rng(0)
        file["a"] = a = rng.standard_normal((10, 2, 60, 100))
        file["u"] = 1e3 * np.cumsum(a, axis=-1)
    readme = (ROOT / "README.md").read_text()
    section = readme[readme.index("## Your own data") :].split("\n## ")[0]
    commands = re.findall(r"^python -m (mpno .*?)(?: +#.*)?$", section, flags=re.MULTILINE)
    assert [command.split()[1] for command in commands][:2] == ["data", "train"]
    trainings = [command for command in commands if command.startswith("mpno train")]
    assert {"--precision full", "--precision mixed"} <= {re.sub(r".*(--precision \w+).*", r"\1", t) for t in trainings}
    for command in [one for one in commands if "import" in one][:1] + trainings:
        smaller = [f"--set={change}" for change in SMALL] if command in trainings else []
        assert run(*command.split()[1:], *smaller) == 0
    said = capsys.readouterr().out
    assert "n c y x (inferred" in said and "grid 60 x 100, float64 kept as float32" in said
    error = r"\d\.\d+ \(mean predictor \d\.\d+\)"
    assert len(re.findall(rf"^  test 60x100: l2 {error}, h1 {error}$", said, flags=re.MULTILINE)) == len(trainings)
    records = list(Path("results/desk/by-hand").glob("mine60x100_fno_*/metrics.json"))
    assert len(records) == len(trainings) == 2
