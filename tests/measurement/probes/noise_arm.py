"""A small model on noise, for probes that ask a step or a training of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpno import FNOSpec, RunSpec
from mpno.datasets import write_store
from mpno.specs import DataSpec, TrainingSpec


def write_noise(root: Path, *, width: int) -> tuple[RunSpec, Path]:
    """A spec of one epoch and the data file that it reads, below `root`."""
    rng = np.random.default_rng(0)
    shapes = {"train/8/x": 6, "train/8/y": 6, "test/8/x": 2, "test/8/y": 2}
    arrays = {key: rng.standard_normal((n, 1, 8, 8)).astype(np.float32) for key, n in shapes.items()}
    attrs = dict.fromkeys(("name", "title", "units_x", "units_y", "licence", "citation", "origin"), "noise")
    write_store(root / "d.h5", arrays, attrs | {"source": "generate", "seed": 0}, {"x": "noise", "y": "noise"})
    spec = RunSpec(
        data=DataSpec(source="generate", resolution=8, test_resolutions=(8,), n_train=6, n_test=2),
        model=FNOSpec(modes=(4, 4), width=width, layers=2),
        training=TrainingSpec(epochs=1, batch_size=3),
    )
    return spec, root / "d.h5"
