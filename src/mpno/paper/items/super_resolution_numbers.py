"""The numbers of super-resolution: errors by method and grid, and their changes from interpolation and from full."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mpno.paper.records import ItemData, ItemTables
from mpno.paper.statistics import Change, paired_change, verdict

PROBES = {"navier-stokes": "finer", "coarse": "finer-coarse"}
"""The table of the probe by part: the paper's setting in small, and a training grid that leaves something to gain."""
PUBLISHED = "navier-stokes"
METRICS = {"l2": "L2", "h1": "H1"}
INTERPOLATED = "full"
"""The arm whose prediction on its own grid is interpolated: the baseline of every comparison."""
Records = list[dict[str, Any]]
Values = Callable[[str, int], dict[int, float]]
"""(metric, grid) to the error of each seed."""


def all_numbers(item: ItemTables) -> list[Numbers]:
    """Those of each part, in the order of the item."""
    return [Numbers(item, name) for name in item.parts]


class Numbers:
    """What the probe found of one part, to be asked by arm, method, error and grid."""

    def __init__(self, item: ItemTables, name: str) -> None:
        self.name = name
        self.part: ItemData = item.parts[name]
        self.reference: pd.DataFrame = item.reference
        self.compare: dict[str, Any] = self.part.context["compare"]
        self.home = int(self.part.context["data"]["resolution"])
        frame: pd.DataFrame = item.probes[PROBES[name]]
        self.rows: Records = [
            {str(key): value for key, value in row.items()} | {"finite": str(row["finite"]) == "True"}
            for row in frame.to_dict("records")
        ]
        self.grids = sorted({int(row["resolution"]) for row in self.rows})
        there = {row["arm"] for row in self.rows}
        self.arms: Records = [arm for arm in self.part.context["arms"] if arm["name"] in there]

    def take(self, arm: str, method: str, grid: int) -> Records:
        wanted = {"arm": arm, "method": method, "resolution": grid}
        return [row for row in self.rows if all(row[key] == value for key, value in wanted.items())]

    def values(self, arm: str, method: str, metric: str, grid: int) -> dict[int, float]:
        """By seed, of what is finite."""
        found = self.take(arm, method, grid)
        return {int(row["seed"]): float(row[metric]) for row in found if not pd.isna(row[metric])}

    def room(self, metric: str, grid: int) -> float:
        """The share of its error that interpolated full would lose with the finer wavenumbers as in the truth.

        Errors in wavenumbers that the training grid has and in those it has not add in squares.
        """
        truth = [float(row[metric]) for row in self.take("truth", "fourier", grid)]
        errors = list(self.values(INTERPOLATED, "fourier", metric, grid).values())
        if not truth or not errors:
            return math.nan
        return 1 - math.sqrt(max(0.0, 1 - (truth[0] / float(np.mean(errors))) ** 2))

    @property
    def samples(self) -> int:
        """Test functions on each grid."""
        return int(self.rows[0]["samples"])

    def differ(self, grid: int) -> bool:
        """Whether the grid shows other functions than the training grid."""
        return any(str(row["same"]) == "False" for row in self.rows if row["resolution"] == grid)

    @property
    def title(self) -> str:
        """The training grid, by which a reader tells the parts apart."""
        return self.part.grid(self.home)

    def blocks(self) -> list[pd.DataFrame]:
        """All there is to say, one frame after the other."""
        found = [self.errors(), self.against_interpolation(), self.against_full(), self.published()]
        return [frame.assign(part=self.name, trained_at=self.home) for frame in found if len(frame)]

    def errors(self) -> pd.DataFrame:
        """One row per method, error and grid: mean, sample deviation over seeds, how many are finite, range used."""
        methods = [(arm["name"], "model", arm["label"], arm["label"]) for arm in self.arms]
        full = next((arm["label"] for arm in self.arms if arm["name"] == INTERPOLATED), INTERPOLATED)
        methods.append((INTERPOLATED, "fourier", f"{full} at 1x, Fourier-interpolated", full))
        methods.append((INTERPOLATED, "linear", f"{full} at 1x, bilinear", full))
        methods.append(("truth", "fourier", "true field at 1x, Fourier-interpolated", ""))
        rows = []
        for arm, method, name, setting in methods:
            for metric in METRICS:
                for grid in self.grids:
                    found = self.take(arm, method, grid)
                    if found:
                        place = {"block": "error", "method": name, "setting": setting, "metric": metric}
                        place |= {"kind": "truth" if arm == "truth" else method}
                        rows.append(place | self._error(found, metric, grid))
        return pd.DataFrame(rows)

    def _error(self, found: Records, metric: str, grid: int) -> dict[str, Any]:
        values = [float(row[metric]) for row in found if not pd.isna(row[metric])]
        used = [float(row["range"]) for row in found if not pd.isna(row["range"])]
        diverged = sum(row["trained"] == "diverged" for row in found)
        return {
            "resolution": grid,
            "factor": grid / self.home,
            "evidence": _evidence(found),
            "seeds": sum(not pd.isna(row["seed"]) for row in found),
            "diverged": diverged,
            "not_finite": sum(not row["finite"] for row in found) - diverged,
            "mean": np.mean(values) if values else math.nan,
            "std": np.std(values, ddof=1) if len(values) > 1 else math.nan,
            "range": max(used, default=math.nan),
        }

    def against_interpolation(self) -> pd.DataFrame:
        """Each method on each finer grid against full's prediction on the training grid, Fourier-interpolated there."""
        margin = self.compare["margin"]

        def said(change: Change, arm: str, metric: str, grid: int, gone: int) -> str:
            if gone or len(change.each) < 2:
                return verdict(change, margin=margin, power=None, diverged=gone)
            if change.low > margin:
                return f"worse by more than {100 * margin:g} %"
            if self.room(metric, grid) <= margin:
                return "no room"
            if change.told_apart:
                return f"{'worse' if change.low > 0 else 'better'} than interpolation"
            return "not told apart"

        def interpolated(metric: str, grid: int) -> dict[int, float]:
            return self.values(INTERPOLATED, "fourier", metric, grid)

        rows = self._compared("interpolated full", self.grids_beyond, self.arms, interpolated, said)
        for row in rows:
            model, own = (
                self.values(row["arm"], way, row["metric"], row["resolution"]) for way in ("model", "fourier")
            )
            row |= {"change_from_its_own": paired_change(model, own).mean}
            row |= {"most_to_gain": self.room(row["metric"], row["resolution"])}
        return pd.DataFrame(rows)

    @property
    def grids_beyond(self) -> list[int]:
        return [grid for grid in self.grids if grid > self.home]

    def against_full(self) -> pd.DataFrame:
        """Each method on each grid against full on that grid, with the verdict that the control allows."""
        rule = self.compare["power"] or {}

        def full(metric: str, grid: int) -> dict[int, float]:
            return self.values(INTERPOLATED, "model", metric, grid)

        def said(change: Change, arm: str, metric: str, grid: int, gone: int) -> str:
            if arm == rule.get("control") and not gone and len(change.each) > 1:
                return "control: told apart" if change.told_apart else "control: not told apart"
            return verdict(change, margin=self.compare["margin"], power=self.power(metric, grid), diverged=gone)

        others = [arm for arm in self.arms if arm["name"] != INTERPOLATED]
        return pd.DataFrame(self._compared("full", self.grids, others, full, said))

    def power(self, metric: str, grid: int) -> bool | None:
        """Whether the control is told from each of its references there; None without a control."""
        rule = self.compare["power"]
        if rule is None or rule["control"] not in {arm["name"] for arm in self.arms}:
            return None
        control = self.values(rule["control"], "model", metric, grid)
        others = [self.values(name, "model", metric, grid) for name in rule["told_from"]]
        confidence = self.compare["confidence"]
        return all(paired_change(control, other, confidence=confidence).told_apart for other in others)

    def _compared(
        self, against: str, grids: list[int], arms: Records, reference: Values, said: Callable[..., str]
    ) -> Records:
        rows = []
        for arm in arms:
            for metric in METRICS:
                for grid in grids:
                    name, found = arm["name"], self.take(arm["name"], "model", grid)
                    if not found:
                        continue
                    change = paired_change(
                        self.values(name, "model", metric, grid),
                        reference(metric, grid),
                        confidence=self.compare["confidence"],
                    )
                    gone = sum(not row["finite"] for row in found)
                    row = {"block": f"against {against}", "method": arm["label"], "arm": name, "setting": arm["label"]}
                    row |= {"metric": metric, "resolution": grid, "factor": grid / self.home}
                    row |= {"evidence": _evidence(found), "seeds": len(change.each)}
                    row |= {"mean": change.mean, "low": change.low, "high": change.high}
                    rows.append(row | {"verdict": said(change, name, metric, grid, gone)})
        return rows

    def each(self) -> pd.DataFrame:
        """The change of every seed from the interpolated prediction of full."""
        rows = []
        for arm in self.arms:
            for metric in METRICS:
                for grid in self.grids_beyond:
                    values = self.values(arm["name"], "model", metric, grid)
                    other = self.values(INTERPOLATED, "fourier", metric, grid)
                    place = {"method": arm["label"], "setting": arm["label"], "metric": metric, "resolution": grid}
                    for seed in sorted(set(values) & set(other)):
                        change = (values[seed] - other[seed]) / other[seed]
                        rows.append(place | {"factor": grid / self.home, "seed": seed, "change": change})
        return pd.DataFrame(rows)

    def published(self) -> pd.DataFrame:
        """The paper's own, on its training grid: mean and population deviation, as it prints them."""
        rows = []
        if self.name != PUBLISHED:
            return pd.DataFrame()
        for _, found in self.reference.groupby(["setting", "metric"], sort=False):
            setting, metric = found["setting"].iloc[0], found["metric"].iloc[0]
            values = found["value"].to_numpy(dtype=float)
            row = {"block": "published", "method": setting, "metric": metric, "factor": 1, "resolution": 128}
            row |= {"evidence": found["provenance"].iloc[0], "seeds": len(values)}
            rows.append(row | {"mean": values.mean(), "std": values.std(ddof=0)})
        return pd.DataFrame(rows)


def _evidence(found: Records) -> str:
    return "/".join(sorted({row["evidence"] for row in found if not pd.isna(row["evidence"])})) or "none"
