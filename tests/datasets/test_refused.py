"""A data file that is not what it should be is refused with its name, the field and the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from store_toy import write_toy

from mpno.datasets import lazy_split, load_split, read_attrs, verify
from mpno.specs import MpnoError


def _edit(change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return apply


def _replaced(key: str, values: np.ndarray) -> Callable[[h5py.File], None]:
    def apply(file: h5py.File) -> None:
        del file[key]
        file[key] = values

    return apply


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def _flip(path: Path) -> None:
    """One bit of one number, where only a checksum can see it."""
    with h5py.File(path) as file:
        item = file["train/6x9/y"]
        assert isinstance(item, h5py.Dataset)
        place = item.id.get_chunk_info(0).byte_offset + 40
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)


ANEW = "delete the file and make it anew"
CASES = {
    "a flipped bit": (_flip, "not a whole HDF5 file", ANEW),
    "truncated": (_truncate, "not a whole HDF5 file", ANEW),
    "not HDF5": (lambda path: path.write_bytes(b"x" * 9000), "not a whole HDF5 file", ANEW),
    "samples without a target": (
        _edit(_replaced("train/6x9/y", np.zeros((3, 1, 6, 9), "f4"))),
        "train/6x9/x has 5",
        ANEW,
    ),
    "another grid": (
        _edit(_replaced("train/6x9/y", np.zeros((5, 1, 9, 6), "f4"))),
        r"train/6x9/y is \(5, 1, 9, 6\)",
        ANEW,
    ),
    "no channel axis": (_edit(_replaced("train/6x9/x", np.zeros((5, 6), "f4"))), "train/6x9/x", ANEW),
    "float64": (_edit(_replaced("train/6x9/x", np.zeros((5, 2, 6, 9)))), "train/6x9/x is float64", ANEW),
    "NaN": (
        _edit(_replaced("train/6x9/x", np.full((5, 2, 6, 9), np.nan, "f4"))),
        "train/6x9/x holds .* not finite",
        ANEW,
    ),
    "no array": (_edit(lambda file: file.__delitem__("train/6x9/y")), "array train/6x9/y is missing", ANEW),
    "no attribute": (_edit(lambda file: file.attrs.__delitem__("licence")), "attribute licence is missing", ANEW),
    "newer": (_edit(lambda file: file.attrs.__setitem__("format_version", 99)), "format_version is 99", "update mpno"),
    "older": (
        _edit(lambda file: file.attrs.__setitem__("format_version", 1)),
        "format_version is 1",
        "make the file anew",
    ),
    "missing": (Path.unlink, "no such file", "python -m mpno data make"),
}


@pytest.mark.parametrize(("spoil", "what", "way_out"), CASES.values(), ids=CASES)
def test_reading_refuses(tmp_path: Path, spoil: Callable[[Path], None], what: str, way_out: str) -> None:
    path = write_toy(tmp_path / "toy.h5")
    load_split(path, "train", "6x9")
    spoil(path)
    for read in (load_split, lambda *where: lazy_split(*where).x[:] + lazy_split(*where).y[:]):
        with pytest.raises(MpnoError, match=what) as caught:
            read(path, "train", "6x9")
        text = str(caught.value)
        assert str(path) in text and way_out in text and "\n" not in text


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("samples without a target", "another grid")])
def test_verify_refuses(tmp_path: Path, case: str) -> None:
    path = write_toy(tmp_path / "toy.h5")
    verify(path)
    CASES[case][0](path)
    with pytest.raises(MpnoError, match=str(path)):
        verify(path)


def test_verify_sees_changed_numbers_attributes_and_arrays(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.h5")

    def change(file: h5py.File) -> None:
        item = file["train/6x9/y"]
        assert isinstance(item, h5py.Dataset)
        item[4, 0, 5, 8] += 1

    _edit(change)(path)
    load_split(path, "train", "6x9", 4)
    with pytest.raises(MpnoError, match=r"toy\.h5: sha256 of train/6x9/y is .* make it anew"):
        verify(path)
    write_toy(path)
    _edit(lambda file: file["train/6x9/x"].attrs.__setitem__("mean", [0.0, 1.0]))(path)
    with pytest.raises(MpnoError, match="attribute mean of train/6x9/x"):
        verify(path)
    write_toy(path)
    _edit(lambda file: file.move("test/6x9", "test/9x6"))(path)
    with pytest.raises(MpnoError, match="digest is"):
        verify(path)


def test_attributes_come_back_plain(tmp_path: Path) -> None:
    attrs = read_attrs(write_toy(tmp_path / "toy.h5"))
    assert (attrs["axes"], attrs["periodic"], attrs["seed"]) == (["y", "x"], True, None)
