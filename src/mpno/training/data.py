"""The samples of a run as tensors on the device, normalised as the run's spec says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mpno.datasets import Normaliser, Stored, fit_stored, lazy_split, read_attrs
from mpno.specs import RunSpec
from mpno.specs.sets import BODIES
from mpno.training.bodies import load_bodies
from mpno.training.samples import SHARE, Batches, Samples, memory


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


def load_samples(spec: RunSpec, path: Path, device: torch.device, *, in_memory: int | None = None) -> Samples:
    """Read, cut and normalise the samples of `spec` from its HDF5 file.

    Args:
        in_memory: bytes up to which an array is read at once, and bodies are kept with their graphs; by default a
            quarter of the memory there is.

    Raises:
        MpnoError: the file is missing, broken or has fewer samples than asked for.
    """
    bound = memory(device) // SHARE if in_memory is None else in_memory
    return (load_bodies if spec.data.name in BODIES else load_fields)(spec, path, device, bound)


def load_fields(spec: RunSpec, path: Path, device: torch.device, bound: int) -> Samples:
    """The same for fields on a grid."""
    data = spec.data
    train = lazy_split(path, "train", data.resolution, data.n_train)
    plain = Normaliser.identity(train.y.shape[1])
    fit = fit_stored(path, "x", data.resolution, data.n_train)
    output = fit_stored(path, "y", data.resolution, data.n_train) if spec.training.normalise_output else plain

    tests = _load_tests(spec, path, device, bound, fit)
    periodic = bool(read_attrs(path).get("periodic", False))
    channels = train.x.shape[1], train.y.shape[1]
    x, y = _placed(train.x, fit, device, bound), _placed(train.y, output, device, bound)
    return Samples(x, y, tests, output, periodic, channels, fit)


def load_tests(
    spec: RunSpec, path: Path, device: torch.device, input: Normaliser, output: Normaliser, periodic: bool
) -> Samples:
    """The test samples of a run that is finished, whose normalisers are known; the file needs no others.

    Nothing is trained on them: x and y are the first test's.
    """
    tests = _load_tests(spec, path, device, memory(device) // SHARE, input)
    x, y = next(iter(tests.values()))
    return Samples(x, y, tests, output, periodic, (len(input.mean), len(output.mean)), input)


def _load_tests(
    spec: RunSpec, path: Path, device: torch.device, bound: int, input: Normaliser
) -> dict[int | str, tuple[Batches[Tensor], Batches[Tensor]]]:
    tests: dict[int | str, tuple[Batches[Tensor], Batches[Tensor]]] = {}
    for resolution in spec.data.test_resolutions:
        test = lazy_split(path, "test", resolution, spec.data.n_tests(resolution))
        plain = Normaliser.identity(test.y.shape[1])
        tests[resolution] = (_placed(test.x, input, device, bound), _placed(test.y, plain, device, bound))
    return tests


def _placed(stored: Stored, normaliser: Normaliser, device: torch.device, bound: int) -> Tensor | StoredTensor:
    lazy = StoredTensor(stored, normaliser, device)
    return lazy if stored.nbytes > bound else lazy[:]


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.as_tensor(array, dtype=torch.float32, device=device)
