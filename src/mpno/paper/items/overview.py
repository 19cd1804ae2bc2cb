"""What the data look like, and error against predicted memory on each set: full, amp and the paper's mixed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import CenteredNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from scipy import stats

from mpno.paper.comparison import compared, error_cell, number_cell, percent_cell, seeds_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.records import NONE, STAND_INS, ItemData
from mpno.paper.style import COLOURS, SHORT, TEXT_WIDTH, colour, look
from mpno.specs.sets import title_of

MIB = 2**20
MARKERS = {"native": "o", "emulated": "D", "simulated": "s"}
"""The evidence of an error."""
VIEWS = {"input": "input", "target": "target", "side": "pressure, side", "above": "pressure, above"}


def table(item: Any) -> Table:
    """One row per set and setting: error, its paired change in both readings, predicted memory and its saving."""
    frame = _numbers(item)
    rows = []
    for row in frame.to_dict("records"):
        rows.append(
            {
                "data set": row["data"],
                "model": row["model"],
                "setting": row["setting"],
                "evidence": row["evidence"],
                "seeds": seeds_cell(row),
                "error": f"{row['metric'].upper()} {error_cell(row['error'], row['std'])}",
                "change": percent_cell(row["change"], row["change_low"], row["change_high"]),
                "in points": _points_cell(row["points"], row["points_low"], row["points_high"]),
                "verdict": row["verdict"] or NONE,
                "predicted MiB": number_cell(row["memory"], 1),
                "saving": NONE if math.isnan(row["saving"]) else f"{row['saving']:.1f} %",
                "published": row["published"] or NONE,
            }
        )
    return Table(frame, pd.DataFrame(rows), _notes(item), roles=list(frame["part"]))


def figure(item: Any) -> Drawing:
    """A column per data set: a test sample twice, and error against predicted memory."""
    frame, seeds = _numbers(item), _seeds(item)
    samples = item.probes["samples"]
    names = list(item.parts)
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 3.9), layout="constrained")
        panels = drawn.subplots(3, len(names), squeeze=False, height_ratios=[0.8, 0.8, 1.25])
        for column, name in zip(panels.T, names, strict=True):
            data = item.parts[name]
            own, points, sample = (pd.DataFrame(rows[rows["part"] == name]) for rows in (frame, seeds, samples))
            _sample(column[:2], sample, data)
            _trade(column[2], own, points, data)
        panels[2, 0].set_ylabel("relative test error")
        panels[2, len(names) // 2].set_xlabel("predicted MiB of a training step")
        _legend(drawn, frame)
    made = frame.assign(kind="mean")
    points = pd.concat([made, seeds.assign(kind="seed")], ignore_index=True)
    stand = " and ".join(data.context["data"]["name"] for data in item.parts.values() if _stand_in(data))
    caption = (
        f"A test sample of each data set and, below, the test error of each precision setting against its predicted "
        f"memory, scale {item.context['scale']}. Small markers are seeds, large ones their mean; the shape is the "
        "evidence of the error, an open marker is one seed (an illustration). Memory is predicted from shapes and "
        "dtypes." + (f" The bodies ({stand}) are stand-in data: potential flow, solved here." if stand else "")
    )
    alt = "Five columns, one per data set: a sample above, error against memory below for full, amp and mixed."
    return Drawing(drawn, points, caption, alt)


def _numbers(item: Any) -> pd.DataFrame:
    rows = []
    for part, data in item.parts.items():
        compare = data.context["compare"]
        metric, home = compare["metric"], data.resolutions[0]
        costs = data.arms.set_index("arm")
        full = next((arm["name"] for arm in data.context["arms"] if arm["label"] == "full"), None)
        peak = math.nan if full is None else costs.loc[full, "predicted_peak"]
        for arm in data.context["arms"]:
            own = costs.loc[arm["name"]]
            values = np.array(list(data.values(arm["name"], metric, home).values()))
            rows.append(
                {
                    "part": part,
                    "data": title_of(data.context["data"]["name"]) + (" (stand-in)" if _stand_in(data) else ""),
                    "model": arm["model"],
                    "setting": arm["label"],
                    "evidence": own["evidence"],
                    "seeds": len(arm["runs"]),
                    "diverged": data.diverged(arm["name"]),
                    "metric": metric,
                    "error": values.mean() if len(values) else math.nan,
                    "std": values.std(ddof=1) if len(values) > 1 else math.nan,
                    **compared(data, arm),
                    **_points(data, arm, metric),
                    "memory": own["predicted_peak"] / MIB,
                    "saving": math.nan if arm["name"] == full else 100 * (1 - own["predicted_peak"] / peak),
                    "published": _published(item.reference, part, arm["label"]),
                }
            )
    return pd.DataFrame(rows)


def _points(data: ItemData, arm: dict[str, Any], metric: str) -> dict[str, float]:
    """The paired change of a relative error in points, hundredths of the norm, with its t interval."""
    home = data.resolutions[0]
    values, against = (data.values(name, metric, home) for name in (arm["name"], arm["against"] or ""))
    each = 100 * np.array([values[seed] - against[seed] for seed in sorted(set(values) & set(against))])
    mean = each.mean() if len(each) else math.nan
    half = math.nan
    if len(each) > 1:
        level = (1 + data.context["compare"]["confidence"]) / 2
        half = stats.t.ppf(level, len(each) - 1) * each.std(ddof=1) / math.sqrt(len(each))
    return {"points": mean, "points_low": mean - half, "points_high": mean + half}


def _points_cell(mean: float, low: float, high: float) -> str:
    interval = "" if math.isnan(low) else f" [{low:+.2f}, {high:+.2f}]"
    return NONE if math.isnan(mean) else f"{mean:+.2f}{interval}"


def _seeds(item: Any) -> pd.DataFrame:
    """Every seed's error beside its setting's memory; one that diverged has no error."""
    rows = []
    for part, data in item.parts.items():
        metric, costs = data.context["compare"]["metric"], data.arms.set_index("arm")
        for arm in data.context["arms"]:
            own = costs.loc[arm["name"]]
            for seed, error in data.values(arm["name"], metric, data.resolutions[0]).items():
                rows.append(
                    {
                        "part": part,
                        "setting": arm["label"],
                        "evidence": own["evidence"],
                        "seed": seed,
                        "metric": metric,
                        "error": error,
                        "memory": own["predicted_peak"] / MIB,
                    }
                )
    columns = ("part", "setting", "evidence", "seed", "metric", "error", "memory")
    return pd.DataFrame(rows, columns=list(columns))


def _published(reference: pd.DataFrame, part: str, setting: str) -> str:
    """The paper's values of a set and setting, by provenance; the notes say of what."""
    cells: dict[str, list[str]] = {}
    for row in reference.to_dict("records"):
        if (_set_of(row), row["setting"]) == (part, setting):
            name = {"memory_saving": "saving"}.get(row["metric"], row["metric"].upper())
            unit = f" {row['unit']}" if isinstance(row["unit"], str) else ""
            cells.setdefault(row["provenance"], []).append(f"{name} {row['value']:g}{unit}")
    return "; ".join(f"{', '.join(values)} ({provenance})" for provenance, values in cells.items())


