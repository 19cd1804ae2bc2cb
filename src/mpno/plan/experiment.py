"""Experiment files: the grid of runs one table or figure needs, at each scale."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, model_validator

from mpno.plan.files import read_yaml, validate
from mpno.specs import MpnoError, allowed, spec_fields
from mpno.specs.names import SCALES, Loss, Scale

Name = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")


class Strict(BaseModel):
    """A value object: unknown keys are refused, fields cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Arm(Strict):
    """One row or curve: a run repeated over seeds."""

    name: str = Name
    role: Literal["setting", "control", "authors"] = Field(
        default="setting", description="control: few mantissa bits, to show what the test can see"
    )
    against: str | None = Field(default=None, description="the arm this one is paired with, seed by seed")
    set: dict[str, Any] = Field(default={}, description="what differs from base, as dotted keys of a run")


class Power(Strict):
    """Which control must be told from which arms before `no loss` may be said."""

    control: str
    told_from: tuple[str, ...] = Field(min_length=1)


class Compare(Strict):
    """The comparison, fixed before the runs are made."""

    metric: Loss = Field(default="l2", description="the test error compared, at the training resolution")
    margin: PositiveFloat = Field(lt=1, description="relative change of the error that still counts as equivalent")
    confidence: PositiveFloat = Field(default=0.95, lt=1)
    power: Power | None = None
    learned: PositiveFloat = Field(
        default=0.75,
        lt=1,
        description="a training has learned if its last error is at most this share of the mean predictor's and of "
        "its own after one epoch",
    )


class Cost(Strict):
    """Core-seconds (GPU-seconds at the scales gpu and paper)."""

    run: NonNegativeFloat = Field(default=0, description="one training, in the mean over the arms")
    measure: NonNegativeFloat = Field(default=0, description="the exclusive timing of all arms together")
    draw: NonNegativeFloat = Field(default=0, description="collecting, the notebook, its files")


class ScaleSpec(Strict):
    """What a scale alters."""

    seeds: tuple[NonNegativeInt, ...] = Field(default=(), description="repetitions of each arm")
    core_seconds: Cost
    arms: tuple[str, ...] | Literal["all"] = "all"
    illustrations: tuple[str, ...] = Field(
        default=(), description="arms made with the first seed alone: shown without an interval and without a verdict"
    )
    set: dict[str, Any] = Field(default={}, description="what differs from base at this scale, as dotted keys")


class Experiment(Strict):
    """One table or figure of the paper."""

    item: str = Name
    kind: Literal["table", "figure"]
    title: str = Field(min_length=1)
    paper: str = Field(min_length=1, description="which part of the paper it stands beside")
    form: Literal["settings", "models"] = Field(
        default="settings", description="a table's columns: errors on every grid, or what each model has learned"
    )
    arms_of: str | None = Field(default=None, description="take base, arms, seeds and comparison of this item")
    show: tuple[str, ...] | Literal["all"] = Field(default="all", description="with arms_of: which of its arms")
    base: dict[str, Any] = Field(default={}, description="the recipe every arm shares, as nested keys of a run")
    arms: tuple[Arm, ...] = ()
    compare: Compare | None = None
    scales: dict[Scale, ScaleSpec]

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        names = [arm.name for arm in self.arms]
        if self.arms_of is None and not (names and self.compare):
            raise ValueError("arms and compare are missing; give both, or arms_of")
        if self.arms_of is not None and (names or self.base or self.compare):
            raise ValueError("arms_of stands beside base, arms or compare; keep one of the two")
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"arm {twice[0]!r} stands twice; give each arm its own name")
        missing = [scale for scale in SCALES if scale not in self.scales]
        if missing:
            raise ValueError(f"scales lacks {', '.join(missing)}; state every scale")
        if self.arms_of is None:
            self._known(names)
        return self

    def _known(self, names: list[str]) -> None:
        for arm in self.arms:
            if arm.against is not None and arm.against not in names:
                raise ValueError(f"arm {arm.name} is against {arm.against!r}; {allowed(arm.against, names)}")
        power = self.compare.power if self.compare else None
        for name in (power.control, *power.told_from) if power else ():
            if name not in names:
                raise ValueError(f"compare.power names {name!r}; {allowed(name, names)}")
        for scale, spec in self.scales.items():
            if not spec.seeds:
                raise ValueError(f"scales.{scale}.seeds is empty; name at least one seed")
            for key, listed in (
                ("arms", spec.arms if spec.arms != "all" else ()),
                ("illustrations", spec.illustrations),
            ):
                for name in listed:
                    if name not in names:
                        raise ValueError(f"scales.{scale}.{key} names {name!r}; {allowed(name, names)}")

    def arms_at(self, scale: Scale) -> tuple[Arm, ...]:
        """The arms made at `scale`, in the order of the file."""
        chosen = self.scales[scale].arms
        return self.arms if chosen == "all" else tuple(arm for arm in self.arms if arm.name in chosen)


def load_experiments(folder: Path) -> dict[str, Experiment]:
    """Read every experiment file of `folder`, by item name.

    Raises:
        MpnoError: a file is wrong, its name is not its item's, or arms_of names no item with arms.
    """
    nested = {f"arms.{i}": sorted(Arm.model_fields) for i in range(200)}
    for scale in SCALES:
        nested[f"scales.{scale}"] = sorted(ScaleSpec.model_fields)
        nested[f"scales.{scale}.core_seconds"] = sorted(Cost.model_fields)
    nested |= {f"compare{tail}": keys for tail, keys in spec_fields(Compare).items() if not tail}
    nested["compare.power"] = sorted(Power.model_fields)
    found: dict[str, Experiment] = {}
    for path in sorted(folder.glob("*.yaml")):
        experiment = validate(Experiment, read_yaml(path), where=str(path), nested=nested)
        if experiment.item != path.stem:
            raise MpnoError(f"{path}: item is {experiment.item!r}; it must be the file's name, {path.stem!r}")
        found[experiment.item] = experiment
    if not found:
        raise MpnoError(f"{folder}: holds no experiment file; run from the repository's root")
    owners = [name for name, experiment in found.items() if experiment.arms_of is None]
    for name, experiment in found.items():
        if experiment.arms_of is not None and experiment.arms_of not in owners:
            path = folder / f"{name}.yaml"
            raise MpnoError(f"{path}: arms_of is {experiment.arms_of!r}; {allowed(experiment.arms_of, owners)}")
    return found
