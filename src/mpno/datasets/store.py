"""The HDF5 file of a data set: ``/{train|test}/{resolution}/{x|y}``, float32, (n, channels, *grid)."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from tqdm import tqdm

from mpno.datasets.hdf5 import ANEW, check_array, plain, reading
from mpno.datasets.layout import (
    DTYPE,
    FORMAT_VERSION,
    REQUIRED,
    blocks,
    digest,
    fits_key,
    joined_digest,
    resolutions_in,
)
from mpno.datasets.normalise import Moments, Normaliser
from mpno.datasets.writer import StoreWriter, write_store, writing
from mpno.specs import MpnoError
from mpno.specs.public import ANY

__all__ = [
    "FORMAT_VERSION",
    "REQUIRED",
    "Split",
    "StoreWriter",
    "Stored",
    "StoredSplit",
    "digest",
    "fit_stored",
    "lazy_split",
    "load_split",
    "open_split",
    "read_attrs",
    "read_pairs",
    "verify",
    "write_store",
    "writing",
]


MESHES = "meshes"
"""The layout of bodies, which :mod:`mpno.datasets.meshes` reads."""


class Split(NamedTuple):
    """Paired samples: inputs x and targets y, each float32 (n, channels, *grid), in the store's units."""

    x: np.ndarray
    y: np.ndarray


class Stored:
    """The first `n` samples of an array of a store, read when they are indexed.

    Attributes:
        shape: (n, channels, *grid).
    """

    def __init__(self, path: Path, dataset: h5py.Dataset, n: int) -> None:
        self._path, self._dataset, self._key = path, dataset, str(dataset.name).strip("/")
        self.shape: tuple[int, ...] = (n, *dataset.shape[1:])
        self.dtype = DTYPE

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape))

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        """Samples by a slice, or by an array of sample numbers in any order.

        Raises:
            MpnoError: the file is damaged there, or a value is not finite.
        """
        if isinstance(index, np.ndarray) and (outside := index[(index < 0) | (index >= len(self))]).size:
            raise IndexError(f"sample {outside[0]} of {len(self)}")
        with reading(self._path):
            values = self._rows(index) if isinstance(index, np.ndarray) else self._slice(index)
        if not np.isfinite(values).all():
            raise MpnoError(f"{self._path}: {self._key} holds values that are not finite; {ANEW}")
        return values

    def _slice(self, index: slice) -> np.ndarray:
        start, stop, step = index.indices(len(self))
        return np.asarray(self._dataset[start:stop:step], dtype=DTYPE)

    def _rows(self, index: np.ndarray) -> np.ndarray:
        out = np.empty((len(index), *self.shape[1:]), DTYPE)
        for place in np.argsort(index, kind="stable"):  # in the order of the file, so that a chunk is read once
            self._dataset.read_direct(out, np.s_[int(index[place])], np.s_[int(place)])
        return out


class StoredSplit(NamedTuple):
    """A split as :class:`Split`, but read from the file when indexed."""

    x: Stored
    y: Stored


def load_split(path: Path, split: str, resolution: int | str, n: int | None = None) -> Split:
    """Read the first `n` pairs (all when None) of a split at a resolution.

    Raises:
        MpnoError: no such file, not a store of this format, no such split or resolution, fewer samples
            than asked, arrays that do not fit the layout, or values that are not finite.
    """
    with open_split(path, split, resolution, n) as stored:
        return Split(stored.x[:], stored.y[:])


@contextmanager
def open_split(path: Path, split: str, resolution: int | str, n: int | None = None) -> Iterator[StoredSplit]:
    """The first `n` pairs of a split, to be read in parts while the context is open. Errors as :func:`load_split`."""
    with _open(path) as file:
        with reading(path):
            stored = _stored(path, file, split, resolution, n)
        yield stored


def lazy_split(path: Path, split: str, resolution: int | str, n: int | None = None) -> StoredSplit:
    """As :func:`open_split`, with the file open for as long as the arrays are in use."""
    with _open(path) as file, reading(path):
        _stored(path, file, split, resolution, n)
    return _stored(path, h5py.File(path, "r"), split, resolution, n)


def fit_stored(path: Path, kind: str, resolution: int | str, n: int | None = None) -> Normaliser:
    """Statistics of the first `n` training samples of x or y: those the file states where `n` is all there are.

    Raises:
        MpnoError: as :func:`load_split`.
    """
    with open_split(path, "train", resolution, n) as stored:
        array: Stored = getattr(stored, kind)
        known = array._dataset.attrs
        if len(array) == array._dataset.shape[0] and "mean" in known and "std" in known:
            with reading(path):
                mean, std = (np.asarray(known[name], np.float64).reshape(array.shape[1]) for name in ("mean", "std"))
            return Normaliser.of(mean, std)
        return Normaliser.fit(array)


def read_attrs(path: Path) -> dict[str, Any]:
    """Return the root attributes as plain Python values.

    Raises:
        MpnoError: no such file, not a store of this format, or an attribute is missing.
    """
    with _open(path) as file, reading(path):
        return {name: plain(value) for name, value in file.attrs.items()}


def read_pairs(path: Path) -> dict[tuple[str, int | str], int]:
    """Count the pairs by split and resolution, coarse grids first; bodies have no resolution but ``ANY``.

    Raises:
        MpnoError: as :func:`read_attrs`.
    """
    with _open(path) as file, reading(path):
        if plain(file.attrs.get("layout")) == MESHES:
            return {(split, ANY): len(group) for split, group in file.items() if isinstance(group, h5py.Group)}
        return {
            (split, resolution): _dataset(path, file, f"{split}/{resolution}/x").shape[0]
            for split in ("train", "test")
            if isinstance(file.get(split), h5py.Group)
            for resolution in resolutions_in(file[split])
        }


