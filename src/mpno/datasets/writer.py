"""Writing a data file batch by batch: memory holds a batch, and the file appears whole or not at all."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpno.datasets.layout import (
    AXES,
    DTYPE,
    FORMAT_VERSION,
    KEY,
    OPTIONAL,
    REQUIRED,
    blocks,
    creator,
    fits_key,
    joined_digest,
)
from mpno.datasets.normalise import Moments
from mpno.specs import MpnoError
from mpno.specs.files import replacing
from mpno.specs.grid import parse_resolution
from mpno.specs.sets import SETS

CHUNK_BYTES = 16 * 2**10
"""Samples smaller than this share a chunk."""
WORTH = 0.5
"""Compress an array whose first batch shrinks to this or less. Measured on 128 x 128 fields, shuffle and gzip 1:
two-valued ones shrink to 0.02 and are read at 1 GB/s; smooth ones to 0.77, written ten times and read five times more
slowly than plain ones. Higher levels gain under 0.01."""


def write_store(
    path: Path, arrays: Mapping[str, np.ndarray], attrs: Mapping[str, Any], descriptions: Mapping[str, str]
) -> None:
    """Write `arrays`, keyed ``"train/16/x"``, as one HDF5 file; the file appears whole or not at all.

    Args:
        arrays: float arrays of shape (n, channels, *grid), kept as float32; every x with its y.
        attrs: the root attributes named in ``REQUIRED``, and any of ``OPTIONAL``; a seed of None says that nothing
            was drawn.
        descriptions: what ``"x"`` and ``"y"`` are, kept with each array.

    Raises:
        MpnoError: a key, shape, value or attribute does not fit the layout, train and test share a sample, or the
            file cannot be written.
    """
    with writing(path, attrs, descriptions) as store:
        for key in sorted(arrays):
            store.append(key, arrays[key])


@contextmanager
def writing(path: Path, attrs: Mapping[str, Any], descriptions: Mapping[str, str]) -> Iterator[StoreWriter]:
    """A store to append batches to; on leaving it is checked, completed and renamed to `path`.

    Args and errors are those of :func:`write_store`.
    """
    if missing := sorted(set(REQUIRED) - set(attrs)):
        raise MpnoError(f"{path}: attribute {missing[0]} is missing; give all of: {', '.join(REQUIRED)}")
    try:
        with replacing(path) as temporary, h5py.File(temporary, "w") as file:
            store = StoreWriter(path, file, {**OPTIONAL, "periodic": _periodic(attrs), **attrs}, descriptions)
            yield store
            store.finish()
    except OSError as error:
        raise MpnoError(f"{path}: cannot be written ({error}); make room or choose another folder") from None


class StoreWriter:
    """An HDF5 file being written. Made by :func:`writing`."""

    def __init__(self, path: Path, file: h5py.File, attrs: Mapping[str, Any], descriptions: Mapping[str, str]) -> None:
        self._path, self._file, self._attrs, self._descriptions = path, file, attrs, descriptions
        self._arrays: dict[str, _Growing] = {}

    def append(self, key: str, batch: Any) -> None:
        """Add samples, (n, channels, *grid), to the array `key`, as in ``"train/60x100/x"``.

        Raises:
            MpnoError: the key or the shape does not fit, or a value is no finite float32.
        """
        match = KEY.fullmatch(key)
        if match is None:
            raise MpnoError(f"{self._path}: array {key!r}; allowed: {{train,test}}/R/{{x,y}} with resolution R")
        batch = np.asarray(batch)
        name = str(self._attrs["name"])
        if not 3 <= batch.ndim <= 5 or batch.size == 0 or not fits_key(batch.shape, parse_resolution(match[2]), name):
            raise MpnoError(f"{self._path}: {key} is {batch.shape}; it must be (n, channels, *grid) of {match[2]}")
        for part in blocks(batch.shape):
            array = self._arrays.get(key)
            values = self._converted(key, batch[part], array.count if array else 0)
            if array is None:
                array = self._arrays[key] = _Growing(self._file, key, values)
            elif values.shape[1:] != (shape := array.dataset.shape[1:]):
                raise MpnoError(f"{self._path}: {key} got a batch of {values.shape[1:]} after {shape}; give one shape")
            array.append(values)

    def _converted(self, key: str, batch: np.ndarray, before: int) -> np.ndarray:
        if batch.dtype.kind not in "biuf":
            raise MpnoError(f"{self._path}: {key} is {batch.dtype}; allowed: real numbers")
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(batch, dtype=DTYPE)
        finite = np.isfinite(values).reshape(len(values), -1).all(1)
        if not finite.all():
            row = int(np.argmin(finite))
            what = "not finite" if not np.isfinite(batch[row]).all() else "beyond float32's 3.4e38"
            raise MpnoError(
                f"{self._path}: {key}, sample {before + row} holds values that are {what}; nothing was written"
            )
        return values

    def finish(self) -> None:
        """Flush, check what only the whole shows, and write digests, statistics and attributes."""
        if not self._arrays:
            raise MpnoError(f"{self._path}: no arrays to write; give at least one x and its y")
        for key, array in self._arrays.items():
            array.flush()
            partner = self._arrays.get(key[:-1] + ("y" if key[-1] == "x" else "x"))
            if partner is None or partner.count != array.count or partner.grid != array.grid:
                other = "nothing" if partner is None else str((partner.count, "channels", *partner.grid))
                raise MpnoError(
                    f"{self._path}: {key} is {(array.count, 'channels', *array.grid)}, its partner {other}; "
                    "both must have the same samples and grid"
                )
        self._no_shared_samples()
        for key, array in self._arrays.items():
            self._describe(key, array)
        parts = {key: (a.dataset.shape, a.dataset.dtype, a.sha.hexdigest()) for key, a in self._arrays.items()}
        root = dict(self._attrs) | {"format_version": FORMAT_VERSION, "created_by": creator()}
        root |= {"digest": joined_digest(parts)}
        axes = len(next(iter(self._arrays.values())).grid)
        root["axes"] = list(root["axes"]) or list(AXES[axes])
        for name, value in root.items():
            self._file.attrs[name] = h5py.Empty("i8") if value is None else value

    def _describe(self, key: str, array: _Growing) -> None:
        kind, channels = key[-1], array.dataset.shape[1]
        units = self._attrs[f"units_{kind}"]
        units = [units] * channels if isinstance(units, str) else list(units)
        if len(units) != channels:
            raise MpnoError(
                f"{self._path}: units_{kind} names {len(units)} units, {key} has {channels} channels; name each"
            )
        array.dataset.attrs.update(
            {"description": self._descriptions[kind], "units": units, "sha256": array.sha.hexdigest()}
        )
        if key.startswith("train/"):
            array.dataset.attrs.update({"mean": array.moments.mean, "std": array.moments.std})

    def _no_shared_samples(self) -> None:
        for key in self._arrays:
            split, resolution, kind = key.split("/")
            if (split, kind) != ("train", "x") or f"test/{resolution}/x" not in self._arrays:
                continue
            seen = {name: row for row, name in enumerate(self._samples("train", resolution))}
            for row, name in enumerate(self._samples("test", resolution)):
                if name in seen:
                    raise MpnoError(
                        f"{self._path}: test sample {row} at {resolution} is training sample {seen[name]}; "
                        "a test set must hold new samples: remove one of the two"
                    )

    def _samples(self, split: str, resolution: str) -> list[bytes]:
        x, y = (self._arrays[f"{split}/{resolution}/{kind}"].samples for kind in "xy")
        return [a + b for a, b in zip(x, y, strict=True)]


class _Growing:
    """A dataset that grows by whole chunks, with the digests and moments of what went in."""

    def __init__(self, file: h5py.File, key: str, first: np.ndarray) -> None:
        shape = first.shape[1:]
        self.per_chunk = max(1, CHUNK_BYTES // (DTYPE.itemsize * int(np.prod(shape))))
        # Fletcher32 lets every read, not only verify, see a changed byte.
        options: dict[str, Any] = {"fletcher32": True, "track_times": False}
        if _shrinks(first):
            options |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        self.dataset = file.create_dataset(
            key, (0, *shape), DTYPE, maxshape=(None, *shape), chunks=(self.per_chunk, *shape), **options
        )
        self.grid, self.count = shape[1:], 0
        self.sha, self.moments, self.samples = hashlib.sha256(), Moments(), list[bytes]()
        self._training = key.startswith("train/")
        self._pending: list[np.ndarray] = []

    def append(self, values: np.ndarray) -> None:
        self.count += len(values)
        self.sha.update(values.tobytes())
        self.samples += [hashlib.blake2b(sample.tobytes(), digest_size=16).digest() for sample in values]
        if self._training:
            self.moments.add(values)
        self._pending.append(values)
        waiting = sum(map(len, self._pending))
        if waiting >= self.per_chunk:
            joined = np.concatenate(self._pending)
            whole = waiting - waiting % self.per_chunk
            self._write(joined[:whole])
            self._pending = [joined[whole:]] if whole < waiting else []

    def flush(self) -> None:
        if self._pending:
            self._write(np.concatenate(self._pending))
            self._pending = []

    def _write(self, values: np.ndarray) -> None:
        start = self.dataset.shape[0]
        self.dataset.resize(start + len(values), axis=0)
        self.dataset[start:] = values


def _periodic(attrs: Mapping[str, Any]) -> bool:
    """Whether a set of the paper is periodic; the writer of another says so itself."""
    return attrs["name"] in SETS and SETS[attrs["name"]].periodic


def _shrinks(batch: np.ndarray) -> bool:
    """Whether compression pays, by a trial on the first samples with the bytes shuffled as HDF5 would."""
    part = batch.reshape(-1)[: 2**16]
    shuffled = part.view(np.uint8).reshape(-1, DTYPE.itemsize).T.tobytes()
    return len(zlib.compress(shuffled, 1)) <= WORTH * len(shuffled)
