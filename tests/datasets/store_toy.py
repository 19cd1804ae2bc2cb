"""A small data file with everything that is not square, single or one: two channels to one, a grid of 6 x 9."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mpno.datasets import write_store

ATTRS: dict[str, Any] = {
    **dict.fromkeys(("title", "units_x", "units_y", "licence", "citation", "origin"), "toy"),
    "name": "toy",
    "source": "import",
    "seed": None,
    "periodic": True,
}
TEXT = {"x": "an input", "y": "a target"}


def toy_arrays(n_train: int = 5, n_test: int = 3, grid: tuple[int, ...] = (6, 9)) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    key = "x".join(map(str, grid))
    return {
        f"{split}/{key}/{kind}": 3 + rng.standard_normal((count, channels, *grid))
        for split, count in (("train", n_train), ("test", n_test))
        for kind, channels in (("x", 2), ("y", 1))
    }


def write_toy(path: Path) -> Path:
    write_store(path, toy_arrays(), ATTRS, TEXT)
    return path
