"""The command line: what reaches the rooms below, and one line with exit status 2 for every mistake."""

from __future__ import annotations

import json
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import mpno
from mpno import cli
from mpno.models import make_model
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

    finished = types.SimpleNamespace(run=RunSpec(), spec=RunSpec(), setting=RunSpec().precision, evidence="native")
    errors, mean = {"16": {"l2": 0.1, "h1": 0.2}}, {"16": {"l2": 0.5021, "h1": 1}}
    rooms = {
        "mpno.training": {
            "train_run": record("train_run", {"status": "finished", "metrics": errors, "baseline": mean}),
            "evaluate_run": record("evaluate_run", {"l2": 0.5, "advice": "choose another"}),
            "predict_run": record("predict_run", finished),
        },
        "mpno.measurement": {name: record(name, {}) for name in ("measure_arms", "predict_arms")},
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
        (["plan", "--items", "x"], ["'x'", "darcy-settings"]),
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
        (["train", "--model", "tfn"], ["model.name", "'tfn'", "did you mean tfno"]),
        (["train", "--model", "gino"], ["model gino takes bodies", "choose car or ahmed"]),
        (["train", "--model", "fno", "--dataset", "car"], ["car holds bodies", "choose model gino"]),
        (["train", "--spec", "{}", "--model", "fno"], ["--spec is the whole run", "--model"]),
        (["predict", "nowhere", "in.h5", "out.h5"], ["nowhere", "no such file"]),
        (["describe", "nowhere"], ["nowhere", "no such file"]),
        (["describe", "nowhere", "--model", "fno"], ["RUN is the whole run"]),
        (["notebook", "x.ipynb", "--tidy", "t", "--drawn", "d", "--out", "o"], ["x.ipynb", "no such notebook"]),
        (["notebook", "x.ipynb", "--drawn", "d", "--out", "o"], ["x.ipynb", "--tidy", "data files"]),
        (["notebook", "x.ipynb", "a.h5", "--tidy", "t", "--drawn", "d", "--out", "o"], ["x.ipynb", "--tidy"]),
        (["report", "nowhere/toy.json", "--out", "x.html"], ["nowhere", "make reproduce"]),
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
    line = "  test 16x16: l2 0.10000 (mean predictor 0.50210), h1 0.20000 (mean predictor 1.00000)"
    assert capsys.readouterr().out.splitlines()[-1] == line


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


@pytest.mark.parametrize(("command", "function"), [("time", "measure_arms"), ("memory", "predict_arms")])
def test_measure_takes_a_list(calls: list, tmp_path: Path, command: str, function: str) -> None:
    specs = [RunSpec(), RunSpec(transform="matmul")]
    path = tmp_path / "specs.json"
    path.write_text("[" + ",".join(spec.canonical() for spec in specs) + "]")
    assert run("measure", command, "--spec", str(path), "--root", "r", "--out", "m.json") == 0
    assert calls[0][:2] == (function, (specs,))


def test_evaluate_prints_json_and_advice_apart(calls: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spec.json").write_text(RunSpec().canonical())
    setting = ["--precision", "mixed", "--transform", "matmul"]
    assert run("evaluate", str(tmp_path), "--resolution", "32", "--data", "d.h5", *setting) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["l2"] == 0.5 and err == "mpno: choose another\n"
    assert calls[0][2] == {"data": Path("d.h5"), "resolution": 32, "precision": "mixed", "transform": "matmul"}


def test_evaluate_takes_the_grid_of_a_sphere_as_train_prints_it(calls: list, tmp_path: Path) -> None:
    data = {"name": "shallow-water", "source": "generate", "resolution": 16, "test_resolutions": [16]}
    spec = RunSpec.model_validate({"data": data, "model": {"name": "sfno", "modes": [8, 8]}, "transform": "sht"})
    (tmp_path / "spec.json").write_text(spec.canonical())
    for asked, taken in (("16x32", 16), ("16", 16), ("16x33", "16x33")):
        assert run("evaluate", str(tmp_path), "--resolution", asked, "--data", "d.h5") == 0
        assert calls[-1][2]["resolution"] == taken


def test_the_list_of_commands_is_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


def test_predict_takes_files_and_says_what_it_wrote(calls: list, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", "r", "in.h5", "out.h5", "--input", "a", "--precision", "mixed", "--layout", "n y x c") == 0
    name, args, more = calls[0]
    assert (name, args) == ("predict_run", (Path("r"), Path("in.h5"), Path("out.h5")))
    assert more == {"key": "a", "layout": "n y x c", "precision": "mixed", "transform": None}
    assert capsys.readouterr().out.startswith(f"out.h5: y by {RunSpec().id} in full, fft (native)")


def test_train_names_its_model_and_says_whose_recipe_it_took(
    at_root: None, calls: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--seed", "0", "--data", "d.h5", "--out", str(tmp_path), "--tensorboard", str(tmp_path / "board")]
    assert run("train", "--dataset", "darcy", "--model", "tfno", "--precision", "mixed", *more) == 0
    (_, (spec,), told) = calls[0]
    assert (spec.data.name, spec.model.name, spec.precision.label) == ("darcy", "tfno", "mixed")
    assert told["tensorboard"] == tmp_path / "board"
    assert capsys.readouterr().out.startswith("recipe: ")


def test_describe_takes_what_train_takes_or_a_run(
    at_root: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--set", "model={name: fno, modes: [4, 4], width: 4, layers: 1}", "--scale", "smoke"]
    assert run("describe", *small) == 0
    by_hand = capsys.readouterr().out.split("\n", 1)[1]
    spec = RunSpec.model_validate({"model": {"modes": (4, 4), "width": 4, "layers": 1}})
    mpno.save(make_model(spec.model, 1, 1), tmp_path / "model.safetensors", more={"run": spec.model_dump(mode="json")})
    assert run("describe", str(tmp_path)) == 0
    assert capsys.readouterr().out == by_hand
    assert "parameters, 1 to 1 channels" in by_hand and by_hand.count("\n") == 3 + 1 + 5 + 1


def test_describe_says_how_to_make_the_body_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    small = ["--set", "data.n_train=2", "--set", "data.n_test=1", "--set", "model.radius=0.2"]
    asked = ["describe", "--dataset", "car", "--model", "gino", "--scale", "smoke", *small]
    assert run(*asked) == 0
    before = capsys.readouterr().out
    command = shlex.split(before.splitlines()[-1].partition("make it first: python -m mpno ")[2])
    assert "not predicted" in before and run(*command) == 0
    capsys.readouterr()
    assert run(*asked) == 0
    after = capsys.readouterr().out
    assert "predicted, MiB: a body of 256 points, grid 8x8x8" in after and "make it first" not in after


def test_plan_says_what_a_scale_costs(at_root: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", "--scale", "paper") == 0
    out = capsys.readouterr().out
    assert out.startswith("scale paper: ")
    assert "GPU-hours" in out


def test_help_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "evaluate" in capsys.readouterr().out
