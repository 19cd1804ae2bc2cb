from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import store_toy as toys

from mpno.datasets import fit_stored, lazy_split, load_split, read_attrs, read_pairs, verify, write_store, writing
from mpno.specs import MpnoError

ATTRS = {
    "name": "toy",
    "title": "A toy",
    "source": "generate",
    "units_x": "m",
    "units_y": "Pa",
    "licence": "MIT",
    "citation": "none",
    "origin": "{}",
    "seed": 3,
}
TEXT = {"x": "an input", "y": "a target"}


def toy_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = {"train/8": (5, 1, 8, 8), "test/8": (3, 1, 8, 8), "test/16": (3, 1, 16, 16)}
    return {f"{key}/{kind}": rng.standard_normal(size) for key, size in sizes.items() for kind in "xy"}


def array_of(file: h5py.File, key: str) -> h5py.Dataset:
    found = file[key]
    assert isinstance(found, h5py.Dataset)
    return found


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    write_store(tmp_path / "toy.h5", toy_arrays(), ATTRS, TEXT)
    return tmp_path / "toy.h5"


def test_what_is_written_is_read(toy: Path) -> None:
    arrays = toy_arrays()
    x, y = load_split(toy, "test", 16)
    assert x.dtype == y.dtype == np.float32
    np.testing.assert_array_equal(x, arrays["test/16/x"].astype(np.float32))
    np.testing.assert_array_equal(y, arrays["test/16/y"].astype(np.float32))
    np.testing.assert_array_equal(load_split(toy, "train", 8, 2).y, arrays["train/8/y"][:2].astype(np.float32))


def test_layout(toy: Path) -> None:
    with h5py.File(toy) as file:
        kept = array_of(file, "train/8/x")
        assert (kept.dtype, kept.chunks, kept.compression) == (np.dtype("<f4"), (64, 1, 8, 8), None)
        assert kept.fletcher32
        assert (kept.attrs["description"], np.asarray(kept.attrs["units"]).tolist()) == ("an input", ["m"])
        assert array_of(file, "test/16/x").chunks == (16, 1, 16, 16)


def test_attributes(toy: Path) -> None:
    attrs = read_attrs(toy)
    assert {key: attrs[key] for key in ATTRS} == ATTRS
    assert (attrs["format_version"], attrs["axes"], attrs["periodic"]) == (2, ["y", "x"], False)
    assert attrs["created_by"].startswith("mpno")


def test_no_seed_is_none(tmp_path: Path) -> None:
    write_store(tmp_path / "a.h5", toy_arrays(), ATTRS | {"seed": None}, TEXT)
    assert read_attrs(tmp_path / "a.h5")["seed"] is None


def test_digest_is_the_stated_hash(toy: Path) -> None:
    total = hashlib.sha256()
    for key, array in sorted(toy_arrays().items()):
        part = hashlib.sha256(array.astype("<f4").tobytes()).hexdigest()
        total.update(f"{key}:{array.shape}:<f4:{part};".encode())
    assert verify(toy) == read_attrs(toy)["digest"] == total.hexdigest()


def test_equal_data_have_equal_digests_and_other_data_have_not(toy: Path, tmp_path: Path) -> None:
    turned = dict(reversed(toy_arrays().items()))
    write_store(tmp_path / "same.h5", turned, ATTRS | {"title": "Another"}, TEXT)
    assert verify(tmp_path / "same.h5") == verify(toy)
    turned["train/8/x"][0, 0, 0, 0] += 1
    write_store(tmp_path / "other.h5", turned, ATTRS, TEXT)
    assert verify(tmp_path / "other.h5") != verify(toy)


def test_changed_values_do_not_verify(toy: Path) -> None:
    with h5py.File(toy, "r+") as file:
        array_of(file, "test/8/y")[0, 0, 0, 0] = 99.0
    with pytest.raises(MpnoError, match="sha256 of test/8/y is"):
        verify(toy)


def test_damaged_chunk_is_one_line(toy: Path) -> None:
    with h5py.File(toy) as file:
        chunk = array_of(file, "test/16/x").id.get_chunk_info(0)
    raw = bytearray(toy.read_bytes())
    raw[chunk.byte_offset : chunk.byte_offset + 60] = bytes(60)
    toy.write_bytes(raw)
    for read in (lambda: verify(toy), lambda: load_split(toy, "test", 16)):
        with pytest.raises(MpnoError, match="not a whole HDF5 file") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_missing_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match="python -m mpno data"):
        load_split(tmp_path / "no.h5", "train", 8)


