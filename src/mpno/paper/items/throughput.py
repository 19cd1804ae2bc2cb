"""Training throughput: of the settings that this device runs natively, and, apart, as published of two GPUs."""

from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from mpno.paper.comparison import number_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.records import NONE, ItemTables
from mpno.paper.style import MARKERS, SHORT, TEXT_WIDTH, colour, look

SAMPLES = 10_000
"""Training samples of the published epochs."""


def table(item: ItemTables) -> Table:
    """A row per data set and setting; then a row per GPU and setting as published."""
    numbers = pd.concat([_ours(item), _published(item)], ignore_index=True)
    rows = []
    for row in numbers.to_dict("records"):
        spread = "" if math.isnan(row["low"]) else f" [{row['low']:.1f}, {row['high']:.1f}]"
        rate = NONE if math.isnan(row["samples_per_second"]) else f"{row['samples_per_second']:.1f}{spread}"
        rows.append(
            {
                "device": row["device"],
                "data": row["data"],
                "model": row["model"],
                "setting": row["setting"],
                "transform": row["transform"],
                "evidence": row["evidence"],
                "samples/s": rate,
                "against full": number_cell(row["ratio"], 2),
                "why no time": row["why"] if isinstance(row["why"], str) else "",
            }
        )
    context = item.context
    notes = [
        f"scale {context['scale']}, on {context['device']} ({context['processor']}), one thread per training: medians "
        "of exclusive, interleaved timings of full batches, with quartiles; shuffling and tests are left out",
        "against full: samples per second over those of the same model in full with fft; published: of the same GPU",
        "published rows are another model, size and device: they stand apart and are not compared with ours",
    ]
    return Table(numbers, pd.DataFrame(rows), notes, roles=list(numbers["device"] + numbers["data"]))


def figure(item: ItemTables) -> Drawing:
    ours, published = _ours(item), _published(item)
    with look():
        drawing = Figure(figsize=(TEXT_WIDTH, 2.6), layout="constrained")
        here, there = drawing.subplots(1, 2, width_ratios=[1.5, 1])
        parts = list(item.parts)
        timed = ours.dropna(subset=["samples_per_second"])
        settings = list(dict.fromkeys(zip(timed["model_kind"], timed["setting"], timed["transform"], strict=True)))
        for index, key in enumerate(settings):
            kind, setting, transform = key
            own = timed.query("model_kind == @kind and setting == @setting and transform == @transform")
            x = [parts.index(part) + 0.14 * (index - (len(settings) - 1) / 2) for part in own["part"]]
            rate = own["samples_per_second"].to_numpy()
            spread = [rate - own["low"].to_numpy(), own["high"].to_numpy() - rate]
            shade = "0.55" if kind == "U-Net" else colour(setting)
            label = "U-Net, full" if kind == "U-Net" else f"{setting}, {transform}"
            mark = "^" if kind == "U-Net" else MARKERS[transform] or "o"
            here.errorbar(x, rate, spread, fmt=mark, markersize=3.5, color=shade, linewidth=0.8, label=label)
        title = f"(a) here: {item.context['device']}, native settings"
        here.set(title=title, ylabel="training samples/s", yscale="log")
        here.set_xticks(range(len(parts)), [SHORT[part].replace(" ", "\n") for part in parts])
        here.yaxis.set_minor_formatter(NullFormatter())
        here.grid(axis="y", color="0.9")
        names = ["full", "tf32", "amp", "half", "mixed"]
        for gpu, own in published.groupby("device", sort=False):
            offset = {"V100": -0.2}.get(str(gpu), 0.2)
            x = [names.index(setting) + offset for setting in own["setting"]]
            hatch = "" if gpu == "V100" else "////"
            shades = [colour(setting) for setting in own["setting"]]
            there.bar(x, own["samples_per_second"], 0.38, color="white", edgecolor=shades, hatch=hatch, label=str(gpu))
        there.set_xticks(range(len(names)), names)
        there.set(title="(b) published, GPUs", ylabel="training samples/s")
        there.legend(frameon=False, loc="upper left")
        sns.despine(ax=here)
        sns.despine(ax=there)
        drawing.legend(*here.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    caption = (
        f"(a) Samples per second of a training step on {item.context['processor']}, one thread, median and quartiles "
        "(native); settings that this processor widens or simulates have no time. (b) The authors' values for their "
        "8-layer model on Navier-Stokes at 128x128 (authors' notebook): other sizes and devices, on their own axis."
    )
    return Drawing(drawing, pd.concat([ours, published], ignore_index=True), caption, ALT)


ALT = "Left: samples per second by data set and native setting. Right: published bars for a V100 and an RTX 3090 Ti."


def _ours(item: ItemTables) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for part, data in item.parts.items():
        count = data.context["data"]["n_train"]
        timed = data.arms.query("transform == 'fft' or transform == 'sht'")
        full = timed.query("setting == 'full'").set_index("model")["seconds"].to_dict()
        for row in data.arms.to_dict("records"):
            rows.append(
                {
                    "device": f"here ({item.context['device']})",
                    "part": part,
                    "data": SHORT[part],
                    "model": row["model"],
                    "model_kind": "U-Net" if row["model"] == "U-Net" else "operator",
                    "setting": row["setting"],
                    "transform": {"sht": "fft"}.get(row["transform"], row["transform"]),
                    "evidence": row["evidence"],
                    "samples_per_second": count / row["seconds"],
                    "low": count / row["seconds_high"],
                    "high": count / row["seconds_low"],
                    "ratio": full.get(row["model"], math.nan) / row["seconds"],
                    "why": row["why_untimed"],
                }
            )
    return pd.DataFrame(rows)


def _published(item: ItemTables) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    full: dict[str, float] = {}
    for row in item.reference.to_dict("records"):
        gpu = re.split(";", row["conditions"])[0]
        rate = SAMPLES / row["value"]
        full.setdefault(gpu, rate)
        rows.append(
            {
                "device": gpu,
                "data": "Navier-Stokes",
                "model": "TFNO (CP)",
                "setting": row["setting"],
                "transform": "fft",
                "evidence": f"published: {row['provenance']}",
                "samples_per_second": rate,
                "low": math.nan,
                "high": math.nan,
                "ratio": rate / full[gpu],
                "why": None,
            }
        )
    return pd.DataFrame(rows)
