"""What trainings say: paired changes of errors and losses, finer grids, and what left the finite numbers."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from mpno.paper.arm_rows import training_loss
from mpno.paper.claims.measured import Absent, Measured, known
from mpno.paper.comparison import change_of, percent_cell, power
from mpno.paper.items.fp8 import outcomes
from mpno.paper.items.half_operations import triples
from mpno.paper.items.stabilisers import STEPS
from mpno.paper.items.super_resolution_numbers import Numbers
from mpno.paper.records import STAND_INS, ItemData, ItemTables
from mpno.paper.statistics import Change, paired_change, paired_points
from mpno.specs import MpnoError

Kind = Literal["change", "points"]
PAIRED = {"change": paired_change, "points": paired_points}
UNITS = {"change": "%", "points": "points"}


def change(item: ItemTables, part: str, arm: str, kind: Kind, against: str = "full") -> Measured:
    """The paired change of the test error against another arm, relative or in points, with its control."""
    data = _part(item, part, arm, against)
    metric, grid = data.context["compare"]["metric"], data.resolutions[0]
    found = PAIRED[kind](
        data.values(arm, metric, grid),
        data.values(against, metric, grid),
        confidence=data.context["compare"]["confidence"],
    )
    told = power(data, _arm(data, arm))
    return _compared(data, found, kind, (arm, against), told_apart=told, control=_control(data, told))


def loss_change(item: ItemTables, part: str, arm: str, against: str) -> Measured:
    """The paired relative change of the last training loss."""
    data = _part(item, part, arm, against)
    losses = [training_loss(data, name) for name in (arm, against)]
    return _compared(data, paired_change(*losses), "change", (arm, against), table="history")


def least_loss(item: ItemTables, part: str, arm: str) -> Measured:
    """The change of the last training loss against that triple of the others which it beats least.

    The interval is simultaneous for all of them.
    """
    data = _part(item, part, arm)
    others = [name for name in triples(data).values() if name != arm]
    confidence = 1 - (1 - data.context["compare"]["confidence"]) / max(1, len(others))
    losses = {name: training_loss(data, name) for name in (arm, *others)}
    found = {name: paired_change(losses[arm], losses[name], confidence=confidence) for name in others}
    worst = max(found, key=lambda name: found[name].mean)
    return _compared(data, found[worst], "change", (arm, worst), table="history")


def finer_growth(item: ItemTables, part: str, arm: str, metric: str, factor: int) -> Measured:
    """The relative change of an arm's error from its training grid to one `factor` times as fine, by seed.

    The control: whether a finer grid had anything to give that the training grid has not.
    """
    numbers = _finer(item, part, arm)
    grid = _grid(numbers, factor)
    found = paired_change(
        numbers.values(arm, "model", metric, grid),
        numbers.values(arm, "model", metric, numbers.home),
        confidence=numbers.compare["confidence"],
    )
    room = numbers.room(metric, grid)
    told = room > numbers.compare["margin"]
    control = f"the finer grid holds {100 * room:.1f} % of the error that the training grid cannot show"
    return _finer_measured(numbers, found, "change", arm, (grid, numbers.home), told, control)


def finer_change(item: ItemTables, part: str, arm: str, metric: str, factor: int, kind: Kind) -> Measured:
    """The paired change of an arm against full on a grid `factor` times as fine, with the control's there."""
    numbers = _finer(item, part, arm, "full")
    grid = _grid(numbers, factor)
    full = numbers.values("full", "model", metric, grid)
    found = PAIRED[kind](numbers.values(arm, "model", metric, grid), full, confidence=numbers.compare["confidence"])
    told, rule = numbers.power(metric, grid), numbers.compare["power"]
    control = None
    if told is not None:
        few = paired_change(numbers.values(rule["control"], "model", metric, grid), full)
        control = f"2 mantissa bits: {_bits(few, told)}"
    return _finer_measured(numbers, found, kind, arm, (grid,), told, control)


def diverged(item: ItemTables, part: str, arm: str) -> Measured:
    """Percent of the seeds that left the finite numbers, with the range over seeds."""
    data = _part(item, part, arm)
    status = data.errors.query("arm == @arm").drop_duplicates("seed")["status"]
    gone = [100.0 * (one == "diverged") for one in status]
    return _counted(data, gone, "% of the seeds diverged", arm, "errors")


def delay(item: ItemTables, part: str, arm: str, against: str) -> Measured:
    """Epochs by which an arm leaves the finite numbers later than another, by seed."""
    data = _part(item, part, arm, against)
    ends = item.probes["overflow"]
    ends = ends[ends["status"] == "diverged"]
    mine, beside = (ends[ends["arm"] == name].set_index("seed")["epochs"] for name in (arm, against))
    later = [float(mine[seed] - beside[seed]) for seed in mine.index if seed in beside.index]
    return _counted(data, later, "epochs later", arm, "overflow")


