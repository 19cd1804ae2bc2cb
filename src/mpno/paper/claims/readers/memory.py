"""What shapes, dtypes and the time model say: bytes of a step, savings, formats of the block, speed-ups."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import math

from mpno.paper.claims.measured import Absent, Measured, known
from mpno.paper.items.predicted_time import numbers as timed
from mpno.paper.records import ItemTables
from mpno.specs import MpnoError

LESS = "% less memory"
STEPS = ("forward transform", "contraction", "inverse transform")


def case_saving(item: ItemTables, case: str, against: str) -> Measured:
    """Percent of memory that a case of predicted-memory saves against another."""
    return _predicted(100 * (1 - _case(item, case) / _case(item, against)), LESS)


def case_value(item: ItemTables, case: str, column: str, unit: str, factor: float = 1.0) -> Measured:
    """A column of a case of predicted-memory, times `factor`."""
    return _predicted(factor * _case(item, case, column), unit)


def case_lowest(item: ItemTables, case: str, others: list[str]) -> Measured:
    """MiB by which a case lies below the lowest of the others; negative where it is not the lowest."""
    return _predicted(min(_case(item, other) for other in others) - _case(item, case), "MiB below the next")


def case_highest(item: ItemTables, case: str, others: list[str]) -> Measured:
    """MiB by which a case lies above the highest of the others; negative where it is not the highest."""
    return _predicted(_case(item, case) - max(_case(item, other) for other in others), "MiB above the next")


def saving_gap(item: ItemTables, case: str, against: str, other: str, other_against: str) -> Measured:
    """Points by which the first case's saving exceeds the other's."""
    one, two = case_saving(item, case, against), case_saving(item, other, other_against)
    assert one.effect is not None and two.effect is not None
    return _predicted(one.effect - two.effect, "points more saved")


def size_saving(item: ItemTables, setting: str, against: str, probe: str = "published-size") -> Measured:
    """Percent that a setting saves against another in our own layers at the published size."""
    peaks = dict(zip(item.probes[probe]["setting"], item.probes[probe]["peak"], strict=True))
    missing = [name for name in (setting, against) if name not in peaks]
    if missing:
        raise _missing(item, f"{probe}.csv has no setting {missing[0]!r}")
    return _predicted(100 * (1 - float(peaks[setting]) / float(peaks[against])), LESS, probe)


def arm_saving(item: ItemTables, part: str, arm: str, against: str) -> Measured:
    """Percent that an arm of an item's own size is predicted to save against another."""
    if part not in item.parts or not {arm, against} <= set(item.parts[part].arm_names):
        raise Absent(f"the plan of this scale has no {arm} of {part}")
    peaks = item.parts[part].arms.set_index("arm")["predicted_peak"]
    return _predicted(100 * (1 - float(peaks[arm]) / float(peaks[against])), LESS, "arms")


def steps_in_half(item: ItemTables, setting: str) -> Measured:
    """How many of transform, contraction and inverse transform are traced in 16 bits."""
    trace = item.probes["trace"].query("setting == @setting").set_index("step")
    if not set(STEPS) <= set(trace.index):
        raise _missing(item, f"trace.csv has no {setting} with all of {', '.join(STEPS)}")
    count = sum(trace.loc[step, "format"] in ("fp16", "bf16") for step in STEPS)
    return Measured(float(count), "of 3 operations", "predicted", "trace", text=f"{count} of 3 operations")


def speed_up(item: ItemTables, setting: str, card: str, batch: int = 32) -> Measured:
    """How many times as fast as full the time model has a setting of the authors' on a card."""
    frame = timed(item)
    rows = frame[
        (frame["implementation"] == "authors")
        & (frame["setting"] == setting)
        & (frame["card"] == card)
        & (frame["batch"] == batch)
    ]
    if rows.empty:
        raise _missing(item, f"cases.csv has no {setting} on {card} with batch {batch}")
    return _predicted(float(rows["speed_up"].iloc[0]), "times as fast")


def epoch_seconds(item: ItemTables, part: str, arm: str, against: str) -> Measured:
    """Percent of an epoch's time that an arm takes less than another; none where a setting is not native here."""
    data = item.parts[part]
    if not {arm, against} <= set(data.arm_names):
        raise Absent(f"the plan of this scale has no {arm} of {part}")
    rows = data.arms.set_index("arm")
    mine, beside = rows.loc[arm], rows.loc[against]
    evidence = "/".join(sorted({str(mine["evidence"]), str(beside["evidence"])}))
    saved = known(100 * (1 - float(mine["seconds"]) / float(beside["seconds"])))
    if saved is None:
        return Measured(None, "% less time", evidence, "arms", note="no time: not native on this device")
    low, high = (
        100 * (1 - float(mine[one]) / float(beside[two]))
        for one, two in (("seconds_high", "seconds_low"), ("seconds_low", "seconds_high"))
    )
    return Measured(saved, "% less time", evidence, "arms", known(low), known(high))


def _predicted(value: float, unit: str, table: str = "cases") -> Measured:
    return Measured(value, unit, "predicted", table)


def _case(item: ItemTables, name: str, column: str = "shown") -> float:
    cases = item.probes["cases"]
    rows = cases[cases["case"] == name]
    value = math.nan if rows.empty else float(rows[column].iloc[0])
    if math.isnan(value):
        raise _missing(item, f"cases.csv has no {column} of {name!r}")
    return value


def _missing(item: ItemTables, what: str) -> MpnoError:
    """At scale smoke few cases are asked by plan; elsewhere a case that is not there is lost."""
    if item.context["scale"] == "smoke":
        return Absent(f"the plan of scale smoke is short: {what}")
    return MpnoError(f"tidy/{item.context['item']}: {what}; make it again with `make item ITEM={item.context['item']}`")
