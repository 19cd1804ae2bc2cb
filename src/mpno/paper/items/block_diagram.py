"""The block of a mixed-precision FNO, drawn from the trace of its operations."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch, Rectangle

from mpno.paper.drawing import Drawing
from mpno.paper.records import ItemTables
from mpno.paper.style import OKABE, TEXT_WIDTH, look

FILL = {"fp32": "0.93", "fp16": OKABE[9], "bf16": OKABE[8]}
"""The colour of a format."""
SHOWN = "mixed"
PLACES = {
    "input": (0.0, 0.0),
    "stabiliser": (1.25, 0.8),
    "forward transform": (2.5, 0.8),
    "contraction": (3.75, 0.8),
    "inverse transform": (5.0, 0.8),
    "linear skip": (3.125, -0.15),
    "sum": (6.1, 0.3),
    "activation": (7.2, 0.3),
    "channel MLP": (8.4, 0.8),
    "gated skip": (9.6, 0.3),
    "output": (10.7, 0.3),
}
WORDS = {
    "forward transform": "FFT",
    "inverse transform": "inverse\nFFT",
    "linear skip": "linear skip",
    "channel MLP": "channel\nMLP",
    "gated skip": "gated\nskip",
    "contraction": "contrac-\ntion",
    "activation": "GELU",
    "output": "GELU",
    "stabiliser": "tanh",
}
ARROWS = (
    ("input", "stabiliser"),
    ("stabiliser", "forward transform"),
    ("forward transform", "contraction"),
    ("contraction", "inverse transform"),
    ("inverse transform", "sum"),
    ("input", "linear skip"),
    ("linear skip", "sum"),
    ("sum", "activation"),
    ("activation", "channel MLP"),
    ("channel MLP", "gated skip"),
    ("gated skip", "output"),
)
WIDTH, HEIGHT = 0.98, 0.5


def figure(item: ItemTables) -> Drawing:
    """The block in mixed precision as boxes and arrows; below, the same steps in every setting."""
    traced = item.probes["trace"]
    settings = list(dict.fromkeys(traced["setting"]))
    with look():
        drawing = Figure(figsize=(TEXT_WIDTH, 3.1), layout="constrained")
        above, below = drawing.subplots(2, 1, height_ratios=[1.35, 1])
        _boxes(above, _of(traced, SHOWN if SHOWN in settings else settings[0]))
        _strips(below, traced, settings)
        formats = [name for name in FILL if name in set(traced["format"])]
        handles = [Patch(facecolor=FILL[name], edgecolor="black", linewidth=0.5, label=name) for name in formats]
        handles.append(
            Patch(facecolor="white", edgecolor="black", linewidth=0.5, hatch="/////", label="complex numbers")
        )
        drawing.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    data = next(iter(item.parts.values())).context
    caption = (
        f"A block in the middle of the FNO of {data['name']}, as a trace of its operations finds it on shapes alone "
        "(predicted: the dtypes a GPU would store). Above, mixed precision; below, each step in every setting. "
        "Parameters stay in fp32 and are cast where they are used; products of half complex numbers are made of real "
        "ones."
    )
    return Drawing(drawing, traced, caption, _alt(traced))


def _of(traced: pd.DataFrame, setting: str) -> dict[str, dict[str, Any]]:
    return {row["step"]: row for row in traced.query("setting == @setting").to_dict("records")}


def _boxes(axes: Any, steps: dict[str, dict[str, Any]]) -> None:
    boxes = {}
    for name, (x, y) in PLACES.items():
        step = steps[name]
        if not step["present"]:
            continue
        style = {"facecolor": FILL[step["format"]], "edgecolor": "black", "linewidth": 0.6}
        hatch = "//////" if step["complex"] else None
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.08", **style))
        if hatch:
            # The hatch apart, in grey, so that the words stay readable.
            axes.add_patch(Rectangle(corner, WIDTH, HEIGHT, fill=False, hatch=hatch, edgecolor="0.75", linewidth=0))
        text = WORDS.get(name, name)
        back = {"facecolor": FILL[step["format"]], "edgecolor": "none", "pad": 0.6}
        axes.text(x, y, text, ha="center", va="center", fontsize=5.5, bbox=back, linespacing=0.95)
        boxes[name] = (x, y)
    skipped = {"stabiliser": "forward transform"}
    for start, end in ARROWS:
        end = skipped.get(end, end) if end not in boxes else end
        if start in boxes and end in boxes:
            _arrow(axes, boxes[start], boxes[end])
    # The gated skip takes the block's input past everything.
    left, right = boxes["input"][0], boxes["gated skip"][0]
    axes.plot([left, left, right], [-HEIGHT / 2, -0.8, -0.8], color="black", linewidth=0.6)
    _arrow(axes, (right, -0.8 - HEIGHT / 2), boxes["gated skip"], upward=True)
    axes.set(xlim=(-0.6, 11.3), ylim=(-0.95, 1.15))
    axes.set_title("mixed precision", loc="left")
    axes.axis("off")


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], *, upward: bool = False) -> None:
    (x0, y0), (x1, y1) = start, end
    begin = (x0, y0 + HEIGHT / 2) if upward else (x0 + WIDTH / 2, y0)
    stop = (x1, y1 - HEIGHT / 2) if upward else (x1 - WIDTH / 2, y1)
    look = {"arrowstyle": "-|>", "mutation_scale": 5, "linewidth": 0.6, "color": "black"}
    axes.add_patch(FancyArrowPatch(begin, stop, shrinkA=0, shrinkB=0, **look))


def _strips(axes: Any, traced: pd.DataFrame, settings: list[str]) -> None:
    for row, setting in enumerate(settings):
        steps = _of(traced, setting)
        for column, name in enumerate(PLACES):
            step = steps[name]
            fill = FILL[step["format"]] if step["present"] else "white"
            axes.add_patch(Rectangle((column, row), 0.94, 0.86, facecolor=fill, edgecolor="black", linewidth=0.4))
            if step["complex"]:
                axes.add_patch(
                    Rectangle((column, row), 0.94, 0.86, fill=False, hatch="//////", edgecolor="0.75", linewidth=0)
                )
            text = step["format"] if step["present"] else "none"
            back = {"facecolor": fill, "edgecolor": "none", "pad": 0.6}
            axes.text(column + 0.47, row + 0.43, text, ha="center", va="center", fontsize=5.5, bbox=back)
    axes.set(xlim=(0, len(PLACES)), ylim=(len(settings), 0))
    axes.set_yticks([row + 0.43 for row in range(len(settings))], settings)
    names = [name.replace(" transform", "\ntransform").replace(" ", "\n") for name in PLACES]
    axes.set_xticks([column + 0.47 for column in range(len(PLACES))], names, fontsize=5.5)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _alt(traced: pd.DataFrame) -> str:
    rows = [row for row in traced.to_dict("records") if row["setting"] == SHOWN and row["present"]]
    said = ", ".join(f"{row['step']} in {row['format']}" for row in rows)
    return f"Boxes and arrows of an FNO block in mixed precision: {said}"
