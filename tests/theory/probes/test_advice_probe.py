"""What the advice answers for arms of an item, on a small solved set and one short training."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpno.datasets import make
from mpno.measurement.probes.inputs import ProbedArm
from mpno.specs import MpnoError, RunSpec, build_spec
from mpno.theory.advice import advise
from mpno.theory.advice_inputs import after_training, before_training
from mpno.theory.probes.advice import advice
from mpno.training import train_run


def spec(precision: str) -> RunSpec:
    data = {
        "name": "darcy",
        "source": "generate",
        "resolution": 16,
        "test_resolutions": [16],
        "n_train": 4,
        "n_test": 3,
    }
    model = {"name": "fno", "modes": [4, 4], "width": 4, "layers": 2}
    training = {"epochs": 1, "batch_size": 4}
    return build_spec({"data": data, "model": model, "training": training, "precision": precision})


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> list[ProbedArm]:
    folder = tmp_path_factory.mktemp("advice")
    path = folder / "darcy.h5"
    make(spec("full").data, path, cache=folder)
    train_run(spec("full+tanh"), data=path, out=folder / "run", provenance={})
    labels = {
        "full": "full",
        "tanh": "full+tanh",
        "mixed": "mixed",
        "none": "mixed-bf16, stabiliser none",
        "amp": "amp",
    }
    runs = {"tanh": {0: folder / "run"}}
    return [ProbedArm("darcy", name, spec(label), path, runs.get(name, {})) for name, label in labels.items()]


def test_arms_with_a_low_block_are_asked_about_with_both_weights(arms: list[ProbedArm]) -> None:
    rows = advice(arms, {"samples": 2, "tolerance": 0.0})
    found = [(row["arm"], row["weights"], row["layer"]) for row in rows]
    layers = ("blocks.0.conv", "blocks.1.conv")
    # Full precision has trained with tanh alone, so that no weights are there for the arm without.
    wanted = [("mixed", weights, layer) for weights in ("untrained", "trained") for layer in layers]
    assert found == [*wanted, *(("none", "untrained", layer) for layer in layers)]
    assert all(row["safe"] == row["safe_alone"] for row in rows)


def test_the_numbers_are_those_of_the_advice(arms: list[ProbedArm]) -> None:
    rows = advice(arms, {"samples": 2})
    mixed = next(arm for arm in arms if arm.name == "mixed")
    for weights, asked in (
        ("untrained", before_training(mixed.spec, mixed.data, samples=2)),
        ("trained", after_training(arms[1].runs[0], mixed.data, samples=2)),
    ):
        found = advise(asked.model, asked.batch, formats=["fp16"], setting="mixed").records()
        own = [row for row in rows if row["arm"] == "mixed" and row["weights"] == weights]
        assert [row["precision"] for row in own] == [row["precision"] for row in found]
        assert [row["discretization"] for row in own] == [row["discretization"] for row in found]
    first, last = (next(row for row in rows if row["weights"] == kind) for kind in ("untrained", "trained"))
    assert first["precision"] != last["precision"] and first["output"] > 0


def test_a_finer_grid_is_used_where_it_shows_the_same_functions(tmp_path: Path) -> None:
    data = spec("mixed").data.model_copy(update={"test_resolutions": (16, 32)})
    wanted = spec("mixed").model_copy(update={"data": data})
    make(data, tmp_path / "two.h5", cache=tmp_path)
    asked = before_training(wanted, tmp_path / "two.h5")
    same = asked.finer is not None and bool((asked.finer[..., ::2, ::2] - asked.batch).abs().max() < 1e-3)
    assert asked.finer is None or same


def test_an_unknown_setting_is_refused(arms: list[ProbedArm]) -> None:
    with pytest.raises(MpnoError, match=r"settings are part; allowed: fraction, tolerance, samples"):
        advice(arms, {"part": 0.5})
