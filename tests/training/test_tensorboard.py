"""Scalars per epoch for TensorBoard beside the history, and one line where the package is missing."""

from __future__ import annotations

import csv
import sys
import types
from pathlib import Path

import pytest
from analytic_store import write_analytic

from mpno import MpnoError, RunSpec
from mpno.specs import DataSpec, FNOSpec, TrainingSpec
from mpno.training import train_run

SPEC = RunSpec(
    data=DataSpec(name="toy", source="import", resolution=16, test_resolutions=(16,), n_train=4, n_test=2),
    model=FNOSpec(modes=(4, 4), width=4, layers=1),
    training=TrainingSpec(epochs=2, batch_size=4),
)


class Writer:
    """What torch's SummaryWriter is called with."""

    made: list[Writer] = []  # noqa: RUF012

    def __init__(self, folder: str) -> None:
        self.folder, self.seen, self.closed = folder, [], False
        Writer.made.append(self)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.seen.append((name, value, step))


def test_every_number_of_the_history_is_a_scalar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("torch.utils.tensorboard")
    vars(module)["SummaryWriter"] = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    data = write_analytic(tmp_path / "toy.h5", n_train=4, grids=(16,))
    train_run(SPEC, data=data, out=tmp_path / "run", progress=False, tensorboard=tmp_path / "board")
    (writer,) = Writer.made
    assert writer.closed and writer.folder == str(tmp_path / "board")
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").open()))
    assert [float(row["train_loss"]) for row in rows] == [v for name, v, _ in writer.seen if name == "train_loss"]
    assert {step for _, _, step in writer.seen} == {1, 2}
    assert {name for name, _, _ in writer.seen} == set(rows[0]) - {"epoch", "precision"}
    # Without a folder nothing is written, and the run is the same.
    train_run(SPEC, data=data, out=tmp_path / "plain", progress=False)
    assert len(Writer.made) == 1
    assert (tmp_path / "plain" / "model.safetensors").read_bytes() == (
        tmp_path / "run" / "model.safetensors"
    ).read_bytes()


def test_a_missing_package_is_one_line_that_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    data = write_analytic(tmp_path / "toy.h5", n_train=4, grids=(16,))
    with pytest.raises(MpnoError, match=r"tensorboard is not installed; install it: pip install 'mpno\[tensorboard\]'"):
        train_run(SPEC, data=data, out=tmp_path / "run", progress=False, tensorboard=tmp_path / "board")
    assert not (tmp_path / "run").exists()
