"""From the spec of a data set to its HDF5 file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mpno.datasets.store import write_store
from mpno.specs import DataSpec


def make(spec: DataSpec, out: Path, *, cache: Path, progress: bool = False) -> None:
    """Fetch or generate the data set that `spec` asks for, as one HDF5 file at `out`, whole or not at all.

    Args:
        spec: the data set. A fetched file holds everything there is, whatever share of it the spec uses.
        out: the file to write.
        cache: folder where downloads are kept.
        progress: show a bar while generating.

    Raises:
        MpnoError: the download fails, or `out` or `cache` cannot be written.
    """
    if spec.source == "fetch":
        from mpno.datasets.fetch import fetch_darcy

        fetch_darcy(out, cache)
    else:
        _generate_darcy(spec, out, progress)


def _generate_darcy(spec: DataSpec, out: Path, progress: bool) -> None:
    from mpno.datasets import darcy

    asked = {"train": (spec.n_train, [spec.resolution]), "test": (spec.n_test, sorted(set(spec.test_resolutions)))}
    # One grid for both splits, so that train and test samples carry the same discretisation error.
    cells = darcy.solve_cells([spec.resolution, *spec.test_resolutions])
    medium = {"public": darcy.SHIPPED, "fno2020": darcy.FNO2020}[spec.medium]
    arrays: dict[str, np.ndarray] = {}
    for split, (count, resolutions) in asked.items():
        made = darcy.generate(
            spec.seed, split, range(count), resolutions, medium=medium, cells=cells, progress=progress
        )
        for resolution, (x, y) in made.items():
            arrays |= {f"{split}/{resolution}/x": x, f"{split}/{resolution}/y": y}
    parameters = {
        "generator": "mpno.datasets.darcy.generate",
        "medium": asdict(medium),
        "modes": darcy.MODES,
        "cells": cells,
    }
    attrs = {
        "name": spec.name,
        "title": "Darcy flow on the unit square, two-valued coefficient, solved by finite volumes",
        "source": "generate",
        "units_x": f"1 (coefficient {medium.high:g}) or 0 (coefficient {medium.low:g})",
        "units_y": "dimensionless: -div(a grad y) = 1",
        "licence": "MIT",
        "citation": "Li et al., Fourier Neural Operator for Parametric Partial Differential Equations, ICLR 2021",
        "origin": json.dumps(parameters),
        "seed": spec.seed,
    }
    grid = "at the points i/n + 1/1024 of the unit square along both axes"
    descriptions = {
        "x": f"1 where the coefficient is {medium.high:g}, 0 where it is {medium.low:g}, {grid}",
        "y": f"solution of -div(a grad y) = 1, y = 0 on the boundary, {grid}",
    }
    write_store(out, arrays, attrs, descriptions)
