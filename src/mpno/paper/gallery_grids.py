"""The picture of a set on grids: samples, one function at several resolutions, spectra and histograms of each field."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.colors import CenteredNorm, Normalize
from matplotlib.figure import Figure, SubFigure

from mpno.paper.gallery_checks import histogram, say
from mpno.paper.gallery_read import FLOOR, GridSet
from mpno.specs.grid import shown

SHOWN = 3
"""Training samples in a picture."""
WIDTH = 12.5
"""Of a picture, in inches: it is for screens."""


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
