"""Configuration and experiments to a plan: which runs, files, measurements and items, all known before any job."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mpno.plan.config import Config, load_config
from mpno.plan.cost import data_bytes, run_bytes
from mpno.plan.digest import room_digest
from mpno.plan.experiment import Arm, Compare, Experiment, load_experiments
from mpno.plan.source import Look, check_import, settle
from mpno.specs import DataSpec, MpnoError, PrecisionSetting, RunSpec, allowed, build_spec, set_dotted
from mpno.specs.sets import SETS

GLANCE = (8, 4)
"""Training and test samples of a set that is made to be looked at alone, at scale smoke."""
FORMATS: dict[str, tuple[str, ...]] = {"table": ("csv", "md", "tex"), "figure": ("pdf", "png", "svg")}


@dataclass(frozen=True)
class PlannedArm:
    """An arm with the run of each of its seeds."""

    arm: Arm
    runs: dict[int, RunSpec]

    @property
    def first(self) -> RunSpec:
        return next(iter(self.runs.values()))

    def context(self) -> dict[str, Any]:
        """What the tables need to know of the arm, as JSON-ready values."""
        spec = self.first
        return {
            "name": self.arm.name,
            "role": self.arm.role,
            "against": self.arm.against,
            "model": spec.model.title,
            "label": spec.precision.label,
            "transform": ", ".join(spec.transforms) or "none",
            "recipe": recipe(spec),
            "epochs": spec.training.epochs,
            "timed_as": spec.arm.id,
            "runs": {str(seed): run.id for seed, run in self.runs.items()},
        }


@dataclass(frozen=True)
class Item:
    """One table or figure, resolved."""

    name: str
    kind: str
    title: str
    paper: str
    arms: tuple[PlannedArm, ...]
    measure: str
    compare: Compare
    scale: str
    changes: tuple[str, ...]
    form: str = "settings"

    @property
    def runs(self) -> dict[str, RunSpec]:
        return {run.id: run for arm in self.arms for run in arm.runs.values()}

    def context(self) -> str:
        """All that turns records into this item, as one line of JSON."""
        data = self.arms[0].first.data
        content = {
            "item": self.name,
            "kind": self.kind,
            "form": self.form,
            "title": self.title,
            "paper": self.paper,
            "scale": self.scale,
            "changes": list(self.changes),
            "data": data.model_dump(mode="json"),
            "model": self.arms[0].first.model.model_dump(mode="json"),
            "epochs": self.arms[0].first.training.epochs,
            "measure": self.measure,
            "compare": self.compare.model_dump(mode="json"),
            "arms": [arm.context() for arm in self.arms],
        }
        return json.dumps(content, separators=(",", ":"))


@dataclass(frozen=True)
class Plan:
    """Everything a scale makes. Paths are relative to the working folder."""

    config: Config
    items: dict[str, Item]
    runs: dict[str, RunSpec]
    data: dict[str, DataSpec]
    measures: dict[str, tuple[RunSpec, ...]]
    asked: int
    core_seconds: float
    results: str = field(default="results")
    notes: tuple[str, ...] = ()

    @property
    def scale(self) -> str:
        return self.config.scale

    @property
    def root(self) -> str:
        """Where data, runs and measurements lie: shared by all plans of the scale, for their names hash their specs."""
        return f"{self.results}/{self.scale}"

    @property
    def out(self) -> str:
        """Where tables, figures, notebooks and the report go; a changed plan never touches the unchanged one's."""
        return f"{self.root}/changed/{self.slug}" if self.config.changes else self.root

    @property
    def slug(self) -> str:
        """The changes as the name of a folder."""
        text = re.sub(r"[^A-Za-z0-9=,._+-]+", "-", "+".join(self.config.changes))
        return text if len(text) <= 80 else f"{text[:70]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def shared(self) -> int:
        """How many trainings are spared because items share runs."""
        return self.asked - len(self.runs)

    @property
    def disk_bytes(self) -> int:
        return sum(map(run_bytes, self.runs.values())) + sum(self._data_bytes().values())

    def _data_bytes(self) -> dict[str, int]:
        return {run.data.slug: data_bytes(run.data, run.axes) for run in self.runs.values()}

    def files(self, item: Item) -> list[str]:
        """The files of the table or figure itself and of its notebook."""
        drawn = [f"{self.out}/{item.kind}s/{item.name}.{ending}" for ending in FORMATS[item.kind]]
        return drawn + [f"{self.out}/notebooks/{item.name}.{ending}" for ending in ("ipynb", "html")]

    def of_kind(self, kind: str) -> list[Item]:
        return [item for item in self.items.values() if item.kind == kind]

    @staticmethod
    @cache
    def digest(stage: str) -> str:
        """The source digest of a stage, computed once."""
        return room_digest(stage)

    @property
    def gallery(self) -> dict[str, DataSpec]:
        """The data to look at, by slug: what the runs take, and each other set of the paper, solved here."""
        found = {run.data.slug: _data_file(run.data) for run in self.runs.values()}
        others = [name for name in SETS if name not in {spec.name for spec in found.values()}]
        n_train, n_test = GLANCE
        few = {"n_train": n_train, "n_test": n_test} if self.scale == "smoke" else {}
        made = [DataSpec(**{**SETS[name].defaults, **few}, name=name, source="generate") for name in others]
        return found | {spec.slug: spec for spec in made}

    def summary(self) -> str:
        """One line: what this plan comes to."""
        unit = "GPU-hours" if self.scale in ("gpu", "paper") else "core-seconds"
        amount = self.core_seconds / 3600 if unit == "GPU-hours" else self.core_seconds
        return (
            f"scale {self.scale}: {len(self.items)} item{'s' * (len(self.items) != 1)}, {len(self.runs)} runs "
            f"({self.shared} more shared), about {amount:.0f} {unit}, {self.disk_bytes / 2**20:.0f} MiB of disk"
        )

    def describe(self) -> str:
        """The summary and one line per item."""
        lines = [self.summary()]
        lines += [f"changed: {' '.join(self.config.changes)} (into {self.out})"] if self.config.changes else []
        lines += [f"  {note}" for note in self.notes]
        for item in self.items.values():
            seeds = max(len(arm.runs) for arm in item.arms)
            lines.append(
                f"  {item.kind:6} {item.name}: {len(item.arms)} arms, up to {seeds} seeds, {len(item.runs)} runs"
            )
        return "\n".join(lines)


