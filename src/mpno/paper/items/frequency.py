"""Precision error per frequency of a synthetic signal: signal, amplitudes, the error and where it comes from."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter

from mpno.paper.drawing import Drawing
from mpno.paper.records import ItemTables
from mpno.paper.style import OKABE, TEXT_WIDTH, look

WAYS = {
    "authors": ("both rounded (the authors' way)", OKABE[0], "o"),
    "input rounded": ("signal rounded", OKABE[2], "^"),
    "result rounded": ("result rounded", OKABE[1], "v"),
    "fft fp16": ("half fft, simulated", OKABE[3], "s"),
    "matmul fp16": ("half matmul", OKABE[4], "D"),
    "matmul bf16": ("bf16 matmul", OKABE[5], "P"),
}


def figure(item: ItemTables) -> Drawing:
    """Four panels: signal, amplitudes, the error as the authors divide it, and relative to the coefficient."""
    probe = item.probes["errors"]
    shape, errors = probe.query("way == 'signal'"), probe.query("way != 'signal'")
    published = item.reference.assign(frequency=[int(s.removeprefix("mode ")) for s in item.reference["setting"]])
    with look():
        drawing = Figure(figsize=(TEXT_WIDTH, 3.9), layout="constrained")
        (above, amplitudes), (scaled, relative) = drawing.subplots(2, 2)
        above.plot(shape["time"], shape["value"], color="black", linewidth=0.6)
        above.set(title="(a) signal, first seed", xlabel="time", ylabel="")
        first = errors.query("way == 'authors'")
        for seed, each in first.groupby("seed"):
            bold = seed == 0
            amplitudes.plot(
                each["frequency"], each["amplitude"], color="black" if bold else "0.7", linewidth=1.0 if bold else 0.5
            )
        amplitudes.set(title="(b) amplitudes, every seed", yscale="log", xlabel="frequency")
        for way, (label, shade, marker) in WAYS.items():
            own = errors.query("way == @way")
            for axes, column in ((scaled, "unscaled"), (relative, "relative")):
                x = own["frequency"] + 0.08 * (list(WAYS).index(way) - 2.5)
                axes.plot(x, own[column], marker, color=shade, markersize=1.6, alpha=0.45, linewidth=0)
                middle = own.groupby("frequency")[column].median()
                axes.plot(middle.index, middle, color=shade, linewidth=1.0, label=label)
        scaled.plot(
            published["frequency"], published["value"], "x", color="black", markersize=4, label="read off their plot"
        )
        scaled.set(title="(c) error of unscaled coefficients / amplitude", ylabel="%", yscale="log", xlabel="frequency")
        relative.set(title="(d) error relative to the coefficient", ylabel="%", yscale="log", xlabel="frequency")
        for axes in (amplitudes, scaled, relative):
            axes.xaxis.set_major_locator(FixedLocator(range(1, 11)))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.grid(axis="y", color="0.9")
        handles, labels = scaled.get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return Drawing(drawing, errors.dropna(axis=1, how="all"), _caption(errors), ALT)


ALT = "A signal of ten sines, its amplitudes falling by a factor of about a hundred, and errors per frequency that rise"


def _caption(errors: pd.DataFrame) -> str:
    kinds = errors.groupby("evidence")["way"].unique()
    evidence = "; ".join(f"{kind}: {', '.join(WAYS[way][0] for way in ways)}" for kind, ways in kinds.items())
    own = errors.query("way == 'authors' and frequency == 10")
    low, high = (100 * float(q(own["relative"])) for q in (np.min, np.max))
    return (
        "Errors of half precision by frequency; points are seeds, lines their medians. Divided as in (c), the error of "
        "the unscaled coefficients over the amplitude, they reach the size of the plotted values (crosses, read off a "
        "plot; their signal is unseeded and their binning not stated). Relative to the coefficient itself (d) the same "
        f"errors at the tenth frequency are {low / 100:.2g} to {high / 100:.2g} %: the rise is that of rounding noise, "
        f"equal at all frequencies, over amplitudes that fall. Evidence: {evidence}."
    )
