"""How every figure looks: size, type, the colour of each setting, how evidence is drawn."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.figure import Figure

TEXT_WIDTH = 5.5  # inches: the text width of the ICLR style
OKABE = sns.color_palette("colorblind")

COLOURS: dict[str, Any] = {
    "full": "black",
    "full+tanh": OKABE[7],
    "amp": OKABE[2],
    "half": OKABE[1],
    "mixed": OKABE[0],
    "schedule": OKABE[4],
    "mixed, stabiliser none": OKABE[5],
    "mixed, stabiliser norm": OKABE[9],
    "mixed-e5m2": OKABE[3],
    "mixed-e5m3": OKABE[6],
    "mixed-e5m4": OKABE[8],
    # One format by two names, clipped or not: the same numbers while nothing overflows.
    **dict.fromkeys(("mixed-fp8_e5m2", "mixed-fp8_e5m2_sat", "half-fp8_e5m2", "half-fp8_e5m2_sat"), OKABE[3]),
    **dict.fromkeys(("mixed-fp8_e4m3", "mixed-fp8_e4m3_sat", "half-fp8_e4m3", "half-fp8_e4m3_sat"), OKABE[4]),
    **dict.fromkeys(("mixed-e4m10_max448", "mixed-e4m10_max448_sat"), OKABE[9]),
}
"""One colour per setting, told apart by colour-blind readers; the transform is in the marker."""

LINES: dict[str, Any] = {"native": "-", "emulated": (0, (4, 1.5)), "simulated": (0, (1, 1))}
"""How the evidence of a curve is drawn."""

SHORT = {
    "darcy": "Darcy",
    "navier-stokes": "Navier-Stokes",
    "shallow-water": "Shallow water",
    "car": "Car",
    "ahmed": "Ahmed body",
}
"""Data sets as a narrow panel names them."""

MARKERS = {"fft": "", "matmul": "s"}

_RC = {
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.3,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "ytick.minor.size": 1.2,
    "pdf.fonttype": 42,  # embedded TrueType, so that text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "mpno",  # the same picture gives the same bytes
    "font.family": "DejaVu Sans",
}


def look() -> AbstractContextManager[None]:
    """The settings of matplotlib under which figures are drawn and saved."""
    settings: Any = {**sns.axes_style("ticks"), **_RC}
    return matplotlib.rc_context(settings)


def colour(setting: str) -> Any:
    """The colour of a setting, grey for one that has none of its own."""
    return COLOURS.get(setting, "0.6")


def seed_dot(shade: Any) -> dict[str, Any]:
    """How one seed is drawn over the larger marker of the mean."""
    return {"color": shade, "markersize": 2.4, "markeredgecolor": "white", "markeredgewidth": 0.3, "zorder": 3}


def mean_dot(shade: Any, evidence: str) -> dict[str, Any]:
    """How a mean over seeds is drawn: filled where it was run natively, else hollow."""
    return {"color": shade, "markersize": 4.5, "markerfacecolor": shade if evidence == "native" else "white"}


def line(evidence: str) -> Any:
    """The line style of an evidence class; of two, the weaker one's."""
    kinds = evidence.split("/")
    return LINES[max(kinds, key=list(LINES).index)]


def new_figure(height: float, columns: int) -> tuple[Figure, list[Any]]:
    """A figure of the text width with `columns` panels, without touching pyplot's state."""
    with look():
        figure = Figure(figsize=(TEXT_WIDTH, height), layout="constrained")
        return figure, list(figure.subplots(1, columns, squeeze=False)[0])
