from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpno.datasets import pt_files
from mpno.datasets.pt_files import read_pairs
from mpno.specs import MpnoError

X = torch.arange(5 * 4 * 4, dtype=torch.float32).reshape(5, 4, 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "toy_train_4.pt"


def refused(path: Path, n: int | None = None) -> str:
    with pytest.raises(MpnoError) as caught:
        read_pairs(path, resolution=4, n=n)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize("new", [True, False])
def test_the_first_pairs_in_either_format_of_torch(path: Path, new: bool) -> None:
    torch.save({"x": X > 7, "y": X}, path, _use_new_zipfile_serialization=new)
    x, y = read_pairs(path, resolution=4, n=3)
    assert (x.dtype, y.dtype) == (np.bool_, np.float32)
    np.testing.assert_array_equal(x[:, 0], np.arange(48).reshape(3, 4, 4) > 7)
    np.testing.assert_array_equal(y[:, 0], np.arange(48).reshape(3, 4, 4))
    assert len(read_pairs(path, resolution=4).x) == 5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.uint8])
def test_channels_and_dtypes(path: Path, dtype: torch.dtype) -> None:
    both = torch.stack([X, X + 1], 1).to(dtype)
    torch.save({"x": both, "y": both.transpose(2, 3)}, path)
    x, y = read_pairs(path, resolution=4)
    np.testing.assert_array_equal(x, both.to(torch.float32).numpy())
    np.testing.assert_array_equal(y, both.to(torch.float32).numpy().swapaxes(2, 3))


def own_bytes() -> int:
    """Memory of this process alone: pages of a mapped file are the system's, and are given up when needed."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Anonymous"))


def test_a_large_file_is_mapped_and_looked_at_in_chunks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pt_files, "CHUNK", 2**20)
    big = torch.ones(600, 128, 128)
    torch.save({"x": big > 0, "y": big}, path)
    before = own_bytes()
    x, y = read_pairs(path, resolution=128)
    assert own_bytes() - before < 4 * 2**20
    assert bool(x.all()) and bool((y == 1).all())


class Code:
    """Pickled, it is a call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("raw", [False, True])
def test_a_pickle_with_code_is_refused_unrun(path: Path, tmp_path: Path, raw: bool) -> None:
    if raw:
        path.write_bytes(pickle.dumps({"x": Code(tmp_path / "run")}, protocol=2))
    else:
        torch.save({"x": Code(tmp_path / "run"), "y": X}, path)
    message = refused(path)
    assert "holds more than tensors (" in message and "GLOBAL posix.mkdir" in message
    assert "nothing of it was run" in message
    assert not (tmp_path / "run").exists()
    if not raw:
        torch.load(path, weights_only=False)
        assert (tmp_path / "run").exists()  # it would have


@pytest.mark.filterwarnings("ignore:Validating sparse")
@pytest.mark.parametrize(
    ("saved", "word"),
    [
        ([X, X], "holds a list; expected a dict"),
        ({"a": X, "u": X}, "x is not a tensor in it; it holds a: Tensor, u: Tensor"),
        ({"x": X}, "y is not a tensor"),
        ({"x": X, "y": [1.0]}, "y is not a tensor in it; it holds x: Tensor, y: list"),
        ({"x": X, "y": X[:4]}, "x has 5 samples, y has 4"),
        ({"x": X, "y": X[0]}, "y is (4, 4); allowed: (n, h, w)"),
        ({"x": X[:0], "y": X}, "x is (0, 4, 4); allowed"),
        ({"x": X, "y": X[:, :, :3]}, "y is (5, 4, 3); expected 4 x 4 points on the last two axes: take"),
        ({"x": X[..., None], "y": X}, "x is (5, 4, 4, 1); expected 4 x 4 points on the last two axes, channels second"),
        ({"x": X.to(torch.complex64), "y": X}, "x is torch.strided, torch.complex64; allowed: dense tensors of bool"),
        ({"x": X.to_sparse(), "y": X}, "x is torch.sparse_coo"),
        ({"x": X, "y": X / (X != 21)}, "y of sample 1 holds values that are not finite"),
        ({"x": X * (X != 64).log(), "y": X}, "x of sample 4 holds values that are not finite"),
        ({"x": X, "y": X.double() * 1e37}, "y of sample 2 holds values that are not finite in float32"),
    ],
)
def test_what_is_not_pairs_on_a_grid_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, saved: object, word: str
) -> None:
    monkeypatch.setattr(pt_files, "CHUNK", 2 * 16 * 4)  # two samples
    torch.save(saved, path)
    assert word in refused(path)


@pytest.mark.parametrize("n", [0, 6])
def test_more_samples_than_there_are(path: Path, n: int) -> None:
    torch.save({"x": X, "y": X}, path)
    assert f"{n} samples asked; allowed: 1 to 5: ask for fewer" in refused(path, n)


def test_samples_that_are_not_asked_for_may_be_anything(path: Path) -> None:
    torch.save({"x": X, "y": X / (X != 64)}, path)
    assert len(read_pairs(path, resolution=4, n=4).y) == 4


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_file(path: Path, new: bool, share: float) -> None:
    torch.save({"x": X, "y": X}, path, _use_new_zipfile_serialization=new)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    message = refused(path)
    # The older format begins with a pickle: cut within the name of a type, that type is unknown.
    assert ("not a whole torch archive" in message and "delete it and fetch again" in message) or (
        not new and "fetch it again if it was cut" in message
    )


def test_no_file(path: Path) -> None:
    assert "no such file" in refused(path)
