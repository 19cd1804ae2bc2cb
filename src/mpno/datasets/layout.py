"""The layout of a data file: its keys, its root attributes, its digests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from mpno.specs.grid import by_size, grid_of, parse_resolution

FORMAT_VERSION = 2
REQUIRED = ("name", "title", "source", "units_x", "units_y", "licence", "citation", "origin", "seed")
"""Root attributes a writer gives; those below, format_version, created_by and digest are added."""
OPTIONAL: Mapping[str, Any] = {"layout": "grid", "axes": ()}
"""What else a writer may say, and what holds where it does not: the names of the grid's axes; besides, `periodic`,
whether the fields are so along every axis. units_x and units_y may be one text or one per channel."""
KEY = re.compile(r"(train|test)/([1-9]\d*(?:x[1-9]\d*){0,2})/([xy])")
AXES = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}
WORTH = {"fetch": "published data", "generate": "solved here", "import": "imported"}
"""What data are, by their source."""
DTYPE = np.dtype("<f4")
BLOCK_BYTES = 8 * 2**20
"""About how much of an array is held at a time while it is copied or checked."""


def fits_key(shape: tuple[int, ...], resolution: int | str, name: str) -> bool:
    """Whether an array (n, channels, *grid) of the set `name` stands under the right resolution."""
    return shape[2:] == grid_of(resolution, len(shape) - 2, name=name)


def resolutions_in(keys: Any) -> list[int | str]:
    """The resolutions among the names of groups, coarse first."""
    return list(by_size(parse_resolution(key) for key in keys))


def blocks(shape: tuple[int, ...], itemsize: int = 4) -> Iterator[slice]:
    """Slices of samples of about ``BLOCK_BYTES`` each."""
    step = max(1, BLOCK_BYTES // max(1, itemsize * int(np.prod(shape[1:]))))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def array_digest(array: Any) -> str:
    """sha256 of the bytes of an array, or of something that is sliced like one, read block by block."""
    total = hashlib.sha256()
    for part in blocks(array.shape, array.dtype.itemsize) if len(array.shape) else [()]:
        total.update(np.ascontiguousarray(array[part]).tobytes())
    return total.hexdigest()


def joined_digest(parts: Mapping[str, tuple[tuple[int, ...], np.dtype, str]]) -> str:
    """sha256 over key, shape, dtype and digest of every array, in sorted order."""
    total = hashlib.sha256()
    for key in sorted(parts):
        shape, dtype, found = parts[key]
        total.update(f"{key}:{tuple(map(int, shape))}:{dtype.str}:{found};".encode())
    return total.hexdigest()


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over names, shapes, dtypes and bytes in sorted order: equal data have equal digests."""
    return joined_digest({key: (array.shape, array.dtype, array_digest(array)) for key, array in arrays.items()})


def creator() -> str:
    """Which version of what wrote the file."""
    try:
        return f"mpno {version('mpno')}"
    except PackageNotFoundError:
        return "mpno from source"


def evidence_of_data(attrs: Mapping[str, Any]) -> str:
    """What the numbers of a data file are worth, from its root attributes: ``stand-in data, solved here``."""
    source = str(WORTH.get(attrs["source"], attrs["source"]))
    return f"{attrs['evidence']}, {source}" if "evidence" in attrs else source
