"""What the jobs of a plan ask of a scheduler, as functions of wildcards and attempt; a retry asks for more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mpno.plan.build import Plan
from mpno.plan.cost import data_bytes
from mpno.plan.planned import Item, PlannedPart
from mpno.plan.predicted import Need, ask_mib, ask_minutes
from mpno.specs import DataSpec

DATA_MIB = 2000
DATA_MINUTES = 240
"""A data set that is solved: nobody predicts that."""
SHAPES_MIB = 2000
"""A prediction holds shapes and dtypes, no numbers."""
SPREAD = 2
"""An experiment file says what a run costs in the mean over the arms; the slowest takes about twice that."""


class JobNeeds:
    """Functions of wildcards and attempt: MiB for `mem_mb`, minutes for `runtime`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._axes = {spec.data.slug: spec.axes for spec in plan.runs.values()}
        arms = [arm for item in plan.items.values() for part in item.parts for arm in part.arms]
        self._arms = {run: arm.spec.id for arm in arms for run in arm.ids}
        self._timed = {part.time: item for item in plan.items.values() for part in item.parts if part.time}
        self._sized = {part.memory: item for item in plan.items.values() for part in item.parts if part.memory}
        self._probed = {probe.id: item for item in plan.items.values() for probe in item.probes}

    def data_mib(self, wildcards: Any, attempt: int) -> int:
        spec = {**self.plan.gallery, **self.plan.data}[wildcards.slug]
        return attempt * (DATA_MIB + 4 * self._bytes(spec) // 2**20)

    def data_minutes(self, wildcards: Any, attempt: int) -> int:
        return attempt * DATA_MINUTES

    def train_mib(self, wildcards: Any, attempt: int) -> int:
        return self._mib(self._arms[wildcards.run], self.plan.runs[wildcards.run].data, attempt)

    def train_minutes(self, wildcards: Any, attempt: int) -> int:
        known = self._need(self._arms[wildcards.run]).seconds
        return ask_minutes(known or SPREAD * self.plan.costs[wildcards.run], attempt)

    def time_mib(self, wildcards: Any, attempt: int) -> int:
        return self._most(self.plan.times[wildcards.arms], attempt)

    def time_minutes(self, wildcards: Any, attempt: int) -> int:
        return ask_minutes(self._cost(self._timed[wildcards.arms]).measure, attempt)

    def memory_mib(self, wildcards: Any, attempt: int) -> int:
        return attempt * SHAPES_MIB

    def memory_minutes(self, wildcards: Any, attempt: int) -> int:
        return ask_minutes(self._cost(self._sized[wildcards.arms]).probe, attempt)

    def probe_mib(self, wildcards: Any, attempt: int) -> int:
        asked = self.plan.probes[wildcards.probe].arms
        each = (self._mib(arm.spec.id, data, attempt) for _, arm, data in asked)
        return max(each, default=ask_mib(Need(), 0, attempt))

    def probe_minutes(self, wildcards: Any, attempt: int) -> int:
        return ask_minutes(self._cost(self._probed[wildcards.probe]).probe, attempt)

    def _cost(self, item: Item) -> Any:
        return item.experiment.scales[self.plan.config.scale].core_seconds

    def _most(self, parts: Iterable[PlannedPart], attempt: int) -> int:
        return max(self._mib(spec.id, spec.data, attempt) for part in parts for spec in part.specs)

    def _mib(self, arm: str, data: DataSpec, attempt: int) -> int:
        return ask_mib(self._need(arm), self._bytes(data), attempt)

    def _need(self, arm: str) -> Need:
        return self.plan.predicted.get(arm, Need())

    def _bytes(self, spec: DataSpec) -> int:
        return data_bytes(spec, self._axes.get(spec.slug, 2))
