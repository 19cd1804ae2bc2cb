"""Data of the user's own: every format and order of axes gives the same store, and what is wrong is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat

from mpno.datasets import load_split, read_attrs, read_pairs, verify
from mpno.datasets.imported import Request, import_set
from mpno.specs import MpnoError

RNG = np.random.default_rng(3)
A, U = RNG.standard_normal((20, 2, 11, 15)), RNG.standard_normal((20, 1, 11, 15))
"""Float64, an odd grid that is not square, two channels to one."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_h5(path: str, **arrays: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array
    return Path(path)


def request(file: Path, **more: Any) -> Request:
    return replace(Request(file=file, name="mine", input="a", target="u"), **more)


def stored() -> dict[str, np.ndarray]:
    """The samples of the imported set, train and test joined in the order of the file."""
    path = Path("results/data/imported/mine.h5")
    verify(path)
    parts = [load_split(path, split, "11x15") for split in ("train", "test")]
    return {kind: np.concatenate([getattr(part, kind) for part in parts]) for kind in "xy"}


def same_samples(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    order = [np.lexsort(part.reshape(len(part), -1).T) for part in (found, expected.astype(np.float32))]
    np.testing.assert_array_equal(found[order[0]], expected.astype(np.float32)[order[1]])


def as_h5(a: np.ndarray, u: np.ndarray) -> Request:
    return request(write_h5("my.h5", a=a, u=u))


def as_npz(a: np.ndarray, u: np.ndarray) -> Request:
    np.savez("my.npz", a=a, u=u)
    return request(Path("my.npz"))


def as_npy(a: np.ndarray, u: np.ndarray) -> Request:
    np.save("a.npy", a)
    np.save("u.npy", u)
    return request(Path("a.npy"), input=None, target="u.npy")


def as_pt(a: np.ndarray, u: np.ndarray) -> Request:
    torch.save({"a": torch.as_tensor(a), "u": torch.as_tensor(u)}, "my.pt")
    return request(Path("my.pt"))


def as_mat(a: np.ndarray, u: np.ndarray) -> Request:
    savemat("my.mat", {"a": a, "u": u})
    return request(Path("my.mat"))


def as_mat73(a: np.ndarray, u: np.ndarray) -> Request:
    """What MATLAB's -v7.3 writes: HDF5 with the axes in Fortran's order."""
    return request(write_h5("my.mat", a=a.T, u=u.T))


@pytest.mark.parametrize("write", [as_h5, as_npz, as_npy, as_pt, as_mat, as_mat73])
def test_every_format_gives_the_same_samples(write: Any) -> None:
    out, said = import_set(write(A, U))
    assert "n c y x (inferred" in said[0] and "float64 kept as float32" in said[0]
    found = stored()
    same_samples(found["x"], A)
    same_samples(found["y"], U)
    assert read_pairs(out) == {("train", "11x15"): 16, ("test", "11x15"): 4}


@pytest.mark.parametrize(
    ("a", "u", "layout"),
    [
        (np.moveaxis(A, 1, -1), np.moveaxis(U, 1, -1), None),  # channels last
        (A, U[:, 0], None),  # the target without a channel axis
        (np.moveaxis(A, 1, -1), U[:, 0], "n y x c"),
        (A.transpose(3, 2, 1, 0), U.transpose(3, 2, 1, 0), "x y c n"),
    ],
    ids=["channels last", "no channel axis", "both", "reversed"],
)
def test_axes_in_any_order(a: np.ndarray, u: np.ndarray, layout: str | None) -> None:
    import_set(replace(as_h5(a, u), layout=layout))
    found = stored() if layout != "x y c n" else None
    if found is None:  # the grid's axes keep the order of the file
        path = Path("results/data/imported/mine.h5")
        assert load_split(path, "train", "15x11").x.shape == (16, 2, 15, 11)
        assert read_attrs(path)["axes"] == ["x", "y"]
        return
    same_samples(found["x"], A)
    same_samples(found["y"], U)


@pytest.mark.parametrize("dtype", ["f4", "f2", "i8", "u1", "?"])
def test_real_numbers_of_every_kind(dtype: str) -> None:
    a = (A * 50).astype(dtype) if dtype != "?" else A > 0
    import_set(as_h5(a, U))
    same_samples(stored()["x"], a)


@pytest.mark.parametrize("shape", [(30, 64), (30, 3, 64), (30, 64, 3), (12, 9, 8, 10), (12, 2, 9, 8, 10)])
def test_grids_of_one_to_three_axes(shape: tuple[int, ...]) -> None:
    array = RNG.standard_normal(shape)
    out, _ = import_set(as_h5(array, array[..., ::-1]))
    assert len(read_attrs(out)["axes"]) == sum(n > 7 for n in shape[1:])


def test_the_share_is_drawn_by_the_seed() -> None:
    made = []
    for seed in (0, 0, 1):
        import_set(replace(as_h5(A, U), seed=seed, test_fraction=0.25), replace=True)
        made.append(load_split(Path("results/data/imported/mine.h5"), "test", "11x15").x)
    assert made[0].shape[0] == 5
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_test_sets_of_their_own_on_several_grids() -> None:
    fine = RNG.standard_normal((3, 2, 21, 30))
    write_h5("fine.h5", a=fine, u=fine[:, :1])
    np.savez("same.npz", q=A[:4] + 9, w=U[:4])
    file = write_h5("my.h5", a=A, u=U)
    extra = {"test_input": "same.npz:q", "test_target": "same.npz:w", "tests": (Path("fine.h5"),)}
    out, said = import_set(request(file, **extra))
    assert read_pairs(out) == {("train", "11x15"): 20, ("test", "11x15"): 4, ("test", "21x30"): 3}
    np.testing.assert_array_equal(load_split(out, "test", "11x15").x, (A[:4] + 9).astype(np.float32))
    assert "samples: 20 train" in said and any("21 x 30" in line for line in said)
    # Only another grid: a share of the training samples is set aside on theirs.
    out, _ = import_set(request(file, tests=(Path("fine.h5"),)), replace=True)
    assert read_pairs(out) == {("train", "11x15"): 16, ("test", "11x15"): 4, ("test", "21x30"): 3}


def test_what_the_file_says_of_itself() -> None:
    file = write_h5("my.h5", a=A, u=U, y=np.linspace(0, 1, 11), x=np.arange(15) * 0.1)
    more = {"coordinates": "y,x", "periodic": True, "units": "m, Pa", "licence": "CC0-1.0", "citation": "me"}
    attrs = read_attrs(import_set(request(file, **more))[0])
    assert (attrs["name"], attrs["source"], attrs["periodic"]) == ("mine", "import", True)
    assert (attrs["units_x"], attrs["units_y"], attrs["licence"]) == ("m", "Pa", "CC0-1.0")
    np.testing.assert_allclose(attrs["coordinates_x"], np.arange(15) * 0.1)
    assert json.loads(attrs["origin"])["dtype"] == ["float64", "float64"]


def spoilt(where: tuple[int, ...], value: float) -> np.ndarray:
    array = A.copy()
    array[where] = value
    return array


MISTAKES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "NaN": ({"a": spoilt((13, 1, 2, 3), np.nan), "u": U}, {}, "my.h5:a: sample 13 holds NaN or infinity"),
    "infinity": ({"a": A, "u": spoilt((2, 0, 0, 0), np.inf)}, {}, "my.h5:u: sample 2 holds NaN or infinity"),
    "too large": ({"a": spoilt((4, 0, 0, 0), 1e300), "u": U}, {}, "sample 4 holds values beyond float32"),
    "complex": ({"a": A + 0j, "u": U}, {}, "holds complex128; allowed: .* two channels"),
    "text": ({"a": np.array([b"x"] * 20), "u": U}, {}, "allowed: bool, integers and floats"),
    "counts": ({"a": A, "u": U[:19]}, {}, "my.h5:a has 20 samples, .*my.h5:u has 19"),
    "grids": ({"a": A, "u": U[..., :14]}, {}, r"grid of \(11, 15\), .* on \(11, 14\)"),
    "too few": ({"a": A[:2], "u": U[:2]}, {}, "2 samples, of which 1 for tests; at least 2"),
    "tiny grid": ({"a": A[..., :2], "u": U[..., :2]}, {"layout": "n c y x"}, "at least 4 points per axis"),
    "ambiguous": ({"a": A[:, :, :6, :6], "u": U[:, :, :6, :6]}, {}, "may be 'n c y x' or .*; say which with --layout"),
    "layout": ({"a": A, "u": U}, {"layout": "n c y"}, "layout 'n c y' does not fit"),
    "layout twice": ({"a": A, "u": U}, {"layout": "n c y y"}, "name each axis once"),
    "key": ({"a": A, "u": U}, {"target": "v"}, "no array 'v'; allowed: a, u"),
    "no key": ({"a": A, "u": U}, {"input": None}, r"holds a \(20, 2, 11, 15\), u .*; name the array"),
    "name": ({"a": A, "u": U}, {"name": "My Data"}, "'My Data': is no name"),
    "taken name": ({"a": A, "u": U}, {"name": "darcy"}, "'darcy': is a set of the paper"),
    "fraction": ({"a": A, "u": U}, {"test_fraction": 1.0}, "--test-fraction 1"),
    "twins": ({"a": np.tile(A[:2], (10, 1, 1, 1)), "u": np.tile(U[:2], (10, 1, 1, 1))}, {}, "is training sample"),
    "own test set": ({"a": A, "u": U}, {"test_input": "a", "test_target": "u"}, "test sample 0 at 11x15 is training"),
    "half a test set": ({"a": A, "u": U}, {"test_input": "a"}, "come together"),
    "coordinates": (
        {"a": A, "u": U, "y": np.arange(11.0) ** 2, "x": np.arange(15)},
        {"coordinates": "y,x"},
        "equal steps",
    ),
    "axes": ({"a": A, "u": U, "y": np.arange(11.0)}, {"coordinates": "y"}, "1 keys; the grid has axes y,x"),
    "units": ({"a": A, "u": U}, {"units": "m"}, "--units 'm'"),
}