def load_plan(overrides: Mapping[str, Any], *, root: Path, results: str = "results", look: Look | None = None) -> Plan:
    """Read config.yaml and the experiments below `root`, lay `overrides` over the config, build the plan.

    `look` opens the stock of data on this machine, for source auto and for imported sets.

    Raises:
        MpnoError: one line for the first mistake found.
    """
    config = load_config(root / "config.yaml", dict(overrides))
    return build_plan(config, root / "workflow" / "experiments", results=results, look=look)


def build_plan(config: Config, experiments_dir: Path, *, results: str = "results", look: Look | None = None) -> Plan:
    """Resolve `config` against the experiment files of `experiments_dir`. Equal specs become one run.

    Raises:
        MpnoError: an item is unknown, a spec is wrong, or a change makes two arms the same.
    """
    experiments = load_experiments(experiments_dir)
    items: dict[str, Item] = {}
    measures: dict[str, tuple[RunSpec, ...]] = {}
    runs: dict[str, RunSpec] = {}
    costs: dict[str, float] = {}
    seconds = 0.0
    notes: dict[str, None] = {}
    for name in _chosen(config, experiments):
        experiment = experiments[name]
        owner = experiments[experiment.arms_of or name]
        where = experiments_dir / f"{owner.item}.yaml"
        arms = _arms(owner, config, where, look, notes)
        timed = tuple(arm.first.arm for arm in arms)
        measure = f"{owner.item}_{hashlib.sha256(' '.join(spec.id for spec in timed).encode()).hexdigest()[:8]}"
        if measure not in measures:
            measures[measure] = timed
            seconds += owner.scales[config.scale].core_seconds.measure
        shown = _shown(experiment, arms, experiments_dir)
        assert owner.compare is not None  # the model refuses arms without a comparison
        items[name] = Item(
            name, experiment.kind, experiment.title, experiment.paper, shown, measure, owner.compare,
            config.scale, config.changes, experiment.form,
        )  # fmt: skip
        runs |= items[name].runs
        costs |= dict.fromkeys(items[name].runs, owner.scales[config.scale].core_seconds.run)
        seconds += experiment.scales[config.scale].core_seconds.draw
    return Plan(
        config=config,
        items=items,
        runs=runs,
        data={run.data.slug: _data_file(run.data) for run in runs.values() if run.data.source != "import"},
        measures=measures,
        asked=sum(len(item.runs) for item in items.values()),
        core_seconds=seconds + sum(costs.values()),
        results=results,
        notes=tuple(notes),
    )