def first_place(item: ItemTables, part: str, arm: str) -> Measured:
    """Percent of the diverged seeds whose first number that is not finite arose in a forward transform."""
    data = _part(item, part, arm)
    gone = data.errors.query("arm == @arm and status == 'diverged'").drop_duplicates("seed")
    places = [str(where).rpartition(" in ")[2] for where in gone["diverged_where"]]
    found = [100.0 * (STEPS.get(place) == "forward transform") for place in places]
    return _counted(data, found, "% of the diverged seeds, in a forward transform", arm, "errors")


def converging(item: ItemTables, part: str, arm: str) -> Measured:
    """Percent of the seeds that converge by the rule of the item on FP8."""
    data = _part(item, part, arm)
    found = [100.0 * one["converges"] for one in outcomes(data, arm)]
    return _counted(data, found, "% of the seeds converge", arm, "history")


def _part(item: ItemTables, part: str, *arms: str) -> ItemData:
    if part not in item.parts:
        raise Absent(f"the plan of this scale has no part {part}")
    data = item.parts[part]
    missing = [name for name in arms if name not in data.arm_names]
    if missing:
        raise Absent(f"the plan of this scale has no {missing[0]} of {part}")
    return data


def _arm(data: ItemData, name: str) -> Mapping[str, Any]:
    return next(arm for arm in data.context["arms"] if arm["name"] == name)


def _runs(data: ItemData, *arms: str) -> tuple[str, ...]:
    """The ids of the arms' runs; refuses records that are not all there.

    Raises:
        MpnoError: a run of the plan has no errors.
    """
    planned = [run for name in arms for run in _arm(data, name)["runs"].values()]
    there = set(data.errors["run"]) if "run" in data.errors else set[str]()
    lost = [run for run in planned if run not in there]
    if lost:
        raise MpnoError(f"errors.csv has no run {lost[0]}, which the plan names; make it again with `make reproduce`")
    return tuple(planned)


def _evidence(data: ItemData, arms: Iterable[str]) -> str:
    rows = data.errors[data.errors["arm"].isin(list(arms))]
    return "/".join(sorted(set(rows["evidence"])))


def _stands_in(data: ItemData) -> bool:
    return (data.context["data"]["name"], data.context["data"]["source"]) in STAND_INS


def _control(data: ItemData, told: bool | None) -> str | None:
    rule = data.context["compare"]["power"]
    if told is None or rule is None:
        return None
    each = [change_of(data, rule["control"], name) for name in rule["told_from"]]
    return "2 mantissa bits: " + "; ".join(_bits(one, one.told_apart) for one in each if one.each)


def _bits(few: Change, told: bool) -> str:
    return f"{percent_cell(few.mean, few.low, few.high)}, {'told apart' if told else 'not told apart'}"


def _compared(
    data: ItemData,
    found: Change,
    kind: Kind,
    arms: tuple[str, str],
    *,
    table: str = "errors",
    told_apart: bool | None = None,
    control: str | None = None,
) -> Measured:
    factor = 100 if kind == "change" else 1
    effect, low, high = (known(factor * value) for value in (found.mean, found.low, found.high))
    own = _evidence(data, arms[:1])
    return Measured(
        effect,
        UNITS[kind],
        own,
        table,
        low,
        high,
        n=len(found.each),
        runs=_runs(data, *arms),
        stand_in=_stands_in(data),
        control=control,
        told_apart=told_apart,
        diverged=data.diverged(arms[0]),
        note="no seed of both finished" if effect is None else "",
    )


def _counted(data: ItemData, values: list[float], unit: str, arm: str, table: str) -> Measured:
    """The mean over seeds with their range: all must agree for the range not to reach over a bound."""
    runs, evidence = _runs(data, arm), _evidence(data, (arm,))
    if not values:
        return Measured(None, unit, evidence, table, n=0, runs=runs, note="no seed diverged")
    mean = math.fsum(values) / len(values)
    return Measured(
        mean, unit, evidence, table, min(values), max(values), n=len(values), runs=runs, stand_in=_stands_in(data),
        text=f"{mean:.3g} {unit} (n = {len(values)})",
    )  # fmt: skip


def _finer(item: ItemTables, part: str, *arms: str) -> Numbers:
    _part(item, part, *arms)
    return Numbers(item, part)


def _grid(numbers: Numbers, factor: int) -> int:
    grid = factor * numbers.home
    if grid not in numbers.grids:
        raise Absent(f"the plan of this scale has no grid {factor} times as fine")
    return grid


def _finer_measured(
    numbers: Numbers,
    found: Change,
    kind: Kind,
    arm: str,
    grids: tuple[int, ...],
    told: bool | None,
    control: str | None,
) -> Measured:
    factor = 100 if kind == "change" else 1
    rows = [row for grid in grids for row in numbers.take(arm, "model", grid)]
    effect, low, high = (known(factor * value) for value in (found.mean, found.low, found.high))
    return Measured(
        effect,
        UNITS[kind],
        "/".join(sorted({str(row["evidence"]) for row in rows})),
        "finer-coarse" if numbers.name == "coarse" else "finer",
        low,
        high,
        n=len(found.each),
        runs=_runs(numbers.part, arm),
        stand_in=_stands_in(numbers.part),
        control=control,
        told_apart=told,
        diverged=len({row["seed"] for row in rows if not row["finite"]}),
        note="no seed of both is finite" if effect is None else "",
    )
