"""Channel-wise standardisation, fitted on training samples, for numpy arrays and torch tensors alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpno.specs import MpnoError

EPS = 1e-7
"""The least standard deviation kept, so that a constant channel encodes to zeros."""


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
        """Mean and population standard deviation per channel of `values`, (n, channels, *grid).

        Raises:
            MpnoError: fewer than two axes, no samples, or values that are not finite.
        """
        array = np.asarray(values, dtype=np.float64)
        if array.ndim < 2 or array.size == 0:
            raise MpnoError(f"normaliser: shape {array.shape}; it needs samples of shape (n, channels, *grid), n >= 1")
        if not np.isfinite(array).all():
            raise MpnoError("normaliser: the samples hold values that are not finite; check the data with verify")
        axes = (0, *range(2, array.ndim))
        return cls(tuple(array.mean(axes).tolist()), tuple(np.maximum(array.std(axes), EPS).tolist()))

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
