"""The planned pieces of a table or figure: arms, parts, probes and the item that holds them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mpno.plan.experiment import Arm, Experiment, Part, Probe
from mpno.plan.words import last_rate, recipe
from mpno.specs import DataSpec, RunSpec


@dataclass(frozen=True)
class PlannedArm:
    """An arm: its spec with seed 0, and the run of each of its seeds; none where nothing is trained."""

    arm: Arm
    spec: RunSpec
    runs: dict[int, RunSpec]

    @cached_property
    def ids(self) -> dict[str, RunSpec]:
        """The runs by their ids, in the order of the seeds. An id hashes a whole spec; plans have thousands."""
        return {run.id: run for run in self.runs.values()}

    def context(self) -> dict[str, Any]:
        """What the tables need to know of the arm, as JSON-ready values."""
        spec = self.spec
        return {
            "name": self.arm.name,
            "role": self.arm.role,
            "against": self.arm.against,
            "model": spec.model.title,
            "label": spec.precision.label,
            "transform": ", ".join(spec.transforms) or "none",
            "recipe": recipe(spec),
            "epochs": spec.training.epochs,
            "last_rate": last_rate(spec),
            "id": spec.arm.id,
            "spec": spec.model_dump(mode="json"),
            "runs": dict(zip(map(str, self.runs), self.ids, strict=True)),
        }


@dataclass(frozen=True)
class PlannedPart:
    """The runs of an item on one data set. `time` and `memory` name the records of its arms, where it needs them."""

    part: Part
    arms: tuple[PlannedArm, ...]
    time: str | None = None
    memory: str | None = None

    @property
    def data(self) -> DataSpec:
        return self.arms[0].spec.data

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        return tuple(arm.spec for arm in self.arms)

    def context(self) -> dict[str, Any]:
        first = self.arms[0].spec
        return {
            "name": self.part.name,
            "recipe": self.part.recipe,
            "data": self.data.model_dump(mode="json"),
            "model": first.model.model_dump(mode="json"),
            "training": first.training.model_dump(mode="json"),
            "epochs": first.training.epochs,
            "time": self.time,
            "memory": self.memory,
            "compare": self.part.compare.model_dump(mode="json"),
            "arms": [arm.context() for arm in self.arms],
        }


@dataclass(frozen=True)
class PlannedProbe:
    """A probe with the arms it asks. `id` names its answer: equal questions have equal ones."""

    probe: Probe
    id: str
    settings: dict[str, Any]
    arms: tuple[tuple[str, PlannedArm, DataSpec], ...]

    @property
    def runs(self) -> tuple[str, ...]:
        """The ids of the runs it asks."""
        return tuple(run for _, arm, _ in self.arms for run in arm.ids)

    def question(self, root: str) -> str:
        """All that it is asked with, as one line of JSON."""
        arms = [
            {
                "part": part,
                "name": arm.arm.name,
                "spec": arm.spec.model_dump(mode="json"),
                "data": data.file(Path(root)).as_posix(),
                "runs": {str(seed): f"{root}/runs/{run}" for seed, run in zip(arm.runs, arm.ids, strict=True)},
            }
            for part, arm, data in self.arms
        ]
        content = {"kind": self.probe.kind, "settings": self.settings, "arms": arms}
        return json.dumps(content, separators=(",", ":"))


@dataclass(frozen=True)
class Item:
    """One table, figure or both, resolved."""

    experiment: Experiment
    parts: tuple[PlannedPart, ...]
    probes: tuple[PlannedProbe, ...]
    scale: str
    changes: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.experiment.item

    @property
    def kind(self) -> str:
        """What it draws, as the name of the rule that draws it."""
        return "_and_".join(self.experiment.draws)

    @cached_property
    def runs(self) -> dict[str, RunSpec]:
        return {run: spec for part in self.parts for arm in part.arms for run, spec in arm.ids.items()}

    def context(self) -> str:
        """All that turns records into this item, as one line of JSON."""
        content = {
            "item": self.name,
            "draws": self.experiment.draws,
            "drawn_by": self.experiment.drawer,
            "title": self.experiment.title,
            "paper": self.experiment.paper,
            "section": self.experiment.section,
            "scale": self.scale,
            "changes": list(self.changes),
            "parts": [part.context() for part in self.parts],
            "probes": {probe.probe.name: probe.id for probe in self.probes},
        }
        return json.dumps(content, separators=(",", ":"))
