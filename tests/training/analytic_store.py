"""A store of functions that are known everywhere: a few Fourier modes, smoothed by a multiplier, on any grid."""

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
WAVES = [(k, m) for k in range(-2, 3) for m in range(3)]
UNIT = 100.0
"""Outputs are in other units than inputs."""


def fields(seed: int, n: int, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """The same n functions on any grid: x = Re sum c exp(2 pi i k.s) and y with c / (1 + |k|^2), (n, 1, grid, grid)."""
    rng = np.random.default_rng(seed)
    c = rng.standard_normal((n, len(WAVES))) + 1j * rng.standard_normal((n, len(WAVES)))
    s = np.arange(grid) / grid
    waves = np.stack([np.exp(2j * np.pi * (k * s[:, None] + m * s[None])) for k, m in WAVES])
    smooth = np.array([1 / (1 + k * k + m * m) for k, m in WAVES])
    x, y = (np.einsum("nw,wij->nij", part, waves).real[:, None] for part in (c, c * smooth))
    return (x + 3).astype(np.float32), (UNIT * y + 7).astype(np.float32)


def write_analytic(path: Path, n_train: int = 48, grids: tuple[int, ...] = (16, 32, 64)) -> Path:
    x, y = fields(0, n_train, 16)
    arrays = {"train/16/x": x, "train/16/y": y}
    for grid in grids:
        arrays |= dict(zip((f"test/{grid}/x", f"test/{grid}/y"), fields(1, 8, grid), strict=True))
    write_store(path, arrays, ATTRS, {"x": "waves", "y": "smoothed"})
    return path
