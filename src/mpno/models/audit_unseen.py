"""Fourier transforms that a model makes outside mpno's layers: where, and how large their coefficients get."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mpno.numerics.monitor import Headroom
from mpno.numerics.operations import name_of, watching


class _Transforms(TorchDispatchMode):
    """Notes every forward transform of a module that lies in none of `known`."""

    def __init__(self, known: set[str], format: str) -> None:
        super().__init__()
        self.known, self.format, self.path = known, format, ""
        self.largest: dict[tuple[str, str, int], float] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if name_of(func) in ("fft_r2c", "fft_c2c"):
            self._note(name_of(func), out, *args)
        return out

    def _note(self, name: str, out: Tensor, given: Tensor, axes: list[int], scaling: int, way: bool) -> None:
        inside = any(self.path == known or self.path.startswith(f"{known}.") or not known for known in self.known)
        if inside or (name == "fft_c2c" and not way):
            return
        points = math.prod(given.shape[axis] for axis in axes)
        # torch numbers its ways to scale: by nothing, by the root of n, by n.
        factor = {0: 1 / points, 1: points**-0.5}.get(scaling, 1.0)
        largest = float(torch.view_as_real(out).abs().max()) * factor
        key = (self.path, name, points)
        self.largest[key] = max(largest, self.largest.get(key, 0.0))

    @property
    def found(self) -> tuple[Headroom, ...]:
        return tuple(
            Headroom(path or "model", name, self.format, points, largest)
            for (path, name, points), largest in self.largest.items()
        )

    def __bool__(self) -> bool:
        return bool(self.largest)


@contextlib.contextmanager
def seeing_transforms(model: nn.Module, known: set[str], format: str) -> Iterator[_Transforms]:
    """Watch one run of `model`; `known` are the paths of the layers that need no watching."""
    found = _Transforms(known, format)

    def see(path: str, *_: object) -> None:
        found.path = path

    # The mode entered last is asked first, so the path is there once an operation has run.
    with watching(model, see), found:
        yield found
