"""What a probe is given, as far as the theory needs it; an arm of :mod:`mpno.measurement.probes` fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from mpno.specs import RunSpec


class Asked(Protocol):
    """An arm of an item: its spec, its data, its finished runs by seed."""

    @property
    def part(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def spec(self) -> RunSpec: ...
    @property
    def data(self) -> Path: ...
    @property
    def runs(self) -> Mapping[int, Path]: ...