def verify(path: Path, *, progress: bool = False) -> str:
    """Recompute digests and statistics of the arrays, block by block, and return the digest of the whole.

    Raises:
        MpnoError: the file cannot be read, or an array is not what the file's own attributes say.
    """
    if read_attrs(path).get("layout") == MESHES:
        return importlib.import_module("mpno.datasets.meshes").verify_bodies(path)
    parts: dict[str, tuple[tuple[int, ...], np.dtype, str]] = {}
    with _open(path) as file, reading(path):
        arrays: dict[str, h5py.Dataset] = {}
        file.visititems(lambda key, item: arrays.update({key: item}) if isinstance(item, h5py.Dataset) else None)
        total = sum(check_array(path, key, item).nbytes for key, item in arrays.items())
        bar = tqdm(total=total, unit="B", unit_scale=True, desc=f"verify {path.name}", disable=not progress)
        for key, item in arrays.items():
            found = _verified(path, key, item, bar)
            parts[key] = (item.shape, item.dtype, found)
        bar.close()
        stated = file.attrs.get("digest")
    whole = joined_digest(parts)
    if whole != stated:
        raise MpnoError(f"{path}: digest is {whole}, its own attribute says {stated}; {ANEW}")
    return whole


def _verified(path: Path, key: str, item: h5py.Dataset, bar: tqdm) -> str:
    sha, moments = hashlib.sha256(), Moments()
    stated = item.attrs.get("sha256")
    trained = "mean" in item.attrs
    for part in blocks(item.shape, item.dtype.itemsize) if item.shape else [()]:
        values = np.ascontiguousarray(item[part])
        sha.update(values.tobytes())
        if trained:
            moments.add(values)
        bar.update(values.nbytes)
    if stated is not None and sha.hexdigest() != stated:
        raise MpnoError(f"{path}: sha256 of {key} is {sha.hexdigest()}, the file says {stated}; {ANEW}")
    if trained:
        for name, found in (("mean", moments.mean), ("std", moments.std)):
            scale = np.abs(moments.mean) + moments.std
            if not (np.abs(np.asarray(item.attrs[name]) - found) <= 1e-9 * scale).all():
                raise MpnoError(f"{path}: attribute {name} of {key} is not that of its samples; {ANEW}")
    return sha.hexdigest()


def _stored(path: Path, file: h5py.File, split: str, resolution: int | str, n: int | None) -> StoredSplit:
    if not isinstance(file.get(f"{split}/{resolution}"), h5py.Group):
        raise MpnoError(f"{path}: no {split} samples at resolution {resolution}; it has {_listing(file)}")
    x, y = (_dataset(path, file, f"{split}/{resolution}/{kind}") for kind in "xy")
    name = str(file.attrs["name"])
    for kind, array in (("x", x), ("y", y)):
        key = f"{split}/{resolution}/{kind}"
        if array.dtype != DTYPE:
            raise MpnoError(f"{path}: {key} is {array.dtype}; a data file holds float32: {ANEW}")
        if not 3 <= array.ndim <= 5 or not fits_key(array.shape, resolution, name):
            raise MpnoError(f"{path}: {key} is {array.shape}, not (n, channels, *grid) of {resolution}; {ANEW}")
    if x.shape[0] != y.shape[0]:
        raise MpnoError(
            f"{path}: {split}/{resolution}/x has {x.shape[0]} samples, y has {y.shape[0]}; each x needs its y: {ANEW}"
        )
    have = x.shape[0]
    wanted = have if n is None else n
    if not 1 <= wanted <= have:
        raise MpnoError(f"{path}: {wanted} {split} samples asked at resolution {resolution}; allowed: 1 to {have}")
    return StoredSplit(Stored(path, x, wanted), Stored(path, y, wanted))


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    """The file for reading; what h5py raises meanwhile becomes one line."""
    if not path.is_file():
        raise MpnoError(f"{path}: no such file; make it with: python -m mpno data make NAME --out {path} (see --help)")
    try:
        with reading(path):
            file = h5py.File(path, "r")
        with file:
            with reading(path):
                _check_head(path, file)
            yield file
    except OSError as error:
        raise MpnoError(f"{path}: not a whole HDF5 file ({error}); {ANEW}") from None


def _check_head(path: Path, file: h5py.File) -> None:
    found = plain(file.attrs.get("format_version"))
    if found != FORMAT_VERSION:
        newer = isinstance(found, int) and found > FORMAT_VERSION
        way_out = "update mpno, or make the file anew" if newer else "make the file anew"
        raise MpnoError(f"{path}: format_version is {found}, this version reads {FORMAT_VERSION}; {way_out}")
    if missing := [name for name in (*REQUIRED, "digest") if name not in file.attrs]:
        raise MpnoError(f"{path}: attribute {missing[0]} is missing; {ANEW}")
    for name in ("name", "source", "licence", "digest"):
        if not isinstance(file.attrs[name], str):
            raise MpnoError(f"{path}: attribute {name} is no text; {ANEW}")


def _dataset(path: Path, file: h5py.File, key: str) -> h5py.Dataset:
    item = file.get(key)
    if not isinstance(item, h5py.Dataset):
        raise MpnoError(f"{path}: array {key} is missing; {ANEW}")
    return check_array(path, key, item)


def _listing(file: h5py.File) -> str:
    found = []
    for split, group in file.items():
        sizes = ", ".join(f"{key} (n = {group[str(key)]['x'].shape[0]})" for key in resolutions_in(group))
        found.append(f"{split}: {sizes}")
    return "; ".join(found) or "nothing"
