"""The command line: what reaches the rooms below, and one line with exit status 2 for every mistake."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from mpno import cli
from mpno.specs import RunSpec

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Stand-ins for the rooms that train and measure; what they were called with."""
    seen: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def record(name: str, result: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            seen.append((name, args, more))
            return result

        return call

    def make(spec: Any, out: Path, **more: Any) -> None:
        seen.append(("make", (spec, out), more))
        out.write_bytes(b"data")

    errors = {"16": {"l2": 0.1, "h1": 0.2}}
    rooms = {
        "mpno.training": {
            "train_run": record("train_run", {"status": "finished", "metrics": errors}),
            "evaluate_run": record("evaluate_run", {"l2": 0.5}),
        },
        "mpno.measurement": {"measure_arms": record("measure_arms", {})},
        "mpno.datasets": {"make": make},
    }
    for name, functions in rooms.items():
        module = types.ModuleType(name)
        vars(module).update(functions)
        monkeypatch.setitem(sys.modules, name, module)
    return seen


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["plan", "--scale", "smok"], ["scale", "'smok'", "did you mean smoke"]),
        (["plan", "--set", "data.n_train=-1"], ["data.n_train", "-1", "greater than 0"]),
        (["plan", "--items", "x"], ["'x'", "darcy-curves"]),
        (["plan", "--colour"], ["No such option", "--colour"]),
        (["paint"], ["No such command", "paint"]),
        (["train", "--precision", "mixd"], ["precision", "'mixd'", "did you mean mixed"]),
        (["train", "--scale", "huge"], ["scale", "'huge'", "desk"]),
        (["train", "--item", "x"], ["item", "'x'"]),
        (["train", "--seed", "one"], ["seed is 'one'", "integer"]),
        (["train", "--spec", "{", "--data", "x"], ["--spec", "not JSON"]),
        (["train", "--spec", "nowhere.json"], ["nowhere.json", "No such file"]),
        (["train", "--spec", "{}", "--seed", "1"], ["--spec is the whole run"]),
        (["train", "--spec", '{"sead": 1}'], ["unknown key", "'sead'", "did you mean seed"]),
        (["data", "make", "burgers"], ["'burgers'", "darcy", "data import"]),
        (["data", "make", "darcy", "--set", "n_trian=3"], ["unknown key", "n_trian", "did you mean n_train"]),
        (["data", "make", "darcy", "--spec", "{}"], ["--spec alone"]),
        (["data", "verify", "burgers"], ["'burgers'", "data list"]),
        (["train", "--dataset", "darci"], ["data.name", "'darci'", "did you mean darcy"]),
        (["evaluate", "nowhere", "--resolution", "6x"], ["nowhere"]),
        (["evaluate", "nowhere", "--resolution", "32"], ["nowhere", "spec.json"]),
        (["evaluate", "nowhere"], ["--resolution"]),
        (["notebook", "x.ipynb", "--tidy", "t", "--drawn", "d", "--out", "o"], ["x.ipynb", "no such notebook"]),
        (["notebook", "x.ipynb", "--drawn", "d", "--out", "o"], ["x.ipynb", "--tidy", "data files"]),
        (["notebook", "x.ipynb", "a.h5", "--tidy", "t", "--drawn", "d", "--out", "o"], ["x.ipynb", "--tidy"]),
        (["report", "nowhere/context.json", "--out", "x.html"], ["nowhere", "make item"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_line_and_status_2(
    at_root: None, capsys: pytest.CaptureFixture[str], arguments: list[str], parts: list[str]
) -> None:
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("mpno: ")
    for part in parts:
        assert part in error


def test_train_takes_a_spec(calls: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = RunSpec(seed=3)
    out = tmp_path / "run"
    assert run("train", "--spec", spec.canonical(), "--data", "d.h5", "--out", str(out)) == 0
    name, args, more = calls[0]
    assert (name, args) == ("train_run", (spec,))
    assert (more["data"], more["out"]) == (Path("d.h5"), out)
    assert len(more["provenance"]["source_digest"]) == 16
    assert "l2 0.10000" in capsys.readouterr().out


def test_train_by_hand_makes_its_data(calls: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    change = ["--set", "optimizer.lr=2e-3"]
    assert run("train", "--precision", "mixed", "--transform", "fft", "--seed", "1", "--scale", "smoke", *change) == 0
    (_, (data, path), _), (_, (spec,), more) = calls
    assert (path, data) == (Path("results/smoke/data/darcy-fetch.h5"), spec.data)
    assert (spec.precision.label, spec.seed, spec.training.epochs, spec.optimizer.lr) == ("mixed", 1, 3, 2e-3)
    assert more["out"] == Path("results/smoke/by-hand") / spec.id
    assert more["provenance"]["changed"] == ["optimizer.lr=2e-3"]


def test_measure_takes_a_list(calls: list, tmp_path: Path) -> None:
    specs = [RunSpec(), RunSpec(transform="matmul")]
    path = tmp_path / "specs.json"
    path.write_text("[" + ",".join(spec.canonical() for spec in specs) + "]")
    assert run("measure", "--spec", str(path), "--data", "d.h5", "--out", "m.json") == 0
    assert calls[0][1] == (specs,)


def test_evaluate_prints_json(calls: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spec.json").write_text(RunSpec().canonical())
    assert run("evaluate", str(tmp_path), "--resolution", "32", "--data", "d.h5") == 0
    assert json.loads(capsys.readouterr().out) == {"l2": 0.5}
    assert calls[0][2] == {"data": Path("d.h5"), "resolution": 32}


def test_plan_says_what_a_scale_costs(at_root: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", "--scale", "paper") == 0
    out = capsys.readouterr().out
    assert out.startswith("scale paper: ")
    assert "GPU-hours" in out


def test_cite_names_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("cite") == 0
    assert "Guaranteed Approximation Bounds for Mixed-Precision Neural Operators" in capsys.readouterr().out


def test_help_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "evaluate" in capsys.readouterr().out
