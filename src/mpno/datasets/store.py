"""The HDF5 file of a data set: ``/{train|test}/{resolution}/{x|y}``, float32, (n, channels, *grid)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from mpno.specs import MpnoError
from mpno.specs.files import replacing

FORMAT_VERSION = 1
REQUIRED = ("name", "title", "source", "units_x", "units_y", "licence", "citation", "origin", "seed")
"""Root attributes a writer gives; format_version, created_by and digest are added."""
_KEY = re.compile(r"(train|test)/([1-9]\d*)/([xy])")


class Split(NamedTuple):
    """Paired samples: inputs x and targets y, each float32 (n, channels, *grid), in the store's units."""

    x: np.ndarray
    y: np.ndarray


def write_store(
    path: Path, arrays: Mapping[str, np.ndarray], attrs: Mapping[str, Any], descriptions: Mapping[str, str]
) -> None:
    """Write `arrays`, keyed ``"train/16/x"``, as one HDF5 file; the file appears whole or not at all.

    Args:
        arrays: float arrays of shape (n, channels, *grid), kept as float32; every x with its y.
        attrs: the root attributes named in ``REQUIRED``; a seed of None says that nothing was drawn.
        descriptions: what ``"x"`` and ``"y"`` are, kept with each array.

    Raises:
        MpnoError: a key, shape, value or attribute does not fit the layout, or the file cannot be written.
    """
    kept = {key: np.ascontiguousarray(arrays[key], dtype="<f4") for key in sorted(arrays)}
    _check(path, kept)
    if missing := sorted(set(REQUIRED) - set(attrs)):
        raise MpnoError(f"{path}: attribute {missing[0]} is missing; give all of: {', '.join(REQUIRED)}")
    root = dict(attrs) | {"format_version": FORMAT_VERSION, "created_by": _creator(), "digest": digest(kept)}
    try:
        with replacing(path) as temporary:
            _write(temporary, kept, root, descriptions)
    except OSError as error:
        raise MpnoError(f"{path}: cannot be written ({error}); make room or choose another folder") from None


def load_split(path: Path, split: str, resolution: int, n: int | None = None) -> Split:
    """Read the first `n` pairs (all when None) of a split at a resolution.

    Raises:
        MpnoError: no such file, not a store of this format, no such split or resolution, fewer samples
            than asked, or values that are not finite.
    """
    with _open(path) as file:
        group = file.get(f"{split}/{resolution}")
        if not isinstance(group, h5py.Group):
            raise MpnoError(f"{path}: no {split} samples at resolution {resolution}; it has {_listing(file)}")
        have = _dataset(group, "x").shape[0]
        wanted = have if n is None else n
        if not 1 <= wanted <= have:
            raise MpnoError(f"{path}: {wanted} {split} samples asked at resolution {resolution}; allowed: 1 to {have}")
        x, y = (np.asarray(_dataset(group, kind)[:wanted], dtype=np.float32) for kind in "xy")
    for kind, values in (("x", x), ("y", y)):
        if not np.isfinite(values).all():
            raise MpnoError(f"{path}: {split}/{resolution}/{kind} holds values that are not finite; make the file anew")
    return Split(x, y)


def read_attrs(path: Path) -> dict[str, Any]:
    """Return the root attributes as plain Python values.

    Raises:
        MpnoError: no such file, or not a store of this format.
    """
    with _open(path) as file:
        return {name: _plain(value) for name, value in file.attrs.items()}


def verify(path: Path) -> str:
    """Recompute the digest of the arrays and return it.

    Raises:
        MpnoError: the file cannot be read, or the digest is not the one it carries.
    """
    arrays: dict[str, np.ndarray] = {}

    def keep(key: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[key] = item[()]

    with _open(path) as file:
        file.visititems(keep)
        stated = file.attrs.get("digest")
    found = digest(arrays)
    if found != stated:
        raise MpnoError(f"{path}: digest is {found}, its own attribute says {stated}; delete it and make it anew")
    return found


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over names, shapes, dtypes and bytes in sorted order: equal data have equal digests."""
    total = hashlib.sha256()
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        total.update(f"{key}:{array.shape}:{array.dtype.str};".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _check(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    if not arrays:
        raise MpnoError(f"{path}: no arrays to write; give at least one x and its y")
    for key, array in arrays.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise MpnoError(f"{path}: array {key!r}; allowed: {{train,test}}/R/{{x,y}} with resolution R")
        partner = arrays.get(key[:-1] + ("y" if match[3] == "x" else "x"))
        if array.ndim < 3 or array.size == 0 or partner is None or len(partner) != len(array):
            other = "nothing" if partner is None else str(partner.shape)
            raise MpnoError(f"{path}: {key} is {array.shape}, its partner {other}; both must be (n, channels, *grid)")
        if not np.isfinite(array).all():
            raise MpnoError(f"{path}: {key} holds values that are not finite; nothing was written")


def _write(
    path: Path, arrays: Mapping[str, np.ndarray], root: Mapping[str, Any], descriptions: Mapping[str, str]
) -> None:
    with h5py.File(path, "w") as file:
        for name, value in root.items():
            file.attrs[name] = h5py.Empty("i8") if value is None else value
        for key, array in arrays.items():
            # One chunk per sample: a batch in any order reads only what it needs.
            chunks = (1, *array.shape[1:])
            kept = file.create_dataset(key, data=array, chunks=chunks, compression="gzip", shuffle=True)
            kept.attrs["description"] = descriptions[key[-1]]


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    """The file for reading; what h5py raises meanwhile becomes one line."""
    if not path.is_file():
        raise MpnoError(f"{path}: no such file; make it with: python -m mpno data --out {path} (see --help)")
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("format_version")
            if found != FORMAT_VERSION:
                raise MpnoError(
                    f"{path}: format_version is {found}, this version reads {FORMAT_VERSION}; make the file anew"
                )
            yield file
    except OSError as error:
        raise MpnoError(f"{path}: not a whole HDF5 file ({error}); delete it and make it anew") from None


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    item = group.get(name)
    if not isinstance(item, h5py.Dataset):
        raise MpnoError(f"{group.file.filename}: {group.name}/{name} is missing; delete the file and make it anew")
    return item


def _listing(file: h5py.File) -> str:
    found = []
    for split, group in file.items():
        sizes = ", ".join(f"{key} (n = {group[key]['x'].shape[0]})" for key in sorted(group, key=int))
        found.append(f"{split}: {sizes}")
    return "; ".join(found) or "nothing"


def _plain(value: Any) -> Any:
    if isinstance(value, h5py.Empty):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _creator() -> str:
    try:
        return f"mpno {version('mpno')}"
    except PackageNotFoundError:
        return "mpno from source"
