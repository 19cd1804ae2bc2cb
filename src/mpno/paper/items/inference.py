"""Half precision at inference only: runs trained in full, used in other settings, and how much of that is rounding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from mpno.paper.comparison import error_cell, percent_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.records import NONE, ItemTables
from mpno.paper.statistics import Change, paired_change, verdict
from mpno.paper.style import colour, look, new_figure
from mpno.specs import PrecisionSetting

Record = dict[str, Any]
PROBE = "settings"
PUBLISHED = "navier-stokes"
"""The part that the paper's values are of."""
METRICS = {"l2": "L2", "h1": "H1"}
OF_METRIC = (
    *("mean", "std", "points", "change", "change_low", "change_high"),
    *("rounding", "rounding_low", "rounding_high", "verdict", "published"),
)
MARKERS = {"native": "o", "emulated": "s", "simulated": "^"}


def table(item: ItemTables) -> Table:
    """One row per data set and setting: the error in it, what it changes, and the part of that which is rounding."""
    rows = _rows(item)
    return Table(pd.DataFrame(rows), _shown(rows), _notes(item, rows), [row["part"] for row in rows])


def figure(item: ItemTables) -> Drawing:
    """The relative change of the L2 error by setting, every seed shown, for each data set."""
    numbers = [row for row in _rows(item) if row["role"] != "trained"]
    settings = list(dict.fromkeys(row["setting"] for row in numbers))[::-1]
    parts = list(dict.fromkeys(row["part"] for row in numbers))
    points = [point for asked in _asked(item) for point in asked.each()]
    with look():
        drawn, axes = new_figure(0.6 + 0.18 * len(settings), len(parts))
        for axis, name in zip(axes, parts, strict=True):
            for row in numbers:
                if row["part"] == name:
                    _draw(axis, row, points, settings.index(row["setting"]))
            axis.set_xscale("symlog", linthresh=0.01, linscale=0.5)
            axis.axvline(0, color="0.5", lw=0.6)
            axis.set_xticks([-1, -0.01, 0, 0.01, 1, 100], ["-1", "-0.01", "", "0.01", "1", "100"])
            axis.minorticks_off()
            axis.set_yticks(range(len(settings)), settings if axis is axes[0] else [""] * len(settings))
            axis.set(ylim=(-0.6, len(settings) - 0.4), title=item.parts[name].title.split(",")[0])
        drawn.supxlabel("change of the relative L2 error from the run as it was trained, %", fontsize=7)
    return Drawing(
        drawn,
        pd.DataFrame(points),
        "Runs trained in full, used in another precision; each seed a mark: circle native, square emulated, triangle "
        "simulated. Blue: settings that add a tanh the run was not trained with, in full precision too; black: "
        "rounding alone; orange: the control. Linear within 0.01 %, logarithmic beyond.",
        "Change of the L2 error by precision setting at inference, every seed, with the settings that add a tanh, "
        "those that round alone, and the control told apart by colour.",
    )


def _draw(axis: Any, row: Record, points: list[Record], height: int) -> None:
    tone = "mixed" if row["stabiliser"] != row["trained_stabiliser"] else "full"
    style = {"color": colour("mixed-e5m2" if row["role"] == "control" else tone), "ls": "none", "ms": 3, "alpha": 0.7}
    each = [p["change_percent"] for p in points if (p["part"], p["setting"]) == (row["part"], row["setting"])]
    axis.plot(each, [height] * len(each), marker=MARKERS.get(row["evidence"], "x"), **style)
    if row["not_finite"]:
        axis.text(0.5, height, "not finite", transform=axis.get_yaxis_transform(), ha="center", va="center")