def recipe(spec: RunSpec) -> str:
    """How a run is trained, in a few words."""
    names = {"adam": "Adam", "adamw": "AdamW"}
    scheduler = {"none": "constant rate", "step": "StepLR", "one-cycle": "one-cycle"}[spec.scheduler.name]
    output = ", normalised output" if spec.training.normalise_output else ""
    techniques = f", {spec.training.techniques}" if spec.training.techniques else ""
    return f"{names[spec.optimizer.name]}, {scheduler}, {spec.training.loss.upper()} loss{output}{techniques}"


def _chosen(config: Config, experiments: dict[str, Experiment]) -> list[str]:
    names = list(experiments)
    wanted = (config.item,) if config.item is not None else config.items
    if wanted == ("all",):
        return names
    for name in wanted:
        if name not in names:
            raise MpnoError(f"config.yaml: {'item' if config.item else 'items'} names {name!r}; {allowed(name, names)}")
    return [name for name in names if name in wanted]


def _shown(experiment: Experiment, arms: tuple[PlannedArm, ...], folder: Path) -> tuple[PlannedArm, ...]:
    if experiment.show == "all":
        return arms
    shown = tuple(arm for arm in arms if arm.arm.name in experiment.show)
    if not shown:
        raise MpnoError(
            f"{folder / experiment.item}.yaml: show names none of the arms of {experiment.arms_of}; name one"
        )
    return shown


def home_of(experiment: Experiment) -> str:
    """The data set of the experiment file."""
    return (experiment.base.get("data") or {}).get("name", "darcy")


def _arms(
    experiment: Experiment, config: Config, where: Path, look: Look | None, notes: dict[str, None]
) -> tuple[PlannedArm, ...]:
    scale = experiment.scales[config.scale]
    seeds = config.seeds or scale.seeds
    planned = []
    seen: dict[str, str] = {}
    for arm in experiment.arms_at(config.scale):
        values: dict[str, Any] = {**experiment.base, "scale": config.scale}
        for key, value in {**scale.set, **arm.set}.items():
            values = set_dotted(values, key, value)
        home = values.get("data", {}).get("name", "darcy")
        values, why = settle(values, (), look, home=home)
        build_spec(values, where=f"{where}, arm {arm.name}, scale {config.scale}")
        for key, value in config.settings.items():
            values = set_dotted(open_precision(values, key), key, value)
        values, changed = settle(values, config.settings, look, home=home)
        spec = build_spec(
            values, where=f"config.yaml, set {' '.join(config.changes)} ({experiment.item}, arm {arm.name})"
        )
        check_import(spec.data, look)
        notes |= dict.fromkeys(filter(None, [changed or why]))
        if spec.id in seen:
            raise MpnoError(
                f"{where}: arms {seen[spec.id]} and {arm.name} are the same run"
                + (f" once {' '.join(config.changes)} is set; choose another change" if config.changes else "")
            )
        seen[spec.id] = arm.name
        own = seeds[:1] if arm.name in scale.illustrations else seeds
        planned.append(PlannedArm(arm, {seed: spec.model_copy(update={"seed": seed}) for seed in own}))
    slugs = {arm.first.data.slug for arm in planned}
    if len(slugs) > 1:
        raise MpnoError(f"{where}: arms differ in their data ({', '.join(sorted(slugs))}); pairing needs one data set")
    return tuple(planned)


def open_precision(values: dict[str, Any], key: str) -> dict[str, Any]:
    """Spell out ``precision: mixed`` where one of its parts is to be set."""
    short = values.get("precision")
    if not key.startswith("precision.") or not isinstance(short, str):
        return values
    return {**values, "precision": PrecisionSetting.model_validate(short).model_dump()}


def _data_file(spec: DataSpec) -> DataSpec:
    """What a data file holds does not hang on how much of a small public set a run takes."""
    return DataSpec(name=spec.name, source=spec.source) if spec.shipped else spec
