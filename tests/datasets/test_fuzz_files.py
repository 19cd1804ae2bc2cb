"""Whatever bytes stand in a data file or beside a download: what was written, or one line, without much memory."""

from __future__ import annotations

import json
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_toy import write_toy

from mpno.datasets import digests, load_split, read_attrs, read_pairs, registry, verify
from mpno.datasets.arrays import Arrays
from mpno.datasets.axes import fields
from mpno.specs import MpnoError

FILE = registry.RECORDS["darcy"].files[0]
ROOM = 300 * 1024
"""KiB that reading may take beyond what was taken before."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_toy(tmp_path_factory.mktemp("fuzz") / "toy.h5").read_bytes()


def taken() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def survives(read: Callable[[], object]) -> None:
    before = taken()
    try:
        read()
    except MpnoError as error:
        assert "\n" not in str(error) and str(error).isprintable()
    assert taken() - before < ROOM


PLACES = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)


# The same files each time: what the HDF5 library does with others is not ours to find here.
@settings(max_examples=60, derandomize=True)
@given(PLACES, st.floats(0, 1.5))
def test_a_store_with_other_bytes_is_read_or_refused(
    whole: bytes, places: list[tuple[float, bytes]], cut: float
) -> None:
    content = bytearray(whole)
    for share, found in places:
        at = int(share * (len(content) - 8))
        content[at : at + len(found)] = found
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "toy.h5")
        path.write_bytes(content[: int(len(content) * cut)] if cut < 1 else content)
        survives(lambda: load_split(path, "train", "6x9"))
        survives(lambda: verify(path))
        survives(lambda: (read_attrs(path), read_pairs(path)))

        def as_other() -> None:
            with Arrays(path) as arrays:
                fields(*arrays.get("train/6x9/x"), "n c y x").read(0, 5)

        survives(as_other)


VALUES = st.sampled_from([
    0, -1, 2.5, "text", "", [1, 2], ["a"], np.nan, np.bytes_(b"\xff\xfe"), np.zeros((0, 3)), h5py.Empty("f8"), True,
])  # fmt: skip
NAMES = st.sampled_from(["format_version", "name", "source", "digest", "axes", "periodic", "layout", "licence", "seed"])
KEYS = st.sampled_from(["train", "test", "train/6x9", "train/6x9/x", "train/6x9/y"])


@settings(max_examples=80, derandomize=True)
@given(st.lists(st.tuples(NAMES | KEYS, VALUES), min_size=1, max_size=3))
def test_a_store_with_other_attributes_and_arrays_is_read_or_refused(
    whole: bytes, changes: list[tuple[str, object]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "toy.h5")
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            for key, value in changes:
                if key in ("train", "test") or "/" in key:
                    if key in file:
                        del file[key]
                        file[key] = value
                else:
                    file.attrs[key] = value
        survives(lambda: load_split(path, "train", "6x9"))
        survives(lambda: verify(path))
        survives(lambda: (read_attrs(path), read_pairs(path)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: st.lists(part, max_size=2) | st.dictionaries(st.sampled_from(["md5", "size", FILE.name]), part),
    max_leaves=6,
)


@settings(max_examples=80)
@given(st.dictionaries(st.sampled_from(["learnt", "checked"]), JSON).map(json.dumps) | JSON.map(json.dumps) | st.text())
def test_notes_on_downloads_are_read_or_refused(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        kept = digests.folder_of(FILE, cache)
        kept.mkdir(parents=True)
        (kept / FILE.name).touch()
        (kept / digests.NOTES).write_text(text, encoding="utf-8", errors="replace")
        survives(lambda: (digests.state(FILE, cache), digests.expected(FILE, cache), digests.lines_to_commit(cache)))


@settings(max_examples=60)
@given(st.sampled_from(["npy", "npz", "pt", "mat", "h5"]), st.binary(max_size=200))
def test_any_bytes_as_someone_s_arrays_are_read_or_refused(ending: str, content: bytes) -> None:
    heads = {"npy": b"\x93NUMPY\x01\x00", "npz": b"PK\x03\x04", "mat": b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"in.{ending}")
        path.write_bytes(heads.get(ending, b"") + content)

        def read() -> None:
            with Arrays(path) as arrays:
                arrays.get(None)

        survives(read)


@pytest.mark.parametrize("kind", ["claims", "external", "virtual", "link"])
def test_values_that_are_not_in_the_file_are_refused(whole: bytes, tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "toy.h5", tmp_path / "other.h5"
    path.write_bytes(whole)
    with h5py.File(other, "w") as file:
        file["y"] = np.zeros((5, 1, 6, 9), "f4")
    with h5py.File(path, "r+") as file:
        del file["train/6x9/y"]
        if kind == "claims":
            file.create_dataset("train/6x9/y", (10**12, 1, 6, 9), "f4", chunks=(1, 1, 6, 9))
        elif kind == "external":
            file.create_dataset("train/6x9/y", (5, 1, 6, 9), "f4", external=[(str(other), 0, 1080)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((5, 1, 6, 9), "f4")
            layout[:] = h5py.VirtualSource(str(other), "y", (5, 1, 6, 9))
            file.create_virtual_dataset("train/6x9/y", layout)
        else:
            file["train/6x9/y"] = h5py.ExternalLink(str(other), "y")
    said = "are stored; refused" if kind == "claims" else "lie in another file; refused"
    with pytest.raises(MpnoError, match=said):
        load_split(path, "train", "6x9")
    with pytest.raises(MpnoError):
        verify(path)
