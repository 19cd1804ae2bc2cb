"""What the pictures of grids and of bodies share: histograms of both splits, and checks that say what to look at."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from mpno.paper.style import colour
from mpno.specs import MpnoError

SIGNIFICANCE = 0.001
"""Of all comparisons of train with test in one set together, so that one set in a thousand is named by chance."""
BINS, BINS_LEAST, PER_BIN = 50, 5, 4
"""Most and fewest bins, and the values there should be to a bin in the smaller split."""
ROUNDING = 1e-6
"""Of means against standard deviations, in float32."""
STYLES: dict[str, dict[str, Any]] = {
    "train": {"color": colour("full"), "linewidth": 0.8},
    "test": {"color": colour("mixed"), "linewidth": 0.8, "linestyle": "--"},
}


def histogram(axes: Any, splits: Mapping[str, np.ndarray | None], label: str, *, legend: bool = True) -> None:
    """Densities of the values of each split in common bins; the legend gives mean ± standard deviation."""
    there = {split: values for split, values in splits.items() if values is not None and values.size}
    axes.set_xlabel(textwrap.fill(label, 32), fontsize=6)
    axes.set_yticks([])
    if not there:
        say(axes, "cannot be read")
        return
    low, high = (float(end([end(values) for values in there.values()])) for end in (np.min, np.max))
    if low == high:
        say(axes, f"constant:\n{low:g}")
        return
    bins = min(values.size for values in there.values()) // PER_BIN
    edges = np.linspace(low, high, min(BINS, max(BINS_LEAST, bins)) + 1)
    top = 0.0
    for split, values in there.items():
        density, _ = np.histogram(values, edges, density=True)
        top = max(top, float(density.max()))
        mean, spread = values.mean(dtype=np.float64), values.std(dtype=np.float64)
        # A mean that is zero but for rounding is shown as zero.
        name = f"{split}: {0.0 if abs(mean) < ROUNDING * spread else mean:.3g} ± {spread:.3g}"
        axes.stairs(density, edges, label=name, **STYLES[split])
    axes.set_ylim(0, (1.5 if legend else 1.2) * top)
    if legend:
        axes.legend(frameon=False, fontsize=5, loc="upper left")


def say(axes: Any, text: str) -> None:
    """Text in place of a picture."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=6)


def constant(values: np.ndarray) -> bool:
    return bool(values.size) and bool((values == values.flat[0]).all())


def differing(train: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray]) -> list[str]:
    """What is distributed otherwise in train than in test, by the two-sample test of Kolmogorov and Smirnov.

    Args:
        train, test: one number per sample, by what it is; samples are independent where points of a field are not.
    """
    common = [what for what in train if what in test]
    found = []
    for what in common:
        chance = float(stats.ks_2samp(train[what], test[what]).pvalue)  # pyright: ignore[reportAttributeAccessIssue]
        if chance < SIGNIFICANCE / len(common):
            means = f"{train[what].mean():.3g} and {test[what].mean():.3g} in the mean"
            found.append(f"train and test differ in the {what}: {means} (p = {chance:.1g})")
    return found


def short(error: MpnoError, path: Path) -> str:
    """The message without the file, which the gallery names anyway."""
    return str(error).removeprefix(f"{path}: ").partition(";")[0]