def _set_of(row: dict[str, Any]) -> str:
    """The part that a published value is of: its conditions begin with it."""
    return row["conditions"].partition(", ")[0]


def _stand_in(data: ItemData) -> bool:
    return (data.context["data"]["name"], data.context["data"]["source"]) in STAND_INS


def _sample(panels: Any, samples: pd.DataFrame, data: ItemData) -> None:
    """Two pictures of a sample: input above target, or a body from the side and from above."""
    name = data.context["data"]["name"]
    views = dict(tuple(samples.groupby("view", sort=False)))
    for axes, (view, frame) in zip(panels, views.items(), strict=True):
        values = frame["value"].to_numpy()
        # All but the outermost: a stagnation point would leave the rest without colour.
        low, high = np.percentile(values, [1, 99])
        norm = CenteredNorm(0, max(-low, high)) if low < 0 < high else Normalize(low, high)
        if view in ("side", "above"):
            axes.scatter(frame["x"], frame["y"], c=values, norm=norm, cmap="coolwarm", s=1.6, linewidths=0)
            axes.set_aspect("equal", adjustable="datalim")
        else:
            grid = frame.pivot(index="y", columns="x", values="value").to_numpy()
            colours = "RdBu_r" if isinstance(norm, CenteredNorm) else "viridis"
            sphere = name == "shallow-water"  # twice as many longitudes; latitudes are stored from the north
            origin, shape = ("upper", 0.5) if sphere else ("lower", 1)
            axes.imshow(grid, norm=norm, cmap=colours, origin=origin, aspect=shape * grid.shape[1] / grid.shape[0])
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(VIEWS[str(view)], fontsize=5.5, labelpad=1)
        sns.despine(ax=axes, left=True, bottom=True)
    worth = str(samples["evidence"].iloc[0]).partition(",")[0]
    panels[0].set_title(f"{SHORT.get(name, name)}\n{worth}", fontsize=6)


