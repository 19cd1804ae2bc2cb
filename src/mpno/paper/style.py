"""How every figure looks: size, type, the colour of each setting, how evidence is drawn."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.figure import Figure

TEXT_WIDTH = 5.5  # inches: the text width of the ICLR style
_OKABE = sns.color_palette("colorblind")

COLOURS: dict[str, Any] = {
    "full": "black",
    "full+tanh": _OKABE[7],
    "amp": _OKABE[2],
    "half": _OKABE[1],
    "mixed": _OKABE[0],
    "schedule": _OKABE[4],
    "mixed-e5m2": _OKABE[3],
    "mixed-e5m3": _OKABE[6],
    "mixed-e5m4": _OKABE[8],
}
"""One colour per setting, told apart by colour-blind readers; the transform is in the marker."""

LINES: dict[str, Any] = {"native": "-", "emulated": (0, (4, 1.5)), "simulated": (0, (1, 1))}
"""How the evidence of a curve is drawn."""

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


def line(evidence: str) -> Any:
    """The line style of an evidence class; of two, the weaker one's."""
    kinds = evidence.split("/")
    return LINES[max(kinds, key=list(LINES).index)]


def new_figure(height: float, columns: int) -> tuple[Figure, list[Any]]:
    """A figure of the text width with `columns` panels, without touching pyplot's state."""
    with look():
        figure = Figure(figsize=(TEXT_WIDTH, height), layout="constrained")
        return figure, list(figure.subplots(1, columns, squeeze=False)[0])
