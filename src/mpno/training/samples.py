"""What a training takes, be its samples fields on a grid or bodies, one at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from mpno.datasets import Normaliser
from mpno.training.scaling import BodyScaling

SHARE = 4
"""Arrays larger than this part of the memory, 1/4, are read from the file batch by batch."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
B = TypeVar("B", covariant=True)


@runtime_checkable
class Batches(Protocol[B]):
    """Samples in a row that are taken in batches: a tensor, or what is indexed like one.

    Attributes:
        device: where batches are.
    """

    @property
    def device(self) -> torch.device: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> B:
        """A batch by a slice, or by an integer tensor of sample numbers."""
        ...

    def split(self, size: int, /) -> Iterator[B] | tuple[B, ...]:
        """Batches of at most `size` samples, in order."""
        ...


@dataclass(frozen=True)
class Samples:
    """Inputs are normalised with training statistics, training targets where the spec says so.

    Attributes:
        x, y: training pairs, y as the model should produce it. Fields are (n, channels, *grid); of bodies, x gives
            a geometry and y (1, 1, points).
        tests: the same per test resolution, with y in the data's own units.
        output: its ``decode`` maps a model's output to those units.
        periodic: whether fields are periodic, which decides the differences of the H1 error at the edge; None where
            there is no grid, and so no H1 error.
        channels: what a model of the run is made for: of input and output, and of bodies those of the latent grid.
        input: its ``encode`` maps fields in the data's own units to a model's input; None of bodies.
        bodies: the same of bodies; None of fields.
    """

    x: Batches[Any]
    y: Batches[Tensor]
    tests: dict[int | str, tuple[Batches[Any], Batches[Tensor]]]
    output: Normaliser
    periodic: bool | None
    channels: tuple[int, int] | tuple[int, int, int]
    input: Normaliser | None = None
    bodies: BodyScaling | None = None


def memory(device: torch.device) -> int:
    """Bytes of memory on `device`; on a CPU what this process may use, by the control group's limit if there is one."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in _LIMITS:
        path = Path(name)
        text = path.read_text().strip() if path.is_file() else ""
        found += [int(text)] if text.isdecimal() else []
    return min(found)
