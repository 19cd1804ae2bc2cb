"""The samples of a run as tensors on the device, normalised as the run's spec says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mpno.datasets import Normaliser, load_split
from mpno.specs import RunSpec

PERIODIC = {"darcy": False}
"""Whether a data set's fields are periodic, which decides the differences of the H1 error at the edge."""


@dataclass(frozen=True)
class Samples:
    """Inputs are normalised channel-wise with training statistics, training targets where the spec says so.

    Attributes:
        x, y: training pairs, (n, channels, *grid); y as the model should produce it.
        tests: the same per test resolution, with y in the data's own units.
        output: its ``decode`` maps a model's output to those units.
        periodic: whether fields are periodic.
    """

    x: Tensor
    y: Tensor
    tests: dict[int, tuple[Tensor, Tensor]]
    output: Normaliser
    periodic: bool


def load_samples(spec: RunSpec, path: Path, device: torch.device) -> Samples:
    """Read, cut and normalise the samples of `spec` from its HDF5 file.

    Raises:
        MpnoError: the file is missing, broken or has fewer samples than asked for.
    """
    train = load_split(path, "train", spec.data.resolution, spec.data.n_train)
    fit = Normaliser.fit(train.x)
    output = Normaliser.fit(train.y) if spec.training.normalise_output else Normaliser.identity(train.y.shape[1])

    def tensor(array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=device)

    tests = {}
    for resolution in spec.data.test_resolutions:
        split = load_split(path, "test", resolution, spec.data.n_test)
        tests[resolution] = (tensor(fit.encode(split.x)), tensor(split.y))
    x, y = tensor(fit.encode(train.x)), tensor(output.encode(train.y))
    return Samples(x, y, tests, output, PERIODIC[spec.data.name])
