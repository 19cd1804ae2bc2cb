"""Channel-wise standardisation, fitted on training samples, for numpy arrays and torch tensors alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpno.specs import MpnoError

EPS = 1e-7
"""The least standard deviation kept, so that a constant channel encodes to zeros."""
BLOCK = 2**20
"""Values widened to float64 at a time."""


class Moments:
    """Mean and population standard deviation per channel of samples that come in batches, in float64.

    Batches are joined by the update of Chan, Golub and LeVeque (1983), which does not cancel as sums of squares do.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean, self._squares = np.zeros(0), np.zeros(0)

    def add(self, values: Any) -> None:
        """Take in `values`, (n, channels, *grid)."""
        step = max(1, BLOCK // max(1, int(np.prod(values.shape[1:]))))
        for start in range(0, len(values), step):
            self._join(np.asarray(values[start : start + step], dtype=np.float64))

    def _join(self, block: np.ndarray) -> None:
        axes = (0, *range(2, block.ndim))
        count, mean = block.size // block.shape[1], block.mean(axes)
        squares = np.square(block - mean.reshape(-1, *(1,) * (block.ndim - 2))).sum(axes)
        if not self.count:
            self.count, self.mean, self._squares = count, mean, squares
            return
        both, apart = self.count + count, mean - self.mean
        self._squares = self._squares + squares + apart**2 * (self.count * count / both)
        self.mean, self.count = self.mean + apart * (count / both), both

    @property
    def std(self) -> np.ndarray:
        return np.sqrt(self._squares / max(1, self.count))


@dataclass(frozen=True)
class Normaliser:
    """Maps each channel to zero mean and unit standard deviation, and back.

    Attributes:
        mean, std: one float per channel, in the data's units: all its state, ready for JSON.

    Source: the authors' setup normalises channel-wise over samples and grid points.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, values: Any) -> Normaliser:
        """Mean and population standard deviation per channel of `values`, (n, channels, *grid), read block by block.

        Raises:
            MpnoError: fewer than two axes, no samples, or values that are not finite.
        """
        array = values if hasattr(values, "shape") else np.asarray(values)
        if len(array.shape) < 2 or 0 in array.shape:
            raise MpnoError(f"normaliser: shape {array.shape}; it needs samples of shape (n, channels, *grid), n >= 1")
        moments = Moments()
        moments.add(array)
        return cls.of(moments.mean, moments.std)

    @classmethod
    def of(cls, mean: np.ndarray, std: np.ndarray) -> Normaliser:
        """From moments, with standard deviations kept above ``EPS``.

        Raises:
            MpnoError: they are not finite.
        """
        if not (np.isfinite(mean).all() and np.isfinite(std).all()):
            raise MpnoError("normaliser: the samples hold values that are not finite; check the data with verify")
        return cls(tuple(np.asarray(mean).tolist()), tuple(np.maximum(std, EPS).tolist()))

    @classmethod
    def identity(cls, channels: int) -> Normaliser:
        """One that leaves `channels` channels as they are."""
        return cls((0.0,) * channels, (1.0,) * channels)

    def encode(self, values: Any) -> Any:
        """Standardise `values`, (n, channels, *grid): an array or tensor of the same type and dtype."""
        mean, std = self._like(values)
        return (values - mean) / std

    def decode(self, values: Any) -> Any:
        """Undo :meth:`encode`. Differentiable for tensors."""
        mean, std = self._like(values)
        return values * std + mean

    def _like(self, values: Any) -> tuple[Any, Any]:
        if values.ndim < 2 or values.shape[1] != len(self.mean):
            raise MpnoError(
                f"normaliser: shape {tuple(values.shape)}; it was fitted on {len(self.mean)} channels and takes "
                f"(n, {len(self.mean)}, *grid)"
            )
        return self._column(self.mean, values), self._column(self.std, values)

    @staticmethod
    def _column(numbers: Sequence[float], values: Any) -> Any:
        shape = (-1,) + (1,) * (values.ndim - 2)
        if hasattr(values, "new_tensor"):  # a torch tensor; its device and dtype come along without importing torch
            return values.new_tensor(numbers).reshape(shape)
        return np.asarray(numbers, dtype=values.dtype).reshape(shape)
