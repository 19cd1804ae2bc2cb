"""What the gallery reads of a set on grids, and what it finds in it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpno.datasets import open_split, read_pairs
from mpno.paper.gallery_checks import constant, differing, short
from mpno.paper.spectra import energy_spectrum, zonal_spectrum
from mpno.specs import MpnoError
from mpno.specs.grid import shown

MOST, MOST_BYTES = 64, 2**26
"""Samples of an array that are looked at, and their bytes; at least one is."""
FLOOR = 1e-9
"""Energies below this share of the largest are left out: there rounding is all there is."""

Key = tuple[str, int | str, str]
"""Split, resolution, and x or y."""


@dataclass(frozen=True)
class GridSet:
    """What was read of a set on grids.

    Attributes:
        arrays: float32 (n, channels, *grid) by split, resolution and x or y; what could not be read is missing.
        findings: what a person should look at.
        remarks: what else the numbers say.
    """

    path: Path
    attrs: dict[str, Any]
    pairs: dict[tuple[str, int | str], int]
    arrays: dict[Key, np.ndarray]
    findings: list[str]
    remarks: list[str]

    @property
    def counts(self) -> str:
        """How many samples there are, and of which grids."""
        axes = len(self.attrs["axes"])
        parts = [f"{n} {split} at {shown(r, axes, name=self.attrs['name'])}" for (split, r), n in self.pairs.items()]
        return ", ".join(parts)

    @property
    def trained(self) -> int | str:
        """The training resolution; without training samples the coarsest there is."""
        return next((r for split, r in self.pairs if split == "train"), next(r for _, r in self.pairs))

    @property
    def tests(self) -> list[int | str]:
        return [resolution for split, resolution in self.pairs if split == "test"]

    @property
    def beside(self) -> int | str | None:
        """The test resolution to hold against the training samples: the same where there is one."""
        return self.trained if self.trained in self.tests else next(iter(self.tests), None)

    def fields(self) -> list[tuple[str, int]]:
        """x or y with the number of each of its channels."""
        channels: dict[str, int] = {}
        for (_, _, kind), array in sorted(self.arrays.items()):
            channels.setdefault(kind, array.shape[1])
        return [(kind, channel) for kind, count in channels.items() for channel in range(count)]

    def values(self, split: str, resolution: int | str | None, field: tuple[str, int]) -> np.ndarray | None:
        """(n, *grid) of one channel; None where it could not be read."""
        array = None if resolution is None else self.arrays.get((split, resolution, field[0]))
        return None if array is None else array[:, field[1]]

    def label(self, field: tuple[str, int]) -> str:
        """Input or target, and which channel where it has several."""
        kind, channel = field
        several = sum(own == kind for own, _ in self.fields()) > 1
        return {"x": "input", "y": "target"}[kind] + (f" {channel}" if several else "")

    def unit(self, field: tuple[str, int]) -> str:
        """As the file says it, which may name the quantity, too."""
        units = self.attrs[f"units_{field[0]}"]
        unit = units if isinstance(units, str) else units[field[1]]
        return "unit not stated" if unit == "not stated" else unit

    def spectrum(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Along circles of latitude on the sphere, else radial."""
        if self.attrs["name"] == "shallow-water":
            return zonal_spectrum(values)
        return energy_spectrum(values, periodic=bool(self.attrs["periodic"]))


def read_grids(path: Path, attrs: dict[str, Any]) -> GridSet:
    """Read the first samples of every array. What cannot be read becomes a finding."""
    pairs = dict(read_pairs(path))
    data = GridSet(path, attrs, pairs, {}, [], [])
    for (split, resolution), kind in itertools.product(pairs, "xy"):
        try:
            with open_split(path, split, resolution) as stored:
                array = getattr(stored, kind)
                n = max(1, min(len(array), MOST, MOST_BYTES * len(array) // array.nbytes))
                data.arrays[split, resolution, kind] = array[:n]
        except MpnoError as error:
            data.findings.append(short(error, path))
    _look(data)
    return data


def _look(data: GridSet) -> None:
    """Note what the eye should be drawn to: constants, splits that differ; and how far resolutions agree."""
    statistics = {"train": {}, "test": {}}
    for field in data.fields():
        name = data.label(field)
        for split, resolution in (("train", data.trained), ("test", data.beside)):
            values = data.values(split, resolution, field)
            if values is None:
                continue
            if constant(values):
                data.findings.append(f"{split} {name} at {resolution} is constant, {values.flat[0]:g}")
            flat = values.reshape(len(values), -1).astype(np.float64)
            statistics[split] |= {f"mean of {name}": flat.mean(axis=1), f"spread of {name}": flat.std(axis=1)}
        data.remarks.extend([_ranges(data, field, name), *_agreement(data, field, name)])
    data.findings.extend(differing(statistics["train"], statistics["test"]))


def _ranges(data: GridSet, field: tuple[str, int], name: str) -> str:
    """Least and largest value at each resolution: a single wrong point shows here, where no histogram shows it."""
    parts = []
    for split, resolution in data.pairs:
        values = data.values(split, resolution, field)
        if values is not None:
            parts.append(f"{split} at {resolution} {values.min():.3g} to {values.max():.3g}")
    return f"{name}, least to largest of up to {MOST} samples: {'; '.join(parts) or 'not read'}"


def _agreement(data: GridSet, field: tuple[str, int], name: str) -> list[str]:
    """How far the spectra of the same test samples agree on two grids, up to half the limit of the coarse one."""
    found = []
    for coarse, fine in itertools.pairwise(data.tests):
        pair = [data.values("test", r, field) for r in (coarse, fine)]
        if pair[0] is None or pair[1] is None:
            continue
        count = min(len(pair[0]), len(pair[1]))
        (waves, low), (_, high) = (data.spectrum(values[:count]) for values in pair if values is not None)
        # On the sphere grids keep whole degrees, half as many as there are waves per circle.
        limit = len(waves) // (4 if data.attrs["name"] == "shallow-water" else 2)
        used = high[:limit] > FLOOR * high.max(initial=0)
        if not used.any():
            continue
        most = 100 * np.abs(low[:limit][used] / high[:limit][used] - 1).max()
        apart = "under 0.01 %" if most < 0.01 else f"at most {most:.2g} %"
        found.append(f"spectra of test {name} at {coarse} and {fine}: {apart} apart up to wavenumber {limit}")
    return found