class Asked:
    """What the probe found of one part, to be asked by setting."""

    def __init__(self, item: ItemTables, name: str) -> None:
        self.name, self.part = name, item.parts[name]
        self.compare: Record = self.part.context["compare"]
        self.reference: list[Record] = item.reference.to_dict("records") if name == PUBLISHED else []
        frame: pd.DataFrame = item.probes[PROBE]
        self.rows: list[Record] = [
            {str(key): value for key, value in row.items()} | {"finite": str(row["finite"]) == "True"}
            for row in frame.to_dict("records")
            if row["part"] == name
        ]
        self.metrics = [
            metric for metric in METRICS if any(not pd.isna(row[metric]) for row in self.rows if metric in row)
        ]
        roles = {row["setting"]: row["role"] for row in self.rows}
        self.settings = list(roles)
        self.trained = next(setting for setting, role in roles.items() if role == "trained")
        self.control = next((setting for setting, role in roles.items() if role == "control"), None)

    def values(self, setting: str, metric: str) -> dict[int, float]:
        """By seed, of what is finite."""
        found = [row for row in self.rows if row["setting"] == setting and not pd.isna(row[metric])]
        return {int(row["seed"]): float(row[metric]) for row in found}

    def row(self, setting: str) -> Record:
        found = [row for row in self.rows if row["setting"] == setting]
        diverged = sum(row["trained"] == "diverged" for row in found)
        row: Record = {
            "part": self.name,
            "setting": setting,
            "role": found[0]["role"],
            "stabiliser": _stabiliser(setting),
            "trained_stabiliser": _stabiliser(self.trained),
            "evidence": "/".join(sorted({row["evidence"] for row in found if not pd.isna(row["evidence"])})) or "none",
            "seeds": len(found),
            "diverged": diverged,
            "not_finite": sum(not row["finite"] for row in found) - diverged,
            "range": max((float(row["range"]) for row in found if not pd.isna(row["range"])), default=math.nan),
        }
        for metric in self.metrics:
            row |= {f"{metric}_{key}": value for key, value in self._of_metric(row, metric).items()}
        return row

    def _of_metric(self, row: Record, metric: str) -> Record:
        here, own = self.values(row["setting"], metric), self.values(self.trained, metric)
        change = paired_change(here, own, confidence=self.compare["confidence"])
        rounding = self._rounding(row["setting"], metric)
        points = [100 * (here[seed] - own[seed]) for seed in sorted(set(here) & set(own))]
        values, alike = list(here.values()), [r for r in self.reference if r["setting"] == row["setting"]]
        return {
            "mean": np.mean(values) if values else math.nan,
            "std": np.std(values, ddof=1) if len(values) > 1 else math.nan,
            "points": np.mean(points) if points else math.nan,
            "change": change.mean,
            "change_low": change.low,
            "change_high": change.high,
            "rounding": rounding.mean,
            "rounding_low": rounding.low,
            "rounding_high": rounding.high,
            "verdict": self._verdict(row, rounding, metric),
            "published": next((float(r["value"]) for r in alike if r["metric"] == metric), math.nan),
        }

    def _rounding(self, setting: str, metric: str) -> Change:
        """The change from full with the setting's own stabiliser: what remains when its tanh is not counted."""
        alike = PrecisionSetting.model_validate({"setting": "full", "stabiliser": _stabiliser(setting)}).label
        here = {} if setting in (alike, self.trained) else self.values(setting, metric)
        return paired_change(here, self.values(alike, metric), confidence=self.compare["confidence"])

    def _verdict(self, row: Record, rounding: Change, metric: str) -> str:
        gone = row["not_finite"]
        if gone:
            return f"not finite in {gone}"
        if row["role"] == "trained" or not rounding.each:
            return NONE
        if row["role"] == "control" and len(rounding.each) > 1:
            return "control: told apart" if rounding.told_apart else "control: not told apart"
        power = self._rounding(self.control, metric).told_apart if self.control else None
        return verdict(rounding, margin=self.compare["margin"], power=power)

    def each(self) -> list[Record]:
        """The change of every seed's L2 error, setting by setting."""
        own, points = self.values(self.trained, "l2"), []
        for setting in self.settings:
            values = self.values(setting, "l2") if setting != self.trained else {}
            for seed in sorted(set(values) & set(own)):
                point = {"part": self.name, "setting": setting, "seed": seed, "l2": values[seed]}
                change = 100 * (values[seed] - own[seed]) / own[seed]
                points.append(point | {"l2_as_trained": own[seed], "change_percent": change})
        return points


