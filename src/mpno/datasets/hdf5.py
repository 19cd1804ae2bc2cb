"""HDF5 files read without trust: what a damaged or hostile one does to the reader becomes one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpno.specs import MpnoError

ANEW = "delete the file and make it anew (python -m mpno data make, or data import for your own)"
DEFLATED = 1100
"""More bytes than deflate makes of one: an array that claims more than this of what is stored is not there."""
_HEAD = 4096


@contextmanager
def reading(path: Path, way_out: str = ANEW) -> Iterator[None]:
    """Turn whatever the library raises on a damaged file into one line.

    Raises:
        MpnoError: the file is not whole.
    """
    try:
        yield
    except MpnoError:
        raise
    except Exception as error:  # a damaged file can make the reader fail in any way
        raise MpnoError(f"{path}: not a whole HDF5 file ({error or type(error).__name__}); {way_out}") from None


def check_array(path: Path, key: str, item: h5py.Dataset, way_out: str = ANEW) -> h5py.Dataset:
    """`item`, if its values lie in the file itself.

    Raises:
        MpnoError: they lie in other files, or it claims far more values than are stored.
    """
    with reading(path, way_out):
        if item.is_virtual or item.external or Path(str(item.file.filename)).resolve() != path.resolve():
            raise MpnoError(f"{path}: the values of {key} lie in another file; refused: {way_out}")
        claimed = item.dtype.itemsize * int(np.prod(item.shape or (), dtype=object))
        stored = item.id.get_storage_size()
    if claimed > DEFLATED * stored + _HEAD:
        raise MpnoError(f"{path}: {key} claims {claimed} bytes, {stored} are stored; refused: {way_out}")
    return item


def plain(value: Any) -> Any:
    """An attribute as Python has it."""
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
