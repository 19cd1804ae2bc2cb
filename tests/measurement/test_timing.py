"""What a measure record says, and what it leaves empty."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mpno import RunSpec
from mpno.datasets import write_store
from mpno.measurement import measure_arms, predict_arms
from mpno.models import make_model
from mpno.specs import DataSpec, FNOSpec, PrecisionSetting, TrainingSpec


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A root with the data file of the arms."""
    rng = np.random.default_rng(0)
    shapes = {"train/8/x": 12, "train/8/y": 12, "test/8/x": 2, "test/8/y": 2}
    arrays = {key: rng.standard_normal((n, 1, 8, 8)).astype(np.float32) for key, n in shapes.items()}
    attrs = dict.fromkeys(("name", "title", "units_x", "units_y", "licence", "citation", "origin"), "noise")
    path = arm("full").data.file(tmp_path)
    path.parent.mkdir()
    write_store(path, arrays, attrs | {"source": "generate", "seed": 0}, {"x": "noise", "y": "noise"})
    return tmp_path


def arm(precision: str, seed: int = 0) -> RunSpec:
    return RunSpec(
        data=DataSpec(source="generate", resolution=8, test_resolutions=(8,), n_train=12, n_test=2),
        model=FNOSpec(modes=(4, 4), width=4, layers=1),
        precision=PrecisionSetting.model_validate(precision),
        training=TrainingSpec(epochs=1, batch_size=5),
        seed=seed,
    )


def test_only_native_arms_have_a_time(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpno.measurement.timing.torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("mpno.measurement.timing.ROUNDS", 3)
    out = tmp_path / "measure.json"
    record = measure_arms([arm("full", seed=7), arm("mixed"), arm("mixed-e5m2")], root=data, out=out)
    assert json.loads(out.read_text()) == record
    full, mixed, control = record["arms"]
    # A time is that of the arm, whatever the seed.
    assert full["arm"] == arm("full").id and full["why"] is None
    timed = full["seconds_per_epoch"]
    assert 0 < timed["low"] <= timed["median"] <= timed["high"] and timed["n"] == 3
    for other in (mixed, control):
        assert other["seconds_per_epoch"] is None and other["why"].startswith("simulated on this cpu")


def test_arms_on_two_data_files_are_timed_in_one_call(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpno.measurement.timing.torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("mpno.measurement.timing.ROUNDS", 2)
    other = arm("full").model_copy(update={"data": arm("full").data.model_copy(update={"seed": 1})})
    shutil.copy(arm("full").data.file(data), other.data.file(data))
    found = measure_arms([arm("full"), other], root=data, out=tmp_path / "time.json")["arms"]
    assert [entry["seconds_per_epoch"]["n"] for entry in found] == [2, 2]
    assert len({entry["arm"] for entry in found}) == 2


def test_a_schedule_takes_its_phases_by_their_shares(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With steps that take as long as the phase says, the epoch of three steps is their weighted mean."""
    monkeypatch.setattr("mpno.measurement.timing.torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("mpno.measurement.timing.evidence_of", lambda *_: "native")
    takes = {"mixed": 1.0, "mixed FHH, stabiliser none": 4.0, "full": 16.0}
    now = 0.0

    def stepper(spec: RunSpec, _: object) -> object:
        def step() -> None:
            nonlocal now
            now += takes[spec.precision.label]

        return step

    monkeypatch.setattr("mpno.measurement.timing._stepper", stepper)
    monkeypatch.setattr("mpno.measurement.timing.time.perf_counter", lambda: now)
    spec = arm("full").model_copy(
        update={
            "training": TrainingSpec(epochs=4, batch_size=5),
            "precision": PrecisionSetting.model_validate("schedule"),
        }
    )
    (found,) = measure_arms([spec], root=data, out=tmp_path / "measure.json")["arms"]
    assert found["seconds_per_epoch"]["median"] == pytest.approx(3 * (0.25 * 1 + 0.5 * 4 + 0.25 * 16))


def test_memory_is_predicted_for_the_channels_of_the_data(tmp_path: Path) -> None:
    shapes = {"train/8/x": (12, 3), "train/8/y": (12, 2), "test/8/x": (2, 3), "test/8/y": (2, 2)}
    rng = np.random.default_rng(0)
    arrays = {key: rng.standard_normal((*shape, 8, 8)).astype(np.float32) for key, shape in shapes.items()}
    attrs = dict.fromkeys(("name", "title", "units_x", "units_y", "licence", "citation", "origin"), "noise")
    path = arm("full").data.file(tmp_path)
    path.parent.mkdir()
    write_store(path, arrays, attrs | {"source": "generate", "seed": 0}, {"x": "noise", "y": "noise"})
    out = tmp_path / "memory.json"
    record = predict_arms([arm("full"), arm("mixed-e5m2")], root=tmp_path, out=out)
    assert json.loads(out.read_text()) == record
    full, control = record["arms"]
    count = sum(p.numel() for p in make_model(arm("full").model, 3, 2).parameters())
    assert full["predicted_bytes"]["parameters"] == 4 * count and full["parameters"] == count
    assert control["predicted_bytes"] is None and control["parameters"] == count
