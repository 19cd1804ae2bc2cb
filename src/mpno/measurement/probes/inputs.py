"""What a probe is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mpno.specs import RunSpec


@dataclass(frozen=True)
class ProbedArm:
    """An arm of an item: its spec, its data, its finished runs by seed."""

    part: str
    name: str
    spec: RunSpec
    data: Path
    runs: Mapping[int, Path]