def _trade(axes: Any, frame: pd.DataFrame, seeds: pd.DataFrame, data: ItemData) -> None:
    """Error against memory of one set."""
    for row in frame.to_dict("records"):
        shade, marker = colour(row["setting"]), MARKERS[_weakest(row["evidence"])]
        own = seeds[seeds["setting"] == row["setting"]]
        if len(own) > 1:
            axes.plot(own["memory"], own["error"], linestyle="", marker=marker, markersize=1.8, color=shade, alpha=0.45)
        face = shade if len(own) > 1 else "white"
        axes.plot(
            row["memory"], row["error"], linestyle="", marker=marker, markersize=4, color=shade, markerfacecolor=face
        )
        if row["diverged"]:
            place = {"xy": (row["memory"], 0), "xycoords": ("data", "axes fraction")}
            axes.annotate(f"{row['diverged']} diverged", **place, fontsize=5, ha="center", va="bottom")
    axes.margins(0.25, 0.2)
    axes.set_title(f"{data.context['compare']['metric'].upper()}", fontsize=6)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter(useOffset=False))
    axes.tick_params(labelsize=5, pad=1)
    axes.grid(color="0.92")
    sns.despine(ax=axes)


def _weakest(evidence: str) -> str:
    return max(evidence.split("/"), key=list(MARKERS).index)


def _legend(figure: Figure, frame: pd.DataFrame) -> None:
    settings = [name for name in COLOURS if name in set(frame["setting"])]
    handles = [Line2D([], [], linestyle="", marker="o", color=COLOURS[name], label=name) for name in settings]
    kinds = dict.fromkeys(_weakest(evidence) for evidence in frame["evidence"])
    grey: dict[str, Any] = {"linestyle": "", "color": "0.5", "markersize": 4}
    handles += [Line2D([], [], marker=MARKERS[kind], label=f"error {kind}", **grey) for kind in kinds]
    handles.append(Line2D([], [], marker="o", markerfacecolor="white", label="one seed", **grey))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, handletextpad=0.2)


def _notes(item: Any) -> list[str]:
    context = item.context
    sizes = [
        f"{data.title}, {data.grid(data.resolutions[0])}, {data.context['data']['n_train']} training samples, "
        f"{data.context['epochs']} epochs"
        for data in item.parts.values()
    ]
    margins = {
        f"{100 * data.context['compare']['margin']:g} % in {data.context['compare']['metric'].upper()}"
        for data in item.parts.values()
    }
    notes = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    return [
        *notes,
        f"scale {context['scale']}, on {context['device']} ({context['processor']}), {context['threads']} thread(s) "
        "per run",
        *sizes,
        "error: relative test error on the training grid after the last epoch, mean ± sample standard deviation over "
        "seeds",
        f"change: relative, paired by seed, with the t interval; margin {' and '.join(sorted(margins))}, fixed "
        "beforehand; in points: the same change of the relative error in hundredths of the norm",
        "evidence: of the errors; a simulated error is a lower estimate; a row of one seed is an illustration",
        "predicted MiB: peak training memory from traced shapes and dtypes, predicted, not measured; saving: against "
        "full",
        "published: the paper's values at its own sizes, with their provenance; none where nothing could be sourced",
        *dict.fromkeys(
            f"published, {row['metric'].replace('_', ' ')}: {row['conditions']} ({row['place']})"
            for row in item.reference.to_dict("records")
            if _set_of(row) in item.parts
        ),
    ]
