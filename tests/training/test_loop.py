"""A training from spec to record: paired arms, the same bits twice, divergence as a result."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mpno import FNO, MpnoError, RunSpec
from mpno.datasets import write_store
from mpno.specs import DataSpec, ModelSpec, OptimizerSpec, PrecisionSetting, TrainingSpec
from mpno.training import evaluate_run, train_run
from mpno.training.divergence import first_not_finite

SPEC = RunSpec(
    data=DataSpec(source="generate", resolution=12, test_resolutions=(12, 24), n_train=20, n_test=4),
    model=ModelSpec(modes=(6, 6), width=8, layers=2),
    training=TrainingSpec(epochs=3, batch_size=8),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A learnable toy: y is a smoothed x. Not a data set of the paper, only something to fit."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n, grid in (("train", 20, 12), ("test", 4, 12), ("test", 4, 24)):
        x = rng.standard_normal((n, 1, grid, grid)).astype(np.float32)
        y = np.mean([np.roll(x, s, axis) for s in (-1, 0, 1) for axis in (2, 3)], axis=0) + 0.5
        arrays |= {f"{split}/{grid}/x": x, f"{split}/{grid}/y": y.astype(np.float32)}
    path = tmp_path_factory.mktemp("data") / "toy.h5"
    attrs = dict.fromkeys(("name", "title", "units_x", "units_y", "licence", "citation", "origin"), "toy")
    write_store(path, arrays, attrs | {"source": "generate", "seed": 0}, {"x": "noise", "y": "smoothed x"})
    return path


def history(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "history.csv").open()))


def test_record_history_and_weights(data: Path, tmp_path: Path) -> None:
    record = train_run(SPEC, data=data, out=tmp_path / "run", progress=False, provenance={"source_digest": "abc"})
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "history.csv",
        "metrics.json",
        "model.safetensors",
        "spec.json",
    ]
    assert record == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (record["status"], record["evidence"], record["source_digest"]) == ("finished", "native", "abc")
    rows = history(tmp_path / "run")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"] and rows[-1]["step"] == "9"
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert float(rows[-1]["l2@24"]) == pytest.approx(record["metrics"]["24"]["l2"])
    # The weights alone give the same error back.
    again = evaluate_run(tmp_path / "run", data=data, resolution=24)
    assert again["l2"] == pytest.approx(record["metrics"]["24"]["l2"], rel=1e-6)
    with pytest.raises(MpnoError, match="48"):
        evaluate_run(tmp_path / "run", data=data, resolution=48)


def test_same_spec_same_bits_and_arms_are_paired(data: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        train_run(SPEC, data=data, out=tmp_path / name, progress=False)
    same = ["train_loss", "lr", "l2@12", "h1@12", "l2@24", "h1@24"]
    rows = [[[row[k] for k in same] for row in history(tmp_path / name)] for name in ("a", "b")]
    assert rows[0] == rows[1]
    other = SPEC.model_copy(update={"seed": 1})
    train_run(other, data=data, out=tmp_path / "c", progress=False)
    assert history(tmp_path / "c")[0]["train_loss"] != rows[0][0][0]
    mixed = SPEC.model_copy(update={"precision": PrecisionSetting.model_validate("mixed")})
    record = train_run(mixed, data=data, out=tmp_path / "d", progress=False)
    first, paired = float(rows[0][0][0]), float(history(tmp_path / "d")[0]["train_loss"])
    # Same start and order, so the first epoch differs by rounding and tanh only, far less than another seed does.
    unpaired = float(history(tmp_path / "c")[0]["train_loss"])
    assert abs(paired - first) < 0.5 * abs(unpaired - first)
    assert record["evidence"] == "simulated"


def test_divergence_is_a_result(data: Path, tmp_path: Path) -> None:
    wild = SPEC.model_copy(update={"optimizer": OptimizerSpec(lr=1e30, name="adam")})
    record = train_run(wild, data=data, out=tmp_path / "run", progress=False)
    assert record["status"] == "diverged" and record["metrics"] is None
    assert record["diverged"]["step"] >= 2 and record["diverged"]["where"]
    assert len(history(tmp_path / "run")) == record["diverged"]["epoch"] - 1
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_the_first_layer_that_overflows_is_named() -> None:
    model = FNO(1, 1, SPEC.model, precision="half+none")
    with torch.no_grad():
        model.get_parameter("blocks.1.conv.weight").mul_(1e6)
    assert first_not_finite(model, 10 * torch.ones(1, 1, 12, 12)) == "blocks.1.conv"


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match=r"nowhere\.h5"):
        train_run(SPEC, data=tmp_path / "nowhere.h5", out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