def _asked(item: ItemTables) -> list[Asked]:
    there = set(item.probes[PROBE]["part"])
    return [Asked(item, name) for name in item.parts if name in there]


def _rows(item: ItemTables) -> list[Record]:
    return [asked.row(setting) for asked in _asked(item) for setting in asked.settings]


def _stabiliser(setting: str) -> str:
    return PrecisionSetting.model_validate(setting).stabiliser


def _shown(rows: list[Record]) -> pd.DataFrame:
    found = []
    for row in rows:
        trained, seeds = row["role"] == "trained", row["seeds"] - row["diverged"]
        shown = {"data": row["part"], "setting": f"{row['setting']} (as trained)" if trained else row["setting"]}
        shown |= {"evidence": row["evidence"], "seeds": f"{seeds} of {row['seeds']}" if row["diverged"] else str(seeds)}
        shown["finite"] = f"not in {row['not_finite']}" if row["not_finite"] else "yes" if seeds else NONE
        for metric, title in METRICS.items():
            if f"{metric}_mean" in row:
                shown |= _cells({key: row[f"{metric}_{key}"] for key in OF_METRIC}, title, trained)
        found.append(shown)
    return pd.DataFrame(found).fillna(NONE)


def _cells(of: Record, title: str, trained: bool) -> dict[str, str]:
    change, rounding = ([of[f"{name}{end}"] for end in ("", "_low", "_high")] for name in ("change", "rounding"))
    return {
        title: error_cell(of["mean"], of["std"]),
        f"{title} points": NONE if trained or math.isnan(of["points"]) else f"{of['points']:+.3f}",
        f"{title} change": NONE if trained else _percent(*change),
        f"{title} rounding alone": NONE if trained else _percent(*rounding),
        f"{title} verdict": of["verdict"],
        f"{title} published": NONE if math.isnan(of["published"]) else f"{of['published']:g}",
    }


def _percent(mean: float, low: float, high: float) -> str:
    """Changes of a thousandth of a percent matter here beside those of tens."""
    if math.isnan(mean) or abs(mean) >= 0.01:
        return percent_cell(mean, low, high)
    interval = "" if math.isnan(low) else f" [{100 * low:+.3f}, {100 * high:+.3f}]"
    return f"{100 * mean:+.3f} %{interval}"


def _notes(item: ItemTables, rows: list[Record]) -> list[str]:
    kinds: dict[str, list[str]] = {}
    for row in rows:
        kinds.setdefault(row["evidence"], []).append(row["setting"])
    asked = _asked(item)
    compare = asked[0].compare
    sets = []
    for one in asked:
        data = one.part.context["data"]
        sets.append(f"{one.name}: {one.part.title}, at {one.part.grid(data['resolution'])}, {data['n_test']} tests")
    notes = [
        f"scale {item.context['scale']}: {'; '.join(sets)}; the same weights in every row of a data set",
        "evidence: " + "; ".join(f"{kind}: {', '.join(dict.fromkeys(names))}" for kind, names in kinds.items()),
        "errors: relative, mean ± sample standard deviation over seeds; points: of relative error, in percent; "
        "change: relative, from the run as it was trained, paired by seed, with the "
        f"{100 * compare['confidence']:g} % t interval",
        "rounding alone: the change from full with the same stabiliser, so without what a tanh does that the run was "
        "not trained with",
        f"verdict: on rounding alone; margin {100 * compare['margin']:g} %, fixed beforehand; equivalent only where "
        "the control is told from full",
    ]
    for row in item.reference.drop_duplicates(["setting", "conditions"]).to_dict("records"):
        notes.append(f"published, {row['setting']} ({row['provenance']}): {row['conditions']}")
    broken = {(row["part"], row["setting"]): row for one in asked for row in one.rows if not row["finite"]}
    for (part, setting), row in broken.items():
        if not pd.isna(row["advice"]):
            notes.append(f"{part}, {setting}, seed {row['seed']}: {row['advice']}")
    return notes
