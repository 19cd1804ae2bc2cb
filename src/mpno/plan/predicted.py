"""What jobs ask of a scheduler: memory and time, from committed predictions where there are any.

``workflow/predicted/<scale>.csv`` has a line per arm. Of its columns four are read here:

- ``scale``: smoke, desk, gpu or paper, as in the file's name;
- ``key``: the run's id with seed 0 (``spec.arm.id``), since seeds cost the same;
- ``mib``: MiB that a training step holds, on the card where there is one;
- ``seconds``: the whole training.

An empty ``mib`` or ``seconds`` is one that nobody could predict. Where the file or a line is missing, the seconds are
those of the experiment file, and memory is taken for what a training seldom needs more of.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from mpno.specs import MpnoError

COLUMNS = ("scale", "key", "mib", "seconds")
MARGIN = 1.5
"""Asked for over predicted: what a prediction leaves out (workspaces, a slower card) costs a retry."""
START_MIB = 3000
"""Python, torch and a CUDA context."""
UNKNOWN_MIB = 4000
"""A training step that nobody predicted."""
START_MINUTES = 15
"""Loading, the tests after the last epoch, a slow file system."""


@dataclass(frozen=True)
class Need:
    """What one training takes; None where nobody knows."""

    mib: float | None = None
    seconds: float | None = None


def read_predicted(path: Path, scale: str) -> dict[str, Need]:
    """What the arms in `path` take, by the run's id with seed 0; nothing where there is no such file.

    Raises:
        MpnoError: a column is missing, a number is none or not positive, a line is of another scale, or an arm stands
            twice.
    """
    if not path.is_file():
        return {}
    found: dict[str, Need] = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
            raise MpnoError(f"{path}: has no column {missing[0]}; it must have {', '.join(COLUMNS)}")
        for row in rows:
            if row["scale"] != scale:
                raise MpnoError(f"{path}: {row['key']} is of scale {row['scale']!r}; this file is for {scale}")
            if row["key"] in found:
                raise MpnoError(f"{path}: {row['key']} stands twice; keep one line for each arm")
            found[row["key"]] = Need(*(_number(row, name, path) for name in COLUMNS[2:]))
    return found


def _number(row: Mapping[str, str], name: str, path: Path) -> float | None:
    if not row[name]:
        return None
    try:
        value = float(row[name])
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise MpnoError(f"{path}: {row['key']} has {name} {row[name]!r}; give a positive number, or nothing")
    return value


def ask_mib(need: Need, data_bytes: int, attempt: int) -> int:
    """MiB of memory for a training whose data file has `data_bytes`, which it reads and normalises; more each attempt.

    On a card's machine too: what its memory holds passes through the machine's.
    """
    held = UNKNOWN_MIB if need.mib is None else MARGIN * need.mib
    return ceil((START_MIB + held + 2 * data_bytes / 2**20) * attempt)


def ask_minutes(seconds: float, attempt: int) -> int:
    """Minutes of time for what should take `seconds`; more each attempt."""
    return ceil((START_MINUTES + MARGIN * seconds / 60) * attempt)
