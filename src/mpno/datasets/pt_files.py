"""Torch archives of a data set: a dict of x and y, read without running code and without reading more than is used."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpno.datasets.store import Split
from mpno.specs import MpnoError

CHUNK = 64 * 2**20
"""Bytes of samples looked at together."""
DTYPES = (torch.bool, torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_pairs(path: Path, *, resolution: int, n: int | None = None) -> Split:
    """The first `n` pairs (all when None) of a torch archive, checked: arrays (n, channels, h, w).

    The arrays keep the file's dtype (bfloat16 becomes float32) and are views of it, mapped into memory: however large
    the file, they cost no memory of their own until they are converted. Files in the format before torch 1.6 cannot
    be mapped and are read whole.

    Raises:
        MpnoError: not a torch archive, one that holds more than tensors, no x or y, a dtype that is not real, a shape
            other than (n, h, w) or (n, channels, h, w), another resolution, x and y of different lengths, fewer than
            `n` pairs, or values that are not finite in float32.
    """
    tensors = _load(path)
    fields = {key: _field(path, key, tensors[key], resolution) for key in ("x", "y")}
    have = {key: len(field) for key, field in fields.items()}
    if have["x"] != have["y"]:
        raise MpnoError(f"{path}: x has {have['x']} samples, y has {have['y']}; they must be pairs: mend the file")
    wanted = have["x"] if n is None else n
    if not 1 <= wanted <= have["x"]:
        raise MpnoError(f"{path}: {wanted} samples asked; allowed: 1 to {have['x']}: ask for fewer")
    return Split(*(_finite(path, key, fields[key][:wanted]) for key in ("x", "y")))


def _load(path: Path) -> dict[str, Any]:
    try:
        # Files in the format before torch 1.6 are no zip archives and cannot be mapped.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError:
        raise MpnoError(f"{path}: no such file; fetch it first") from None
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL \S+|Unsupported (operand|class) \S+", str(error))
        why = found[0] if found else str(error).partition("\n")[0]
        raise MpnoError(
            f"{path}: holds more than tensors ({why}); refused, nothing of it was run: fetch it again if it was cut, "
            "else save a dict of tensors x and y"
        ) from None
    except Exception as error:  # a damaged file can make the reader fail in any way
        raise MpnoError(
            f"{path}: not a whole torch archive ({type(error).__name__}: {str(error).partition('. ')[0] or 'empty'}); "
            "delete it and fetch again"
        ) from None
    if not isinstance(loaded, dict):
        raise MpnoError(f"{path}: holds a {type(loaded).__name__}; expected a dict of tensors x and y")
    for key in ("x", "y"):
        if not isinstance(loaded.get(key), torch.Tensor):
            has = ", ".join(f"{name}: {type(value).__name__}" for name, value in loaded.items()) or "nothing"
            raise MpnoError(f"{path}: {key} is not a tensor in it; it holds {has}: save a dict of tensors x and y")
    return loaded


def _field(path: Path, key: str, tensor: torch.Tensor, resolution: int) -> torch.Tensor:
    """A tensor as (n, channels, h, w), unread."""
    if tensor.layout != torch.strided or tensor.dtype not in DTYPES:
        kinds = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise MpnoError(f"{path}: {key} is {tensor.layout}, {tensor.dtype}; allowed: dense tensors of {kinds}")
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4) or 0 in shape:
        raise MpnoError(f"{path}: {key} is {shape}; allowed: (n, h, w) or (n, channels, h, w), nothing empty")
    if shape[-2:] != (resolution, resolution):
        hint = ", channels second" if shape[1:3] == (resolution, resolution) else ""
        raise MpnoError(
            f"{path}: {key} is {shape}; expected {resolution} x {resolution} points on the last two axes{hint}: "
            "take the file of this resolution, or mend its axes"
        )
    return tensor.detach() if len(shape) == 4 else tensor.detach()[:, None]


def _finite(path: Path, key: str, field: torch.Tensor) -> np.ndarray:
    """`field` as an array, every value finite in float32; looked at a chunk at a time."""
    values = (field.float() if field.dtype == torch.bfloat16 else field).numpy()
    step = max(1, CHUNK // (4 * int(np.prod(values.shape[1:]))))
    for start in range(0, len(values), step):
        with np.errstate(over="ignore"):
            rows = values[start : start + step].astype(np.float32, copy=False)
        finite = np.isfinite(rows).all(axis=(1, 2, 3))
        if not finite.all():
            bad = start + int(np.argmin(finite))
            raise MpnoError(
                f"{path}: {key} of sample {bad} holds values that are not finite in float32; mend the file, or ask for "
                f"the {bad} samples before it"
            )
    return values
