"""Configuration and experiments to a plan: which runs, files, measurements and items, all known before any job."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mpno.plan.config import Config, load_config
from mpno.plan.cost import data_bytes, run_bytes
from mpno.plan.digest import drawers, probe_kinds, room_digest
from mpno.plan.experiment import Experiment, Part, Probe, ProbeScale, load_experiments
from mpno.plan.planned import Item, PlannedArm, PlannedPart, PlannedProbe
from mpno.plan.predicted import Need, read_predicted
from mpno.plan.source import Look, check_import, mapping, settle
from mpno.specs import (
    DataSpec,
    MpnoError,
    PrecisionSetting,
    RunSpec,
    allowed,
    build_spec,
    one_line,
    set_dotted,
    spec_fields,
)
from mpno.specs.errors import inside
from mpno.specs.sets import SETS

GLANCE = (8, 4)
"""Training and test samples of a set that is made to be looked at alone, at scale smoke."""
FORMATS: dict[str, tuple[str, ...]] = {"table": ("csv", "md", "tex"), "figure": ("pdf", "png", "svg", "csv")}


@dataclass(frozen=True)
class Plan:
    """Everything a scale makes. Paths are relative to the working folder."""

    config: Config
    items: dict[str, Item]
    runs: dict[str, RunSpec]
    data: dict[str, DataSpec]
    asked: int
    costs: dict[str, float]
    predicted: dict[str, Need]
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
        if self.config.drawn_from:
            return f"{self.results}/redrawn"
        return f"{self.root}/changed/{self.slug}" if self.config.changes else self.root

    @property
    def tidy(self) -> str:
        """Where the tidy tables lie that are drawn."""
        return self.config.drawn_from or f"{self.out}/tidy"

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
        axes = {run.data.slug: run.axes for run in self.runs.values()}
        files = sum(data_bytes(spec, axes.get(slug, 2)) for slug, spec in self.data.items())
        return sum(map(run_bytes, self.runs.values())) + files

    def files(self, item: Item) -> list[str]:
        """The files of the table and figure themselves and of the notebook."""
        kinds = item.experiment.draws
        drawn = [f"{self.out}/{kind}s/{item.name}.{ending}" for kind in kinds for ending in FORMATS[kind]]
        drawn.append(f"{self.out}/drawn/{item.name}.json")
        return drawn + [f"{self.out}/notebooks/{item.name}.{ending}" for ending in ("ipynb", "html")]

    def of_kind(self, kind: str) -> list[Item]:
        return [item for item in self.items.values() if item.kind == kind]

    @cached_property
    def times(self) -> dict[str, tuple[PlannedPart, ...]]:
        """The parts whose arms are timed together, by the name of the record."""
        return _records("time", self.items.values())

    @cached_property
    def memories(self) -> dict[str, tuple[PlannedPart, ...]]:
        """The parts whose memory is predicted together, by the name of the record."""
        return _records("memory", self.items.values())

    @cached_property
    def probes(self) -> dict[str, PlannedProbe]:
        """The probes by the name of their answer."""
        return {probe.id: probe for item in self.items.values() for probe in item.probes}

    @staticmethod
    @cache
    def digest(stage: str) -> str:
        """The source digest of a stage, computed once."""
        return room_digest(stage)

    @cached_property
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
        return (
            f"scale {self.scale}: {len(self.items)} item{'s' * (len(self.items) != 1)}, {len(self.runs)} runs "
            f"({self.shared} more shared), about {self._amount(self.core_seconds)}, "
            f"{self.disk_bytes / 2**20:.0f} MiB of disk"
        )

    def alone(self, item: Item) -> float:
        """Seconds that an item takes by itself, of a core or at gpu and paper of a card; predicted where they are."""
        cost = item.experiment.scales[self.config.scale].core_seconds
        arms = [arm for part in item.parts for arm in part.arms]
        needs = [(len(arm.runs), self.predicted.get(arm.spec.id, Need()).seconds) for arm in arms]
        return sum(runs * (seconds or cost.run) for runs, seconds in needs) + cost.measure + cost.probe + cost.draw

    def _amount(self, seconds: float) -> str:
        return f"{seconds / 3600:.0f} GPU-hours" if self.scale in ("gpu", "paper") else f"{seconds:.0f} core-seconds"

    def describe(self) -> str:
        """The summary and one line per item."""
        lines = [self.summary()]
        lines += [f"changed: {' '.join(self.config.changes)} (into {self.out})"] if self.config.changes else []
        lines += [f"  {note}" for note in self.notes]
        for item in self.items.values():
            arms = [arm for part in item.parts for arm in part.arms]
            seeds = max((len(arm.runs) for arm in arms), default=0)
            kind = " and ".join(item.experiment.draws)
            lines.append(
                f"  {item.name} ({kind}): {len(arms)} arms, up to {seeds} seeds, {len(item.runs)} runs, "
                f"about {self._amount(self.alone(item))} alone"
            )
        return "\n".join(lines)


def load_plan(overrides: Mapping[str, Any], *, root: Path, results: str = "results", look: Look | None = None) -> Plan:
    """Read config.yaml and the experiments below `root`, lay `overrides` over the config, build the plan.

    `look` opens the stock of data on this machine, for source auto and for imported sets.

    Raises:
        MpnoError: one line for the first mistake found.
    """
    config = load_config(root / "config.yaml", dict(overrides))
    if config.drawn_from is not None and not Path(config.drawn_from).is_dir():
        raise MpnoError(
            f"config.yaml: drawn_from is {config.drawn_from!r}, where no folder is; give that of tidy tables, as in "
            "results/published/tidy"
        )
    return build_plan(config, root / "workflow" / "experiments", results=results, look=look)


def build_plan(config: Config, experiments_dir: Path, *, results: str = "results", look: Look | None = None) -> Plan:
    """Resolve `config` against the experiment files of `experiments_dir`. Equal specs become one run.

    Raises:
        MpnoError: an item is unknown or nothing draws it, a spec is wrong, or a change makes two arms the same.
    """
    experiments = load_experiments(experiments_dir)
    items: dict[str, Item] = {}
    costs: dict[str, float] = {}
    seconds = 0.0
    notes: dict[str, None] = {}
    for name in _chosen(config, experiments):
        experiment = experiments[name]
        where = experiments_dir / f"{name}.yaml"
        if experiment.drawer not in drawers():  # which would come out only after the last training
            raise MpnoError(f"{where}: is drawn by {experiment.drawer!r}; {allowed(experiment.drawer, drawers())}")
        parts = tuple(_part(part, experiment, config, where, look, notes) for part in experiment.parts)
        parts = _measured(name, parts)
        probes = tuple(_probe(probe, experiment, parts, config, where) for probe in experiment.probes)
        items[name] = Item(experiment, parts, probes, config.scale, config.changes)
        cost = experiment.scales[config.scale].core_seconds
        costs = {**dict.fromkeys(items[name].runs, cost.run), **costs}
        seconds += cost.measure + cost.probe + cost.draw
    runs = {run: spec for item in items.values() for run, spec in item.runs.items()}
    parts = [part for item in items.values() for part in item.parts]
    # Of an arm that is only asked by a probe the probe knows the data; of one that nobody asks none are made.
    specs = [arm.spec.data for part in parts for arm in part.arms if arm.runs or part.time or part.memory]
    specs += [data for item in items.values() for probe in item.probes for _, _, data in probe.arms]
    return Plan(
        config=config,
        items=items,
        runs=runs,
        data={spec.slug: _data_file(spec) for spec in specs if spec.source != "import"},
        asked=sum(len(item.runs) for item in items.values()),
        costs=costs,
        predicted=read_predicted(experiments_dir.parent / "predicted" / f"{config.scale}.csv", config.scale),
        core_seconds=seconds + sum(costs.values()),
        results=results,
        notes=tuple(notes),
    )


def _chosen(config: Config, experiments: dict[str, Experiment]) -> list[str]:
    names = list(experiments)
    wanted = (config.item,) if config.item is not None else config.items
    if wanted == ("all",):
        return [name for name in names if not experiments[name].on_demand]
    for name in wanted:
        if name not in names:
            raise MpnoError(f"config.yaml: {'item' if config.item else 'items'} names {name!r}; {allowed(name, names)}")
    return [name for name in names if name in wanted]


def _part(
    part: Part, experiment: Experiment, config: Config, where: Path, look: Look | None, notes: dict[str, None]
) -> PlannedPart:
    scale = part.at(config.scale)
    seeds = (config.seeds or scale.seeds or ()) if scale.seeds else ()
    planned = []
    seen: dict[str, str] = {}
    recipe = f", recipe {part.recipe}" if part.recipe else ""
    for arm in part.arms_at(config.scale):
        own = f"{where}, part {part.name}{recipe}, arm {arm.name}, scale {config.scale}"
        values: dict[str, Any] = {**part.base, "scale": config.scale}
        with inside(own):
            for key, value in {**scale.set, **arm.set}.items():
                values = set_dotted(values, key, value)
            home = mapping(values, "data").get("name", "darcy")
            values, why = settle(values, (), look, home=home)
        build_spec(values, where=own)

        changes = f"config.yaml, set {' '.join(config.changes)} ({experiment.item}, arm {arm.name})"
        with inside(changes):
            for key, value in config.settings.items():
                values = set_dotted(open_precision(values, key), key, value)
            values, changed = settle(values, config.settings, look, home=home)
        spec = build_spec(values, where=changes)
        check_import(spec.data, look)
        notes |= dict.fromkeys(filter(None, [changed or why]))
        if spec.id in seen:
            raise MpnoError(
                f"{where}: arms {seen[spec.id]} and {arm.name} are the same run"
                + (f" once {' '.join(config.changes)} is set; choose another change" if config.changes else "")
            )
        seen[spec.id] = arm.name
        own = seeds[:1] if arm.name in scale.illustrations else seeds[: arm.seeds]
        planned.append(PlannedArm(arm, spec, {seed: spec.model_copy(update={"seed": seed}) for seed in own}))
    if not planned:
        raise MpnoError(f"{where}: part {part.name} has no arm at scale {config.scale}; name one")
    slugs = {arm.spec.data.slug for arm in planned}
    if len(slugs) > 1:
        raise MpnoError(f"{where}: arms differ in their data ({', '.join(sorted(slugs))}); pairing needs one data set")
    return PlannedPart(part, tuple(planned))


def _measured(item: str, parts: tuple[PlannedPart, ...]) -> tuple[PlannedPart, ...]:
    """The parts with the names of their records: one of times and one of memory for an item, for each start costs."""
    for need in ("time", "memory"):
        ids = " ".join(spec.arm.id for part in parts if need in part.part.needs for spec in part.specs)
        name = f"{item}_{_hash(ids)}"
        parts = tuple(replace(part, **{need: name}) if need in part.part.needs else part for part in parts)
    return parts


def _records(need: str, items: Iterable[Item]) -> dict[str, tuple[PlannedPart, ...]]:
    found: dict[str, tuple[PlannedPart, ...]] = {}
    for item in items:
        for part in item.parts:
            if name := getattr(part, need):
                found[name] = (*found.get(name, ()), part)
    return found


def _probe(
    probe: Probe, experiment: Experiment, parts: tuple[PlannedPart, ...], config: Config, where: Path
) -> PlannedProbe:
    kinds = probe_kinds()
    if probe.kind not in kinds:
        raise MpnoError(f"{where}: probe {probe.name} has kind {probe.kind!r}; {allowed(probe.kind, kinds)}")
    altered = probe.scales.get(config.scale, ProbeScale())
    asked = []
    for part in parts:
        names = probe.arms.get(part.part.name, ())
        for arm in part.arms:
            if names == "all" or arm.arm.name in names:
                asked.append((part.part.name, arm, _probed_data(probe, altered, part.data, where)))
    settings = {**probe.settings, **altered.settings}
    what = [(part, arm.arm.name, arm.spec.id, sorted(arm.runs), data.slug) for part, arm, data in asked]
    text = json.dumps([probe.kind, settings, what], sort_keys=True)
    return PlannedProbe(probe, f"{experiment.item}_{probe.name}_{_hash(text)}", settings, tuple(asked))


def _probed_data(probe: Probe, altered: ProbeScale, data: DataSpec, where: Path) -> DataSpec:
    wanted = probe.data if altered.data is None else altered.data
    if wanted is None:
        return data
    try:
        return DataSpec.model_validate({**data.model_dump(), **wanted})
    except ValidationError as error:
        raise one_line(error, where=f"{where}, probe {probe.name}", fields=spec_fields(), within=("data",)) from None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def open_precision(values: dict[str, Any], key: str) -> dict[str, Any]:
    """Spell out ``precision: mixed`` where one of its parts is to be set."""
    short = values.get("precision")
    if not key.startswith("precision.") or not isinstance(short, str):
        return values
    return {**values, "precision": PrecisionSetting.model_validate(short).model_dump()}


def _data_file(spec: DataSpec) -> DataSpec:
    """What a data file holds does not hang on how much of a small public set a run takes."""
    return DataSpec(name=spec.name, source=spec.source) if spec.shipped else spec
