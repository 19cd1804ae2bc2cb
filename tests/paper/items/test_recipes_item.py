"""The table of recipes: ours as the probe tells them, the authors' from their configuration files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from item_toy import context

from mpno.paper.items.recipes import table
from mpno.paper.records import read_reference

ROOT = Path(__file__).parents[3]
OURS: dict[str, Any] = {
    "part": "darcy", "arm": "full", "data": "A flow", "source": "solved here", "licence": "MIT", "data_seed": 7,
    "grid": "16x16", "n_train": 40, "n_test": 5, "points": None, "model": "TFNO (CP)", "modes": "4x4", "width": 8,
    "layers": 2, "rank": 0.05, "more_of_model": "norm group", "optimiser": "Adam", "rate": 0.02, "weight_decay": 0.0001,
    "schedule": "StepLR", "step_epochs": 2, "gamma": 0.5, "loss": "H1", "normalised": "inputs", "batch": 20,
    "epochs": 10, "techniques": None, "transform": "fft", "seeds": 3, "parameters": 12345, "seconds": 8.26,
    "processor": "A processor", "threads": 1, "evidence": "native",
}  # fmt: skip
CAR = OURS | {"part": "car", "data_seed": None, "points": 1024, "schedule": "one-cycle", "step_epochs": None}


@pytest.fixture(scope="module")
def found() -> Any:
    reference = read_reference(ROOT / "workflow" / "reference" / "recipes.csv")
    probes = {"recipes": pd.DataFrame([OURS, CAR | {"gamma": None, "rank": None, "more_of_model": None}])}
    return table(SimpleNamespace(context=context("recipes"), parts={}, probes=probes, reference=reference))


def test_ours_in_a_reader_s_words(found: Any) -> None:
    first, second = found.shown.to_dict("records")[:2]
    assert first["model"] == "TFNO (CP), rank 0.05, norm group" and second["model"] == "TFNO (CP)"
    assert first["train / test"] == "40 / 5" and first["parameters"] == "12,345" and first["s/training"] == "8.3"
    assert first["optimiser"] == "Adam, rate 0.02, decay 0.0001"
    assert (first["schedule"], second["schedule"]) == ("StepLR 2, x 0.5", "one-cycle")


def test_theirs_are_read_from_their_files(found: Any) -> None:
    theirs = found.shown[found.shown["whose"] == "the authors'"].set_index("recipe")
    flow = theirs.loc["navier-stokes"]
    assert (flow["grid"], flow["modes"], flow["layers"], flow["batch"], flow["epochs"]) == (
        "128x128", "64x64", "8", "32", "500",
    )  # fmt: skip
    assert flow["train / test"] == "10000 / 2000" and flow["schedule"] == "StepLR 100, x 0.5"
    assert "factorized_config_renbo.yaml" in flow["data"] and "authors' notebook" in flow["data"]
    assert theirs.loc["darcy", "optimiser"] == "Adam, rate 0.005, decay 0.0001"


def test_what_is_not_stated_stays_empty(found: Any) -> None:
    theirs = found.shown[found.shown["whose"] == "the authors'"].set_index("recipe")
    assert theirs.loc["navier-stokes dense", "batch"] == "\N{EN DASH}"  # 64 or 16
    assert set(theirs["parameters"]) == set(theirs["s/training"]) == {"\N{EN DASH}"}
    assert not found.shown.astype(str).apply(lambda column: column.str.contains("nan")).any().any()


def test_notes_say_whose_data_and_what_could_not_be_sourced(found: Any) -> None:
    notes = "\n".join(found.notes)
    assert "darcy: A flow (solved here, seed 7, licence MIT); inputs normalised" in notes
    assert "1024 points of each body" in notes
    assert "no hyper-parameters of the paper could be sourced for car" in notes


def test_a_rule_parts_ours_from_theirs(found: Any) -> None:
    assert list(dict.fromkeys(found.roles)) == ["here", "authors"]
    assert len(found.roles) == len(found.shown) == len(found.numbers)
