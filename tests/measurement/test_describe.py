"""A description counts what is there and predicts what predict_bytes does."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

import mpno
from mpno import MpnoError
from mpno.datasets import make
from mpno.measurement import predict_bytes
from mpno.specs import SETTINGS, RunSpec, build_spec
from mpno.training.data import load_samples


def spec(**model: object) -> RunSpec:
    return build_spec({"model": {"width": 6, "modes": [6, 4], "layers": 2, **model}}, where="test")


def dense_fno(width: int, layers: int, modes: tuple[int, int], channels: tuple[int, int]) -> int:
    """Parameters counted with pencil and paper: lifting, blocks and projection with the default ratios."""
    (given, made), hidden = channels, 2 * width

    def mlp(a: int, h: int, b: int) -> int:
        return a * h + h + h * b + b

    spectral = modes[0] * (modes[1] // 2 + 1) * width * width * 2 + width
    block = spectral + width * width + mlp(width, width // 2, width) + width
    return mlp(given + 2, hidden, width) + layers * block + mlp(width, hidden, made)


def test_parameters_are_those_counted_by_hand() -> None:
    assert mpno.describe(spec(), 3, 2).parameters == dense_fno(6, 2, (6, 4), (3, 2))
    assert mpno.describe(spec(name="tfno")).parameters < mpno.describe(spec()).parameters


def test_every_setting_has_its_predicted_bytes() -> None:
    described = mpno.describe(spec())
    assert tuple(described.memory) == SETTINGS
    for setting, found in described.memory.items():
        run = build_spec({**spec().model_dump(), "precision": setting}, where="test")
        assert found == predict_bytes(run)
    mixed, full = described.memory["mixed"], described.memory["full"]
    assert mixed is not None and full is not None and mixed["activations"] < full["activations"]
    lines = str(described).splitlines()
    assert f"fno: {described.parameters:,} parameters" in lines[0] and "batch 32, grid 16x16" in lines[2]
    (row,) = [line.split() for line in lines if line.startswith("mixed")]
    assert float(row[-2]) == pytest.approx(mixed["peak"] / 2**20, abs=0.005)
    assert float(row[-1]) == pytest.approx(mixed["peak"] / full["peak"], abs=0.005)


def test_a_run_of_few_epochs_has_a_schedule_s_memory_too() -> None:
    short = spec().model_copy(update={"training": spec().training.model_copy(update={"epochs": 1})})
    assert mpno.describe(short, settings=["schedule"]).memory == mpno.describe(spec(), settings=["schedule"]).memory


def test_it_says_the_run_s_precision_and_transform_and_what_a_schedule_s_memory_is() -> None:
    run = build_spec({**spec().model_dump(), "precision": "mixed-bf16", "transform": "matmul"}, where="test")
    described = mpno.describe(run, settings=["full", "mixed", "schedule"])
    lines = str(described).splitlines()
    assert lines[0].endswith("precision mixed-bf16, transform matmul")
    peak, mixed = described.memory["schedule"], described.memory["mixed"]
    assert peak is not None and mixed is not None and peak["peak"] >= mixed["peak"]
    assert lines[-1] == "schedule: that of its costliest phase, as the peak of a run is"
    assert "schedule" not in str(mpno.describe(run, settings=["full"]))


def test_a_model_is_answered_with_what_is_for_models() -> None:
    with pytest.raises(MpnoError, match=r"^describe: got a Linear; pass a RunSpec, or use mpno\.audit.*$"):
        inspect.unwrap(mpno.describe)(torch.nn.Linear(1, 1))  # type: ignore[arg-type]


def bodies_run() -> RunSpec:
    sizes = {"resolution": 8, "test_resolutions": (8,), "n_train": 2, "n_test": 1, "points": 200}
    model = {"name": "gino", "width": 4, "modes": [2, 2, 2], "layers": 1, "radius": 0.2}
    values = {"data": {"name": "ahmed", "source": "generate", **sizes}, "training": {"batch_size": 1}, "model": model}
    return build_spec(values, where="test")


def test_bodies_are_counted_and_without_a_file_their_memory_is_left_open() -> None:
    described = mpno.describe(bodies_run(), 3, 1, 2)
    assert described.parameters > 0 and set(described.memory.values()) == {None}
    assert str(described).endswith("memory of a training step: not predicted, for it takes a body of the data file")


def test_memory_on_bodies_is_that_of_the_first_one(tmp_path: Path) -> None:
    run, path = bodies_run(), tmp_path / "ahmed.h5"
    make(run.data, path, cache=tmp_path)
    described = mpno.describe(run, data=path)
    samples = load_samples(run, path, torch.device("cpu"))
    body = samples.x[:1]
    # The speeds of these bodies differ, so that it is an input: a second latent channel.
    assert described.parameters == mpno.describe(run, 3, 1, 2).parameters > mpno.describe(run, 3, 1, 1).parameters
    for setting, found in described.memory.items():
        other = build_spec({**run.model_dump(), "precision": setting}, where="test") if setting != "schedule" else None
        assert found and (other is None or found == predict_bytes(other, *samples.channels, body=body))
    assert described.channels == (3, 1) and described.points == 200
    lines = str(described).splitlines()
    assert lines[2] == "memory of a training step, predicted, MiB: a body of 200 points, grid 8x8x8"
    assert len(lines) == 5 + len(SETTINGS)
    every = run.model_copy(update={"data": run.data.model_copy(update={"points": None})})
    assert (mpno.describe(every, data=path).points or 0) > 200
