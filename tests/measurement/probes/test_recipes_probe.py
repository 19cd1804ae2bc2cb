"""The table of recipes: what the spec says and what the runs took, each quantity once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpno.datasets import write_store
from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.probes.recipes import recipes
from mpno.specs import RunSpec

VALUES: dict[str, Any] = {
    "data": {
        "name": "navier-stokes", "source": "generate", "resolution": 8, "test_resolutions": [8, 16], "n_train": 4,
        "n_test": 2, "seed": 7,
    },
    "model": {
        "name": "tfno", "modes": (4, 4), "width": 8, "layers": 2, "norm": "group", "lifting_ratio": 4.0,
        "contraction": {"factorization": "cp", "rank": 0.05},
    },
    "optimizer": {"name": "adam", "lr": 0.003, "weight_decay": 0.0001},
    "scheduler": {"name": "step", "step_epochs": 5, "gamma": 0.5},
    "training": {"epochs": 9, "batch_size": 2, "loss": "h1", "grad_clip": 5.0},
}  # fmt: skip


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Any]:
    attrs = dict.fromkeys(("units_x", "units_y", "citation", "origin"), "toy") | {
        "title": "A flow", "licence": "MIT", "name": "navier-stokes", "source": "generate", "seed": 7, "periodic": True,
    }  # fmt: skip
    path = tmp_path / "toy.h5"
    fields = {"train": np.ones((2, 1, 8, 8)) * [[[[1]]], [[[2]]]], "test": np.ones((2, 1, 8, 8)) * [[[[3]]], [[[4]]]]}
    arrays = {f"{split}/8/{kind}": values for split, values in fields.items() for kind in "xy"}
    write_store(path, arrays, attrs, {"x": "", "y": ""})
    runs = {}
    for seed, seconds, status in ((0, 4.0, "finished"), (1, 6.0, "finished"), (2, 1.0, "diverged")):
        runs[seed] = tmp_path / f"s{seed}"
        runs[seed].mkdir()
        record = {"seconds": seconds, "status": status, "parameters": 321, "processor": "A processor", "threads": 1}
        (runs[seed] / "metrics.json").write_text(json.dumps({**record, "evidence": "native"}))
    (row,) = recipes([ProbedArm("flow", "full", RunSpec.model_validate(VALUES), path, runs)], {})
    assert (row["part"], row["arm"], row["evidence"]) == ("flow", "full", "native")
    return row


def test_the_spec_is_told_in_full(found: dict[str, Any]) -> None:
    told = {
        "grid": "8x8", "n_train": 4, "n_test": 2, "model": "TFNO (CP)", "modes": "4x4", "width": 8, "layers": 2,
        "rank": 0.05, "optimiser": "Adam", "rate": 0.003, "weight_decay": 0.0001, "schedule": "StepLR",
        "step_epochs": 5, "gamma": 0.5, "loss": "H1", "batch": 2, "epochs": 9, "normalised": "inputs",
        "techniques": "gradients clipped at 5", "transform": "fft", "points": None,
    }  # fmt: skip
    assert {name: found[name] for name in told} == told


def test_only_what_differs_from_the_model_s_defaults_is_listed_beside(found: dict[str, Any]) -> None:
    assert found["more_of_model"] == "lifting_ratio 4.0, norm group"


def test_data_carry_their_seed_and_worth(found: dict[str, Any]) -> None:
    assert (found["data"], found["source"], found["data_seed"]) == ("A flow", "solved here", 7)
    assert found["licence"] == "MIT"


def test_seconds_are_those_of_finished_runs(found: dict[str, Any]) -> None:
    assert (found["seconds"], found["seeds"], found["parameters"]) == (5.0, 3, 321)
    assert (found["processor"], found["threads"]) == ("A processor", 1)


def test_without_runs_what_they_took_is_empty(tmp_path: Path, found: dict[str, Any]) -> None:
    (row,) = recipes([ProbedArm("flow", "full", RunSpec.model_validate(VALUES), tmp_path / "toy.h5", {})], {})
    assert row.keys() == found.keys() and (row["seeds"], row["evidence"]) == (0, "stated")
    assert [row[name] for name in ("parameters", "seconds", "processor", "threads")] == [None] * 4
