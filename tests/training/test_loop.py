"""A training from spec to record: paired arms, the same bits twice, divergence as a result."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mpno import MpnoError, RunSpec
from mpno.datasets import write_store
from mpno.specs import DataSpec, FNOSpec, OptimizerSpec, PrecisionSetting, TrainingSpec, build_spec
from mpno.training import evaluate_run, fit, load_run, predict_run, train_run
from mpno.training.build import build_model
from mpno.training.data import load_samples
from mpno.training.techniques import PATIENCE

SPEC = RunSpec(
    data=DataSpec(source="generate", resolution=12, test_resolutions=(12, 24), n_train=20, n_test=4),
    model=FNOSpec(modes=(6, 6), width=8, layers=2),
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
    write_store(
        path, arrays, attrs | {"name": "darcy", "source": "generate", "seed": 0}, {"x": "noise", "y": "smoothed x"}
    )
    return path


def history(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "history.csv").open()))


def test_record_history_and_weights(data: Path, tmp_path: Path) -> None:
    record = train_run(SPEC, data=data, out=tmp_path / "run", progress=False, provenance={"source_digest": "abc"})
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "history.csv",
        "metrics.json",
        "model.safetensors",
        "range.csv",
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


def test_range_is_that_of_the_largest_coefficient_by_epoch_layer_and_grid(data: Path, tmp_path: Path) -> None:
    """Of the last epoch against numpy's transforms of what the trained model's layers are given: the tests alone on
    the finer grid, on the other the training samples too, which had earlier weights."""
    train_run(SPEC, data=data, out=tmp_path / "run", progress=False)
    rows = list(csv.DictReader((tmp_path / "run" / "range.csv").open()))
    assert [(row["epoch"], row["layer"], row["points"]) for row in rows] == [
        (epoch, f"blocks.{layer}.conv", points) for epoch in "123" for points in ("144", "576") for layer in (0, 1)
    ]
    finished = load_run(tmp_path / "run")
    given: list[Tensor] = []
    for block in finished.model.get_submodule("blocks").children():
        block.get_submodule("conv").register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    for grid, asked in (("24", rows[-2:]), ("12", rows[-4:-2])):
        given.clear()
        with h5py.File(data) as file:
            finished.predict(np.asarray(file[f"test/{grid}/x"]))
        for row, x in zip(asked, given, strict=True):
            s = np.fft.fft2(x.double().numpy(), axes=(1, 2))[:, [-3, -2, -1, 0, 1, 2], :4]
            largest = max(np.abs(s.real).max(), np.abs(s.imag).max())
            assert float(row["largest"]) == pytest.approx(float(row["ratio"]) * 65504 / int(grid) ** 2, rel=1e-5)
            if grid == "24":
                assert float(row["ratio"]) == pytest.approx(largest / 65504, rel=1e-4)
            else:
                assert float(row["ratio"]) >= largest / 65504 * (1 - 1e-4)


def test_fp32_is_not_tf32_when_runs_train_or_are_used(data: Path, tmp_path: Path) -> None:
    backends: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]

    def after(use: Callable[[], object]) -> list[bool]:
        for backend in backends:
            backend.allow_tf32 = True
        use()
        return [backend.allow_tf32 for backend in backends]

    before = [backend.allow_tf32 for backend in backends]
    try:
        run, out, x = tmp_path / "run", tmp_path / "y.h5", tmp_path / "x.npy"
        np.save(x, np.zeros((1, 1, 12, 12), np.float32))
        short = SPEC.model_copy(update={"training": TrainingSpec(epochs=1, batch_size=20)})
        assert after(lambda: train_run(short, data=data, out=run, progress=False)) == [False, False]
        assert after(lambda: evaluate_run(run, data=data, resolution=12)) == [False, False]
        assert after(lambda: predict_run(run, x, out, progress=False)) == [False, False]
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


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
    assert set(record["diverged"]) == {"epoch", "step", "where", "operation", "first"}
    assert len(history(tmp_path / "run")) == record["diverged"]["epoch"] - 1
    rows = list(csv.DictReader((tmp_path / "run" / "range.csv").open()))
    assert {int(row["epoch"]) for row in rows} == set(range(1, record["diverged"]["epoch"] + 1))
    assert "inf" in {row["ratio"] for row in rows} and not {"nan", ""} & {v for row in rows for v in row.values()}
    assert (tmp_path / "run" / "model.safetensors").exists()


def run_with(data: Path, out: Path, precision: str = "full", **training: Any) -> tuple[dict, list[dict[str, str]]]:
    fields = {**SPEC.training.model_dump(), **training}
    spec = build_spec({**SPEC.model_dump(), "precision": precision, "training": fields}, where="test")
    return train_run(spec, data=data, out=out, progress=False), history(out)


class Settable(nn.Module):
    """A model whose precision can be set, and which notes what it was in at each training step."""

    def __init__(self, precision: PrecisionSetting) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))
        self.precision = precision
        self.spec, self.in_channels, self.out_channels = FNOSpec(), 1, 1
        self.steps: list[str] = []

    def set_precision(self, setting: PrecisionSetting) -> None:
        self.precision = setting

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.steps.append(self.precision.label)
        return self.factor * x


def test_the_schedule_switches_between_epochs_and_history_says_so(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Settable] = []

    def make(precision: PrecisionSetting) -> nn.Module:
        made.append(Settable(precision))
        return made[-1]

    monkeypatch.setattr("mpno.training.state.build_model", lambda spec, *_: make(spec.precision.at(0.0)))
    monkeypatch.setattr("mpno.models.saving.make_model", lambda *_, precision, **__: make(precision))
    _, rows = run_with(data, tmp_path / "run", "schedule", epochs=8)
    middle = "mixed FHH, stabiliser none"
    assert [row["precision"] for row in rows] == ["mixed"] * 2 + [middle] * 4 + ["full"] * 2
    assert made[0].steps == ["mixed"] * 6 + [middle] * 12 + ["full"] * 6
    evaluate_run(tmp_path / "run", data=data, resolution=12)
    assert made[1].precision.label == "full", "a finished run is tested in the phase it ended in"


def test_small_gradients_are_counted_and_choose_the_next_epoch(data: Path, tmp_path: Path) -> None:
    """Against the gradients that hooks of our own see, by numpy; then with a limit between the shares of two epochs."""
    seen: list[np.ndarray] = []

    def watched(spec: RunSpec, *channels: int) -> nn.Module:
        model = build_model(spec, *channels)
        for name, parameter in model.named_parameters():
            if ".conv." in name:
                parameter.register_hook(lambda gradient: seen.append(gradient.numpy().copy()))
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mpno.training.state.build_model", watched)
        _, rows = run_with(data, tmp_path / "never", "mixed, full above 99", epochs=3)
    each = np.split(np.concatenate([np.abs(g).ravel() for g in seen]), 3)  # epochs have as many gradients
    shares = [float(np.mean(part < 2.0**-14)) for part in each]
    assert [float(row["below_normal"]) for row in rows] == pytest.approx(shares, rel=1e-12) and len(set(shares)) == 3
    first, second, _ = shares
    limit = 50 * (first + second)  # percent, and between the two
    _, rows = run_with(data, tmp_path / "once", f"mixed, full above {limit}", epochs=3)
    assert first > second, "or the switch would come an epoch later"
    assert [row["precision"] for row in rows][:2] == ["mixed", "full+tanh"]
    assert float(rows[0]["below_normal"]) == shares[0] and float(rows[1]["below_normal"]) != shares[1]
    assert load_run(tmp_path / "once").setting.label == rows[-1]["precision"]
    assert "below_normal" not in run_with(data, tmp_path / "plain", "mixed", epochs=1)[1][0]


def test_techniques_off_change_no_bit(data: Path, tmp_path: Path) -> None:
    """Clipping far above every norm and a scale of 1 run the other path; in fp32 the numbers are the same."""
    _, plain = run_with(data, tmp_path / "plain")
    _, techniques = run_with(data, tmp_path / "techniques", grad_clip=1e9, loss_scaling=1.0)
    assert [row["l2@12"] for row in plain] == [row["l2@12"] for row in techniques]
    assert {row["precision"] for row in plain} == {"full"} and {row["skipped"] for row in plain} == {"0"}


@pytest.mark.parametrize(("every", "batch_size"), [(3, 20), (2, 16)])
def test_delayed_updates_are_larger_batches(data: Path, tmp_path: Path, every: int, batch_size: int) -> None:
    """20 samples in batches of 8, 8, 4: three of them are one batch of 20; by two they are 16 and what is left, 4."""
    _, delayed = run_with(data, tmp_path / "delayed", delayed_updates=every)
    _, whole = run_with(data, tmp_path / "whole", batch_size=batch_size)
    for row, other in zip(delayed, whole, strict=True):
        assert float(row["l2@12"]) == pytest.approx(float(other["l2@12"]), rel=1e-4)
        assert float(row["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-4)
        assert float(row["lr"]) == pytest.approx(float(other["lr"]), rel=1e-9)


def test_dynamic_scaling_skips_what_overflows_and_trains_on(data: Path, tmp_path: Path) -> None:
    record, rows = run_with(data, tmp_path / "run", "mixed", loss_scaling="dynamic", epochs=8)
    skipped = [int(row["skipped"]) for row in rows]
    assert record["status"] == "finished" and 0 < skipped[0] <= 3 and skipped[-1] == 0
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])


def test_loss_scaling_cannot_mend_a_forward_pass_that_overflows(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paper's finding: what overflows in the transform does so whatever the loss is multiplied with."""

    def wild(spec: RunSpec, *channels: int) -> nn.Module:
        model = build_model(spec, *channels)
        with torch.no_grad():
            model.get_parameter("blocks.0.conv.weight").mul_(1e7)
        return model

    monkeypatch.setattr("mpno.training.state.build_model", wild)
    for scaling, step in ((None, 1), ("dynamic", PATIENCE), (1024, PATIENCE)):
        record, _ = run_with(data, tmp_path / str(scaling), "half+none", loss_scaling=scaling, batch_size=1)
        assert (record["status"], record["diverged"]["step"]) == ("diverged", step)
        assert record["diverged"]["where"] == "blocks.0.conv" and record["diverged"]["operation"]
        assert record["diverged"]["first"] == 1
    record, _ = run_with(data, tmp_path / "tested", "half+none", loss_scaling="dynamic", batch_size=8)
    assert record["diverged"]["where"].startswith("evaluation")
    assert (record["diverged"]["step"], record["diverged"]["first"]) == (3, 1)


def test_an_evaluation_that_overflows_names_grid_and_layer(data: Path, tmp_path: Path) -> None:
    """Finite on the training grid and in every step; fields of another size overflow on the finer test grid."""
    samples = load_samples(SPEC, data, torch.device("cpu"))
    x, y = (part[torch.arange(len(part))] for part in samples.tests[24])
    broken = dataclasses.replace(samples, tests={12: samples.tests[12], 24: (1e30 * x, y)})
    outcome = fit(SPEC.model_copy(update={"precision": PrecisionSetting.model_validate("half+none")}), broken)
    assert outcome.diverged is not None and outcome.diverged.epoch == 1 and outcome.metrics is None
    assert outcome.diverged.where == "evaluation on 24 points along an axis: blocks.0.conv"


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match=r"nowhere\.h5"):
        train_run(SPEC, data=tmp_path / "nowhere.h5", out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
