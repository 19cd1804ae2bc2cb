"""Arrays in files of other people: HDF5, npy, npz, pt and mat, read in slices of samples where the format allows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from mpno.specs import MpnoError, allowed

MEND = "write all values into the file itself (h5repack), or take another copy"
Open = Callable[[Path, ExitStack], Mapping[str, Any]]


class Arrays:
    """The files of one import, each opened once and closed together. Use as a context.

    An array is named by a key of the main file, by ``FILE:KEY``, or by ``FILE`` where the file holds one array alone.
    """

    def __init__(self, main: Path) -> None:
        self._main, self._stack = main, ExitStack()
        self._opened: dict[Path, Mapping[str, Any]] = {}

    def __enter__(self) -> Arrays:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def get(self, reference: str | None, file: Path | None = None) -> tuple[str, Any]:
        """An array with ``shape``, ``dtype`` and slicing, and where it is, for messages.

        Args:
            reference: see above; None is the only array of the file.
            file: where a key is looked up, the main file if None.

        Raises:
            MpnoError: no such file or key, a format that is not known, or a file that is damaged.
        """
        path, key = self._locate(reference, file or self._main)
        content = self._content(path)
        if key is None:
            if len(content) != 1:
                raise MpnoError(
                    f"{path}: holds {_listing(content)}; name the array, as in --input {next(iter(content))}"
                )
            key = next(iter(content))
        if key not in content:
            raise MpnoError(f"{path}: no array {key!r}; {allowed(key, content)}")
        return f"{path}:{key}" if len(content) > 1 else str(path), content[key]

    def _locate(self, reference: str | None, main: Path) -> tuple[Path, str | None]:
        if reference is None:
            return main, None
        head, _, key = reference.rpartition(":")
        if head and Path(head).is_file():
            return Path(head), key
        if Path(reference).suffix in OPENERS and Path(reference).is_file():
            return Path(reference), None
        if Path(reference).suffix in OPENERS and reference not in self._content(main):
            raise MpnoError(f"{reference}: no such file, and no array of this name in {main}")
        return main, reference

    def _content(self, path: Path) -> Mapping[str, Any]:
        if path not in self._opened:
            if path.suffix.lower() not in OPENERS:
                raise MpnoError(f"{path}: ends in {path.suffix or 'nothing'}; allowed: {', '.join(OPENERS)}")
            if not path.is_file():
                raise MpnoError(f"{path}: no such file; give the path of a data file")
            try:
                content = OPENERS[path.suffix.lower()](path, self._stack)
            except MpnoError:
                raise
            except Exception as error:  # a damaged file can make the reader fail in any way
                raise MpnoError(f"{path}: cannot be read as {path.suffix} ({error}); check that it is whole") from None
            if not content:
                raise MpnoError(f"{path}: holds no array; allowed: arrays of numbers, samples along one axis")
            self._opened[path] = content
        return self._opened[path]


class Reversed:
    """An HDF5 array of a MATLAB file (v7.3), with the axes in MATLAB's order."""

    def __init__(self, dataset: Any) -> None:
        self._dataset, self.shape, self.dtype = dataset, dataset.shape[::-1], dataset.dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        index = index if isinstance(index, tuple) else (index,)
        full = [*index, *[slice(None)] * (len(self.shape) - len(index))]
        return self._dataset[tuple(reversed(full))].T


def _hdf5(path: Path, stack: ExitStack) -> dict[str, Any]:
    import h5py

    from mpno.datasets.hdf5 import check_array

    file = stack.enter_context(h5py.File(path, "r"))
    found: dict[str, Any] = {}
    file.visititems(lambda key, item: found.update({key: item}) if _is_array(item) else None)
    return {key: check_array(path, key, item, MEND) for key, item in found.items()}


def _is_array(item: Any) -> bool:
    import h5py

    return isinstance(item, h5py.Dataset) and len(item.shape or ()) > 0


def _npy(path: Path, stack: ExitStack) -> dict[str, Any]:
    return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}


def _npz(path: Path, stack: ExitStack) -> dict[str, Any]:
    file = stack.enter_context(np.load(path, allow_pickle=False))
    unpacked, room = sum(info.file_size for info in file.zip.infolist()), _memory() // 2
    if unpacked > room:
        raise MpnoError(f"{path}: holds {unpacked} bytes unpacked; allowed: {room}, half the memory; save it as .npy")
    return {key: file[key] for key in file.files}


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _pt(path: Path, stack: ExitStack) -> dict[str, Any]:
    import pickle
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it is about to refuse
            try:
                loaded = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
            except RuntimeError:  # archives of before torch 1.6 cannot be mapped
                loaded = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        raise ValueError(
            "it holds more than tensors, and code from a file is never run: save a dict of tensors"
        ) from None
    named = loaded if isinstance(loaded, dict) else {path.stem: loaded}
    return {str(key): value.numpy() for key, value in named.items() if isinstance(value, torch.Tensor) and value.ndim}


def _mat(path: Path, stack: ExitStack) -> dict[str, Any]:
    import h5py
    from scipy.io import loadmat

    if h5py.is_hdf5(path):
        return {key: Reversed(item) for key, item in _hdf5(path, stack).items() if not key.startswith("#")}
    found = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    return {key: value for key, value in found.items() if isinstance(value, np.ndarray)}


def _listing(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {tuple(item.shape)}" for key, item in content.items())


OPENERS: dict[str, Open] = {
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".npy": _npy,
    ".npz": _npz,
    ".pt": _pt,
    ".mat": _mat,
}