@pytest.mark.parametrize(("arrays", "more", "what"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_and_nothing_is_written(arrays: Any, more: dict[str, Any], what: str) -> None:
    file = write_h5("my.h5", **arrays)
    with pytest.raises(MpnoError, match=what) as caught:
        import_set(request(file, **more))
    assert "\n" not in str(caught.value)
    assert not list(Path().glob("results/data/imported/*"))


@pytest.mark.parametrize(
    ("name", "what"),
    [("no.h5", "no such file"), ("a.csv", "ends in .csv; allowed: .h5"), ("cut.h5", "cut.h5: cannot be read as .h5"),
     ("cut.npz", "cannot be read"), ("cut.npy", "cannot be read"), ("cut.pt", "cannot be read"),
     ("code.pt", "never run")],
)  # fmt: skip
def test_files_that_cannot_be_read(name: str, what: str) -> None:
    if name == "code.pt":
        torch.save({"a": Path("x")}, name)
    elif name != "no.h5":
        Path(name).write_bytes(b"PK\x03\x04 nothing that helps")
    with pytest.raises(MpnoError, match=what) as caught:
        import_set(request(Path(name)))
    assert "\n" not in str(caught.value)


def test_an_import_is_not_overwritten_unasked() -> None:
    import_set(as_h5(A, U))
    with pytest.raises(MpnoError, match="exists; choose another --name, or give --replace"):
        import_set(as_h5(A, U))


def test_the_folder_is_the_users_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPNO_IMPORTED", "elsewhere")
    assert import_set(as_h5(A, U))[0] == Path("elsewhere/mine.h5")


def test_a_large_file_is_copied_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No read of the input asks for more than a block, however many samples there are."""
    largest = 0

    def watched(self: Any, index: Any) -> np.ndarray:
        nonlocal largest
        found = whole(self, index)
        largest = max(largest, np.asarray(found).nbytes)
        return found

    whole = h5py.Dataset.__getitem__
    a = RNG.standard_normal((300, 2, 11, 15))
    task = as_h5(a, a[:, :1])
    monkeypatch.setattr("mpno.datasets.imported.BLOCK_BYTES", 40_000)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", watched)
    import_set(task)
    monkeypatch.undo()
    assert 20_000 < largest <= 40_000
