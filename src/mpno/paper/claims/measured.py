"""What a reader found in the records."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mpno.paper.records import NONE
from mpno.specs import MpnoError

CHANGES = ("%", "points", "points more saved")
"""Units of what has a sign, and of which zero means no change."""


class Absent(MpnoError):
    """This scale has no such record: its plan leaves it out."""


@dataclass(frozen=True)
class Measured:
    """The answer of a reader.

    Attributes:
        effect: the number that is judged; None where the records have none, and `note` says why.
        low, high: its interval over seeds or timings, or the range over seeds of what is counted; None without one.
        unit: of all three.
        n: seeds, each a sample; None where nothing was drawn, as of bytes and bounds.
        evidence: the classes of the records, separated by a slash.
        table: the file of the item that holds them, without its ending.
        runs: their ids; empty where no training was asked.
        stand_in: whether the data stand in for the paper's.
        control: what the few-bit control says, in words; None without one.
        told_apart: whether it is told from full precision; None without a control.
        diverged: seeds that left the finite numbers.
        text: what a reader sees, if not effect and interval.
    """

    effect: float | None
    unit: str
    evidence: str
    table: str
    low: float | None = None
    high: float | None = None
    n: int | None = None
    runs: tuple[str, ...] = ()
    stand_in: bool = False
    control: str | None = None
    told_apart: bool | None = None
    diverged: int = 0
    text: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for value in (self.effect, self.low, self.high):
            if value is not None and not math.isfinite(value):
                raise MpnoError(f"{self.table}.csv: {value} for a number ({self.unit}); make the records again")

    @property
    def predicted(self) -> bool:
        return self.evidence == "predicted"

    @property
    def shown(self) -> str:
        """Effect and interval as a reader sees them."""
        if self.text is not None:
            return self.text
        if self.effect is None:
            return f"{NONE} ({self.note})" if self.note else NONE
        ends = [self._number(value) for value in (self.low, self.high) if value is not None]
        interval = f" [{', '.join(ends)}]" if ends else ""
        return f"{self._number(self.effect)} {self.unit}{interval}"

    def _number(self, value: float) -> str:
        """Four digits or fewer; changes with their sign."""
        sign = "+" if self.unit in CHANGES else ""
        size = abs(value)
        if size >= 1000:
            return f"{value:{sign},.0f}"
        digits = 1 if size >= 10 else 2 if size >= 0.1 or not size else 4
        return f"{value:{sign}.{digits}f}"


def known(value: float) -> float | None:
    """`value`, or None for NaN."""
    return None if math.isnan(value) else float(value)
