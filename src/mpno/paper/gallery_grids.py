"""The picture of a set on grids: samples, one function at several resolutions, spectra and histograms of each field."""

from __future__ import annotations

import itertools
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import CenteredNorm, Normalize
from matplotlib.figure import Figure, SubFigure

from mpno.datasets import open_split, read_pairs
from mpno.paper.gallery_checks import constant, differing, histogram, say, short
from mpno.paper.spectra import energy_spectrum, zonal_spectrum
from mpno.specs import MpnoError
from mpno.specs.grid import shown

MOST, MOST_BYTES = 64, 2**26
"""Samples of an array that are looked at, and their bytes; at least one is."""
SHOWN = 3
"""Training samples in a picture."""
WIDTH = 12.5
"""Of a picture, in inches: it is for screens."""
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


def draw_grids(data: GridSet) -> Figure:
    """A row per field: training samples, the first test sample on every grid, spectra, histograms."""
    fields = data.fields()
    wide = [float(np.divide(*_picture(data, field).shape[::-1])) for field in fields]
    aspect = min(2.0, max(0.5, max(wide, default=1.0)))
    pictures = SHOWN + len(data.tests)
    ratios = [aspect] * pictures + [1.2 + 0.4 * aspect] * 2
    height = min(2.2, max(1.3, 0.45 + 0.9 * WIDTH / sum(ratios)))
    figure = Figure(figsize=(WIDTH, 0.7 + max(1, len(fields)) * height), layout="constrained")
    grid = figure.add_gridspec(max(1, len(fields)), len(ratios), width_ratios=ratios)
    for row, field in enumerate(fields):
        panels = [figure.add_subplot(grid[row, column]) for column in range(len(ratios))]
        _samples(figure, panels[:pictures], data, field, titles=row == 0)
        _spectra(panels[-2], data, field, titles=row == 0)
        train, test = data.values("train", data.trained, field), data.values("test", data.beside, field)
        histogram(panels[-1], {"train": train, "test": test}, data.unit(field))
        if row == 0:
            panels[-1].set_title("histogram")
    return figure


def glance_at_grid(data: GridSet, part: SubFigure) -> None:
    """One sample: the first channel of its input above that of its target, on the finest test grid."""
    panels = part.subplots(2, 1)
    for axes, kind in zip(panels, "xy", strict=True):
        values = data.values("test", data.tests[-1] if data.tests else None, (kind, 0))
        if values is None:
            say(axes, "cannot be read")
            continue
        _image(axes, _flat(values[0]), _norm([values[0]]), data.attrs["name"])
        axes.set_xlabel({"x": "input", "y": "target"}[kind], fontsize=6)


def _samples(figure: Figure, panels: list[Any], data: GridSet, field: tuple[str, int], *, titles: bool) -> None:
    """The samples of a row, in one scale of colours."""
    name, axes = data.attrs["name"], len(data.attrs["axes"])
    train = data.values("train", data.trained, field)
    drawn: list[tuple[str, np.ndarray | None]] = [
        (f"train {i}, {shown(data.trained, axes, name=name)}", None if train is None or i >= len(train) else train[i])
        for i in range(SHOWN)
    ]
    for resolution in data.tests:
        values = data.values("test", resolution, field)
        drawn.append((f"test 0, {shown(resolution, axes, name=name)}", None if values is None else values[0]))
    norm = _norm([values for _, values in drawn if values is not None])
    image = None
    for panel, (title, values) in zip(panels, drawn, strict=True):
        if titles:
            panel.set_title(title)
        if values is None:
            say(panel, "not there or\ncannot be read")
        elif values.ndim == 1:
            panel.plot(values, linewidth=0.6)
            panel.set_ylim(norm.vmin, norm.vmax)
        else:
            image = _image(panel, _flat(values), norm, name)
    label = textwrap.fill(f"{data.label(field)}: {data.unit(field)}", 24)
    if image is None:
        panels[0].set_ylabel(label, fontsize=6)
    else:
        bar = figure.colorbar(image, ax=panels, location="left", shrink=0.9, pad=0.01, aspect=15)
        bar.set_label(label, fontsize=6)


def _spectra(axes: Any, data: GridSet, field: tuple[str, int], *, titles: bool) -> None:
    """Mean spectra of the training samples and of the test samples on every grid."""
    sphere, name = data.attrs["name"] == "shallow-water", data.attrs["name"]
    if titles:
        axes.set_title("energy spectrum" if sphere or data.attrs["periodic"] else "energy spectrum, Hann window")
    lines = [("train", data.trained, {"color": "black", "linewidth": 1.6, "alpha": 0.35})]
    lines += [("test", r, {"linewidth": 0.8, "marker": "o", "markersize": 1.6}) for r in data.tests]
    top = 0.0
    for split, resolution, style in lines:
        values = data.values(split, resolution, field)
        if values is None:
            continue
        waves, energy = data.spectrum(values)
        if energy.size and energy.max() > 0:
            top = max(top, energy.max())
            axes.loglog(waves, energy, label=f"{split} {shown(resolution, values.ndim - 1, name=name)}", **style)
    if not top:
        say(axes, "no spectrum:\nconstant or not read")
        return
    axes.set_ylim(max(axes.get_ylim()[0], FLOOR * top), 3 * top)
    axes.set_xlabel("waves per circle of latitude" if sphere else "radial wavenumber, waves per side", fontsize=6)
    axes.set_ylabel("energy, unit squared", fontsize=6)
    axes.legend(frameon=False, fontsize=5, loc="lower left")


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
        data.remarks.extend(_agreement(data, field, name))
    data.findings.extend(differing(statistics["train"], statistics["test"]))


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


def _picture(data: GridSet, field: tuple[str, int]) -> np.ndarray:
    """Some sample of a field as a picture, for its shape."""
    values = next(array for (_, _, kind), array in data.arrays.items() if kind == field[0])[0, field[1]]
    return _flat(values) if values.ndim > 1 else np.zeros((1, 1))


def _flat(values: np.ndarray) -> np.ndarray:
    """A sample as a picture: of three axes the middle slice along the first."""
    return values[values.shape[0] // 2] if values.ndim == 3 else values


def _norm(samples: list[np.ndarray]) -> Normalize:
    low = min((float(values.min()) for values in samples), default=0.0)
    high = max((float(values.max()) for values in samples), default=1.0)
    if low < 0 < high:
        return CenteredNorm(halfrange=max(-low, high))
    return Normalize(low, high if high > low else low + 1)


def _image(axes: Any, values: np.ndarray, norm: Normalize, name: str) -> Any:
    axes.set(xticks=[], yticks=[])
    # Latitudes are stored from the north.
    origin = "upper" if name == "shallow-water" else "lower"
    colours = "RdBu_r" if isinstance(norm, CenteredNorm) else "viridis"
    return axes.imshow(values, norm=norm, cmap=colours, origin=origin, interpolation="nearest")
