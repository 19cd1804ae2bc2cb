"""Samples in memory or left in the file: the same numbers, and memory that stays bounded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mpno.datasets import Normaliser, write_store, writing
from mpno.specs import DataSpec, FNOSpec, PrecisionSetting, RunSpec, TrainingSpec
from mpno.training import evaluate_run, train_run
from mpno.training.data import StoredTensor, load_samples

ATTRS = dict.fromkeys(("title", "units_x", "units_y", "licence", "citation", "origin"), "toy")
ATTRS |= {"name": "toy", "source": "import"}
CPU = torch.device("cpu")
SPEC = RunSpec(
    data=DataSpec(
        name="toy", source="import", resolution="10x14", test_resolutions=("10x14", "20x28"), n_train=12, n_test=3
    ),
    model=FNOSpec(modes=(4, 6), width=6, layers=2),
    training=TrainingSpec(epochs=2, batch_size=4, normalise_output=True),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two channels to two on a periodic grid that is not square, in units far from one."""
    path = tmp_path_factory.mktemp("data") / "toy.h5"
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n, grid in (("train", 12, (10, 14)), ("test", 3, (10, 14)), ("test", 3, (20, 28))):
        x = rng.standard_normal((n, 2, *grid))
        key = f"{split}/{grid[0]}x{grid[1]}"
        arrays |= {f"{key}/x": 100 * x + 7, f"{key}/y": 1e4 * (x + np.roll(x, 1, -1))}
    write_store(path, arrays, ATTRS | {"seed": None, "periodic": True}, {"x": "noise", "y": "sums"})
    return path


def test_samples_left_in_the_file_are_those_in_memory(data: Path) -> None:
    lazy, held = (load_samples(SPEC, data, CPU, in_memory=bound) for bound in (0, 2**30))
    assert isinstance(lazy.x, StoredTensor) and isinstance(held.x, torch.Tensor)
    assert (lazy.periodic, lazy.x.shape, len(lazy.y), lazy.x.device) == (True, held.x.shape, 12, CPU)
    index = torch.tensor([7, 0, 11, 7])
    for kind in ("x", "y"):
        torch.testing.assert_close(getattr(lazy, kind)[index], getattr(held, kind)[index], rtol=0, atol=0)
        torch.testing.assert_close(getattr(lazy, kind)[2:5], getattr(held, kind)[2:5], rtol=0, atol=0)
    for grid, (x, y) in lazy.tests.items():
        for part, whole in ((x, held.tests[grid][0]), (y, held.tests[grid][1])):
            parts = list(part.split(2))
            assert [len(one) for one in parts] == [2, 1]
            torch.testing.assert_close(torch.cat(parts), torch.as_tensor(whole[:]), rtol=0, atol=0)


def test_training_samples_are_standardised_and_test_targets_are_not(data: Path) -> None:
    held = load_samples(SPEC, data, CPU)
    for values in (held.x, held.y):
        values = values[:].double()
        assert values.mean((0, 2, 3)).abs().max() < 1e-5  # float32 rounding of numbers of size one
        assert (values.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    assert held.tests["20x28"][1][:].abs().max() > 1e4
    # A part of the samples has the statistics of this part.
    part = load_samples(SPEC.model_copy(update={"data": SPEC.data.model_copy(update={"n_train": 5})}), data, CPU)
    assert part.x[:].double().mean((0, 2, 3)).abs().max() < 1e-5
    assert isinstance(part.output, Normaliser) and part.output != held.output


@pytest.mark.parametrize("precision", ["full", "mixed"])
def test_a_grid_that_is_not_square_trains_and_is_tested(data: Path, tmp_path: Path, precision: str) -> None:
    spec = SPEC.model_copy(update={"precision": PrecisionSetting.model_validate(precision)})
    record = train_run(spec, data=data, out=tmp_path / "run", progress=False)
    assert record["status"] == "finished" and list(record["metrics"]) == ["10x14", "20x28"]
    assert record["data"]["source"] == "import" and "_fno_" in record["id"] and "toy10x14" in record["id"]
    header = (tmp_path / "run" / "history.csv").read_text().splitlines()[0]
    assert header.endswith("l2@10x14,h1@10x14,l2@20x28,h1@20x28")
    again = evaluate_run(tmp_path / "run", data=data, resolution="20x28")
    assert again["l2"] == pytest.approx(record["metrics"]["20x28"]["l2"], rel=1e-6)


def test_training_from_the_file_gives_the_same_bits(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = []
    for name, bound in (("held", 2**40), ("lazy", 0)):
        monkeypatch.setattr("mpno.training.data.memory", lambda device, bound=bound: bound)
        records.append(train_run(SPEC, data=data, out=tmp_path / name, progress=False))
    assert records[0]["metrics"] == records[1]["metrics"]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("held", "lazy")]
    assert weights[0] == weights[1]


PEAK = """
import sys, torch
from pathlib import Path
from mpno.specs import DataSpec, RunSpec
from mpno.training.data import load_samples

def peak():  # the high-water mark of this program alone: getrusage's also counts the one that started it
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

data = DataSpec(name="toy", source="import", resolution=256, test_resolutions=(256,), n_train=160, n_test=8)
spec = RunSpec(data=data)
for bound in (2**20, 2**30):
    before = peak()
    samples = load_samples(spec, Path(sys.argv[1]), torch.device("cpu"), in_memory=bound)
    for index in torch.randperm(160).split(4):
        samples.x[index], samples.y[index]
    print(peak() - before)
"""


def test_memory_is_bounded_for_a_set_that_is_larger(tmp_path: Path) -> None:
    """80 MiB of training samples take under 32 MiB where 1 MiB may be held: a batch is 2 MiB, copied a few times."""
    rng = np.random.default_rng(0)
    with writing(tmp_path / "large.h5", ATTRS | {"seed": None}, {"x": "noise", "y": "noise"}) as store:
        for split, count in (("train", 160), ("test", 8)):
            for _ in range(0, count, 8):
                for kind in "xy":
                    store.append(f"{split}/256/{kind}", rng.random((8, 1, 256, 256), dtype=np.float32))

    command = [sys.executable, "-c", PEAK, str(tmp_path / "large.h5")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    bounded, whole = map(int, done.stdout.split())
    assert bounded < 32 * 2**20
    assert bounded + whole > 80 * 2**20
