"""The samples of a run as tensors on the device, normalised as the run's spec says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mpno.datasets import Normaliser, Stored, fit_stored, lazy_split, read_attrs
from mpno.specs import RunSpec

SHARE = 4
"""Arrays larger than this part of the memory, 1/4, are read from the file batch by batch."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class StoredTensor:
    """Samples that stay in the file: indexing reads, normalises and moves to the device what is asked for.

    Attributes:
        shape: (n, channels, *grid), as a tensor's.
        device: where batches go.
    """

    def __init__(self, stored: Stored, normaliser: Normaliser, device: torch.device) -> None:
        self._stored, self._normaliser, self.device = stored, normaliser, device
        self.shape = torch.Size(stored.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        """Samples by a slice, or by an integer tensor of sample numbers in any order."""
        values = self._stored[index if isinstance(index, slice) else index.cpu().numpy()]
        return _tensor(self._normaliser.encode(values), self.device)

    def split(self, size: int) -> Iterator[Tensor]:
        """Batches of `size` samples in order, the last one smaller, each read when its turn comes."""
        return (self[start : start + size] for start in range(0, len(self), size))


Batches = Tensor | StoredTensor


@dataclass(frozen=True)
class Samples:
    """Inputs are normalised channel-wise with training statistics, training targets where the spec says so.

    Attributes:
        x, y: training pairs, (n, channels, *grid); y as the model should produce it.
        tests: the same per test resolution, with y in the data's own units.
        output: its ``decode`` maps a model's output to those units.
        periodic: whether fields are periodic, which decides the differences of the H1 error at the edge.
    """

    x: Batches
    y: Batches
    tests: dict[int | str, tuple[Batches, Batches]]
    output: Normaliser
    periodic: bool


def load_samples(spec: RunSpec, path: Path, device: torch.device, *, in_memory: int | None = None) -> Samples:
    """Read, cut and normalise the samples of `spec` from its HDF5 file.

    Args:
        in_memory: bytes up to which an array is read at once; by default a quarter of the memory there is.

    Raises:
        MpnoError: the file is missing, broken or has fewer samples than asked for.
    """
    data = spec.data
    bound = memory(device) // SHARE if in_memory is None else in_memory
    train = lazy_split(path, "train", data.resolution, data.n_train)
    plain = Normaliser.identity(train.y.shape[1])
    fit = fit_stored(path, "x", data.resolution, data.n_train)
    output = fit_stored(path, "y", data.resolution, data.n_train) if spec.training.normalise_output else plain

    def placed(stored: Stored, normaliser: Normaliser) -> Batches:
        lazy = StoredTensor(stored, normaliser, device)
        return lazy if stored.nbytes > bound else lazy[:]

    tests: dict[int | str, tuple[Batches, Batches]] = {}
    for resolution in data.test_resolutions:
        test = lazy_split(path, "test", resolution, data.n_tests(resolution))
        tests[resolution] = (placed(test.x, fit), placed(test.y, plain))
    periodic = bool(read_attrs(path).get("periodic", False))
    return Samples(placed(train.x, fit), placed(train.y, output), tests, output, periodic)


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


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.as_tensor(array, dtype=torch.float32, device=device)
