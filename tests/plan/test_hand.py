"""Whose recipe a run by hand takes: by item, by data set and model, and what happens to pairs that nobody planned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mpno.plan import Experiment, hand_spec, load_experiments
from mpno.specs import MpnoError, RunSpec

ROOT = Path(__file__).parents[2]
MODELS = """
item: models-{data}
title: Models
paper: a test
draws: [table]
drawn_by: models
parts:
  - name: {data}
    base:
      data: {{name: {data}, source: generate, resolution: {grid}, test_resolutions: [{grid}], n_train: 6, n_test: 2}}
      training: {{epochs: 7, batch_size: 1, loss: l2}}
    arms:
{arms}
    compare: {{metric: l2, margin: 0.1}}
    scales:
      smoke: {{seeds: [0], set: {{training.epochs: 2}}}}
      desk: {{seeds: [0], arms: [{last}]}}
      gpu: {{seeds: [0]}}
      paper: {{seeds: [0]}}
scales:
  smoke: {{core_seconds: {{}}}}
  desk: {{core_seconds: {{}}}}
  gpu: {{core_seconds: {{}}}}
  paper: {{core_seconds: {{}}}}
"""
SETS: dict[str, tuple[int, list[tuple[str, str]]]] = {
    "darcy": (
        32,
        [
            ("fno-full", "model: {name: fno, width: 9}, precision: full, transform: fft"),
            ("tfno-full", "model: {name: tfno, width: 11}, precision: full, transform: fft"),
            ("tfno-mixed", "model: {name: tfno, width: 13}, precision: mixed, transform: matmul"),
            ("unet", "model: {name: unet, features: 5}, precision: full"),
        ],
    ),
    "shallow-water": (24, [("sfno", "model: {name: sfno, modes: [8, 8]}, precision: mixed")]),
    "car": (16, [("gino", "model: {name: gino, width: 7}, precision: full, transform: fft")]),
}


@pytest.fixture
def experiments(tmp_path: Path) -> Mapping[str, Experiment]:
    for data, (resolution, arms) in SETS.items():
        lines = "\n".join(f"      - {{name: {name}, set: {{{change}}}}}" for name, change in arms)
        text = MODELS.format(data=data, grid=resolution, arms=lines, last=arms[-1][0])
        (tmp_path / f"models-{data}.yaml").write_text(text)
    for path in (ROOT / "workflow" / "experiments").glob("darcy-*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    return load_experiments(tmp_path)


def hand(
    experiments: Mapping[str, Experiment], *changes: str, item: str | None = None, scale: str = "smoke", **given: Any
) -> tuple[RunSpec, list[str]]:
    lines: list[str] = []
    named = {{"data": "data.name", "model": "model.name"}.get(key, key): value for key, value in given.items()}
    return hand_spec(experiments, item, scale, named, changes, say=lines.append), lines


@pytest.mark.parametrize(
    ("given", "label", "width"),
    [
        ({}, "darcy-settings, arm full", 32),
        ({"model": "fno"}, "darcy-settings, arm full", 32),
        ({"model": "tfno"}, "models-darcy, arm tfno-full", 11),
        ({"model": "tfno", "precision": "mixed"}, "models-darcy, arm tfno-full", 11),
        ({"model": "fno", "item": "models-darcy"}, "models-darcy, arm fno-full", 9),
        ({"item": "models-darcy"}, "models-darcy, arm fno-full", 9),
        ({"data": "car"}, "models-car, arm gino", 7),
        ({"data": "shallow-water"}, "models-shallow-water, arm sfno", 32),
    ],
)
def test_the_recipe_is_that_of_the_pair(
    experiments: Mapping[str, Experiment], given: dict[str, Any], label: str, width: int
) -> None:
    spec, said = hand(experiments, **given)
    setting = f", in {given['precision']}" if "precision" in given else ""
    assert said[0] == f"recipe: {label}{setting}"
    assert (spec.model.model_dump()["width"], spec.precision.label) == (
        width,
        given.get("precision", "mixed" if spec.model.name == "sfno" else "full"),
    )
    own = {"car": "gino", "shallow-water": "sfno"}.get(given.get("data", "darcy"), "fno")
    assert spec.model.name == given.get("model", own)


def test_scale_and_arm_and_the_user_s_changes_come_in_this_order(experiments: Mapping[str, Experiment]) -> None:
    spec, _ = hand(experiments, "training.epochs=3", "model.layers=2", model="tfno", transform="matmul", seed=4)
    assert (spec.training.epochs, spec.model.model_dump()["layers"]) == (3, 2)
    assert (spec.transform, spec.seed, spec.data.resolution, spec.data.n_train) == ("matmul", 4, 32, 6)
    assert hand(experiments, model="tfno")[0].training.epochs == 2
    # The desk scale makes another arm alone; it still is the first with the model.
    assert hand(experiments, model="unet", scale="desk")[1][0] == "recipe: models-darcy, arm unet"
    assert hand(experiments, model="tfno", scale="desk")[1][0] == "recipe: models-darcy, arm tfno-full"


def test_a_pair_without_a_recipe_takes_the_set_s_sizes_and_the_model_s_defaults(
    experiments: Mapping[str, Experiment],
) -> None:
    spec, said = hand(experiments, model="unet", data="navier-stokes")
    assert (spec.data.resolution, spec.data.n_train, spec.data.source) == (64, 200, "generate")
    assert spec.model.name == "unet" and said[0] == "recipe: models-darcy, arm unet"
    (only,) = [{name: found for name, found in experiments.items() if name.startswith("darcy-")}]
    spec, said = hand(only, model="unet")
    assert spec.model.model_dump() == {"name": "unet", "features": 64, "depth": 4}
    assert said[0] == "recipe: darcy-settings, arm full, with model unet"
    # An FNO and a TFNO differ in their weights alone.
    spec, _ = hand(only, "model.modes=[6,6]", model="tfno")
    model = spec.model.model_dump()
    assert (model["name"], model["modes"], model["contraction"]["factorization"]) == ("tfno", (6, 6), "cp")
    spec, said = hand(only, model="gino", data="ahmed", precision="mixed")
    assert (spec.model.name, spec.training.batch_size, spec.training.loss) == ("gino", 1, "l2")
    assert spec.training.normalise_output and spec.precision.label == "mixed" and spec.data.resolution == 32
    spec, _ = hand(only, model="sfno", data="shallow-water")
    assert (spec.model.name, spec.transform) == ("sfno", "sht")


def test_a_recipe_for_bodies_is_left_as_it_is(experiments: Mapping[str, Experiment]) -> None:
    assert not hand(experiments, data="car", model="gino")[0].training.normalise_output
    assert hand(experiments, data="ahmed", model="gino")[1][0] == "recipe: models-car, arm gino"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "gino"}, "model gino takes bodies, data set darcy holds fields; choose car or ahmed"),
        ({"model": "fno", "data": "car"}, "data set car holds bodies, which model fno does not take"),
        ({"model": "tfn"}, "model.name is 'tfn'; did you mean tfno"),
        ({"model": "unet", "precision": "mixed"}, "model unet has no spectral block"),
        ({"model": "sfno", "transform": "fft", "data": "shallow-water"}, "transform is fft; model sfno has sht and"),
        ({"model": "sfno", "item": "models-dary"}, "item 'models-dary'; did you mean models-darcy"),
    ],
)
def test_a_wrong_pair_is_one_line(experiments: Mapping[str, Experiment], given: dict[str, Any], message: str) -> None:
    with pytest.raises(MpnoError, match=message) as caught:
        hand(experiments, **given)
    assert "\n" not in str(caught.value)


class Shelf:
    """One imported set on a grid of 20 x 40."""

    def downloaded(self, name: str, resolutions: object) -> None:
        return None

    def imported(self, name: str) -> Any:
        return ({("train", "20x40"): 30, ("test", "20x40"): 5}, 2) if name == "mine" else None

    def imports(self) -> list[str]:
        return ["mine"]


@pytest.mark.parametrize(
    ("model", "modes"), [("fno", (10, 20)), ("tfno", (10, 20)), ("sfno", (10, 10)), ("unet", None), (None, (10, 20))]
)
def test_every_model_of_fields_takes_an_imported_set(
    experiments: Mapping[str, Experiment], model: str | None, modes: tuple[int, ...] | None
) -> None:
    given = {"data.name": "mine", **({"model.name": model} if model else {})}
    spec = hand_spec(experiments, None, "smoke", given, [], look=Shelf)
    assert (spec.model.name, getattr(spec.model, "modes", None)) == (model or "fno", modes)
    assert (spec.data.source, spec.data.n_train, spec.training.normalise_output) == ("import", 30, True)