@pytest.mark.parametrize("content", [b"", b"not a data file"])
def test_no_hdf5(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.h5").write_bytes(content)
    with pytest.raises(MpnoError, match="not a whole HDF5 file"):
        read_attrs(tmp_path / "bad.h5")


def test_truncated_file(toy: Path) -> None:
    toy.write_bytes(toy.read_bytes()[:-2000])
    with pytest.raises(MpnoError, match="not a whole HDF5 file"):
        load_split(toy, "train", 8)


@pytest.mark.parametrize(("split", "resolution"), [("train", 16), ("validation", 8)])
def test_missing_split_lists_what_there_is(toy: Path, split: str, resolution: int) -> None:
    with pytest.raises(MpnoError, match=r"test: 8 \(n = 3\), 16 \(n = 3\); train: 8 \(n = 5\)"):
        load_split(toy, split, resolution)


@pytest.mark.parametrize("n", [0, 6])
def test_sample_count_out_of_range(toy: Path, n: int) -> None:
    with pytest.raises(MpnoError, match="allowed: 1 to 5"):
        load_split(toy, "train", 8, n)


def test_values_that_are_not_finite_are_not_read(toy: Path) -> None:
    with h5py.File(toy, "r+") as file:
        array_of(file, "train/8/y")[4, 0, 1, 1] = np.inf
    load_split(toy, "train", 8, 4)
    with pytest.raises(MpnoError, match="train/8/y holds values that are not finite"):
        load_split(toy, "train", 8)


def test_other_format_version(toy: Path) -> None:
    with h5py.File(toy, "r+") as file:
        file.attrs["format_version"] = 3
    with pytest.raises(MpnoError, match="format_version is 3, this version reads 2; update mpno"):
        load_split(toy, "train", 8)


BAD = {
    "key": ({"train/8/z": np.zeros((1, 1, 8, 8))}, ATTRS, "train/8/z"),
    "alone": ({"train/8/x": np.zeros((1, 1, 8, 8))}, ATTRS, "its partner nothing"),
    "unpaired": ({"train/8/x": np.zeros((1, 1, 8)), "train/8/y": np.zeros((2, 1, 8))}, ATTRS, "partner"),
    "flat": ({"train/8/x": np.zeros((1, 8)), "train/8/y": np.zeros((1, 8))}, ATTRS, "channels"),
    "nan": ({"train/8/x": np.full((1, 1, 8), np.nan), "train/8/y": np.zeros((1, 1, 8))}, ATTRS, "not finite"),
    "none": ({}, ATTRS, "no arrays"),
    "attribute": (toy_arrays(), {key: ATTRS[key] for key in ATTRS if key != "licence"}, "licence is missing"),
}


@pytest.mark.parametrize(("arrays", "attrs", "word"), BAD.values(), ids=BAD.keys())
def test_what_does_not_fit_is_not_written(tmp_path: Path, arrays: dict, attrs: dict, word: str) -> None:
    with pytest.raises(MpnoError, match=word):
        write_store(tmp_path / "bad.h5", arrays, attrs, TEXT)
    assert not list(tmp_path.iterdir())


def test_failure_leaves_the_old_file_and_nothing_else(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = toy.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mpno.specs.files.os.fsync", full)
    with pytest.raises(MpnoError, match="No space left"):
        write_store(toy, toy_arrays(), ATTRS, TEXT)
    assert toy.read_bytes() == before
    assert [path.name for path in toy.parent.iterdir()] == ["toy.h5"]


def test_new_file_takes_the_place_of_the_old_at_once(toy: Path) -> None:
    before = toy.read_bytes()
    with toy.open("rb") as reader:
        write_store(toy, {key: array + 1 for key, array in toy_arrays().items()}, ATTRS, TEXT)
        assert reader.read() == before
    assert toy.read_bytes() != before


def test_folder_that_is_a_file(toy: Path) -> None:
    with pytest.raises(MpnoError, match="choose another folder"):
        write_store(toy / "inner.h5", toy_arrays(), ATTRS, TEXT)


def test_reading_needs_neither_solver_nor_torch() -> None:
    code = "import sys, mpno.datasets.store; print({'torch', 'scipy', 'pyamg'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_batches_of_any_size_make_the_same_store(tmp_path: Path) -> None:
    arrays = toys.toy_arrays(n_train=200)
    write_store(tmp_path / "whole.h5", arrays, toys.ATTRS, toys.TEXT)
    with writing(tmp_path / "parts.h5", toys.ATTRS, toys.TEXT) as store:
        for start in range(0, 200, 7):
            for key, array in arrays.items():
                if len(part := array[start : start + 7]):
                    store.append(key, part)
    assert verify(tmp_path / "parts.h5") == verify(tmp_path / "whole.h5")
    split = load_split(tmp_path / "parts.h5", "train", "6x9")
    np.testing.assert_array_equal(split.x, arrays["train/6x9/x"].astype(np.float32))


def test_statistics_are_those_of_the_training_split_in_float64(tmp_path: Path) -> None:
    arrays = toys.toy_arrays(n_train=40)
    arrays["train/6x9/x"][:, 1] += 1e4  # where sums of squares in float32 lose every digit
    write_store(tmp_path / "a.h5", arrays, toys.ATTRS, toys.TEXT)
    kept = arrays["train/6x9/x"].astype(np.float32).astype(np.float64)
    for n in (40, 25):
        fitted = fit_stored(tmp_path / "a.h5", "x", "6x9", n)
        np.testing.assert_allclose(fitted.mean, kept[:n].mean((0, 2, 3)), rtol=1e-13)
        np.testing.assert_allclose(fitted.std, kept[:n].std((0, 2, 3)), rtol=1e-10)
    with h5py.File(tmp_path / "a.h5") as file:
        assert "mean" in array_of(file, "train/6x9/y").attrs and "mean" not in array_of(file, "test/6x9/y").attrs


def test_the_same_data_are_the_same_bytes_a_second_later(tmp_path: Path) -> None:
    toys.write_toy(tmp_path / "a.h5")
    time.sleep(1.1)  # HDF5 keeps times in seconds
    toys.write_toy(tmp_path / "b.h5")
    first, second = (hashlib.sha256((tmp_path / f"{name}.h5").read_bytes()).hexdigest() for name in "ab")
    assert first == second


def test_two_valued_fields_are_compressed_and_noise_is_not(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((40, 1, 64, 64)).astype(np.float32)
    arrays = {"train/64/x": noise > 0, "train/64/y": noise}
    write_store(tmp_path / "a.h5", arrays, toys.ATTRS, toys.TEXT)
    with h5py.File(tmp_path / "a.h5") as file:
        x, y = array_of(file, "train/64/x"), array_of(file, "train/64/y")
        assert (x.compression, x.compression_opts, x.shuffle, y.compression) == ("gzip", 1, True, None)
        assert x.id.get_storage_size() < 0.2 * noise.nbytes


def test_a_test_sample_that_was_trained_on_is_refused(tmp_path: Path) -> None:
    arrays = toys.toy_arrays()
    for kind in "xy":
        arrays[f"test/6x9/{kind}"][2] = arrays[f"train/6x9/{kind}"][4]
    with pytest.raises(MpnoError, match="test sample 2 at 6x9 is training sample 4"):
        write_store(tmp_path / "a.h5", arrays, toys.ATTRS, toys.TEXT)
    assert not list(tmp_path.iterdir())


def test_lazy_samples_come_in_the_order_asked(tmp_path: Path) -> None:
    lazy = lazy_split(toys.write_toy(tmp_path / "a.h5"), "train", "6x9", 4)
    kept = toys.toy_arrays()["train/6x9/x"].astype(np.float32)
    assert (lazy.x.shape, len(lazy.y)) == ((4, 2, 6, 9), 4)
    np.testing.assert_array_equal(lazy.x[np.array([3, 0, 3])], kept[[3, 0, 3]])
    np.testing.assert_array_equal(lazy.x[1:], kept[1:4])
    with pytest.raises(IndexError, match="sample 4 of 4"):
        lazy.x[np.array([4])]


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (np.full((2, 1, 8), 1j), "complex128; allowed: real"),
        (np.full((2, 1, 8), 1e39), "sample 0 holds values that are beyond float32"),
        (np.array([[[0.0] * 8], [[np.inf] * 8]]), "sample 1 holds values that are not finite"),
        (np.zeros((2, 1, 9)), "must be .* of 8"),
    ],
)
def test_values_a_store_cannot_hold(tmp_path: Path, values: np.ndarray, what: str) -> None:
    with pytest.raises(MpnoError, match=what):
        write_store(tmp_path / "a.h5", {"train/8/x": values, "train/8/y": values}, toys.ATTRS, toys.TEXT)
    assert not list(tmp_path.iterdir())


def test_the_sphere_is_keyed_by_its_latitudes(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((2, 3, 4, 8))
    attrs = toys.ATTRS | {"name": "shallow-water", "units_x": ["m", "1/s", "1/s"]}
    write_store(tmp_path / "a.h5", {"train/4/x": values, "train/4/y": values}, attrs, toys.TEXT)
    assert load_split(tmp_path / "a.h5", "train", 4).x.shape == (2, 3, 4, 8)
    assert read_pairs(tmp_path / "a.h5") == {("train", 4): 2}
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.asarray(array_of(file, "train/4/x").attrs["units"]).tolist() == ["m", "1/s", "1/s"]
    with pytest.raises(MpnoError, match="units_x names 2 units"):
        write_store(
            tmp_path / "b.h5",
            {"train/4/x": values, "train/4/y": values},
            attrs | {"units_x": ["m", "s"]},
            toys.TEXT,
        )
