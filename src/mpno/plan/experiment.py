"""Experiment files: what one table or figure needs, at each scale, and the recipes that several of them share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from mpno.plan.files import read_yaml, validate
from mpno.plan.source import mapping
from mpno.specs import MpnoError, allowed, spec_fields
from mpno.specs.names import SCALES, Loss, Scale
from mpno.specs.numbers import Seed

Name = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
Seeds = tuple[Seed, ...]


class Strict(BaseModel):
    """A value object: unknown keys are refused, fields cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Arm(Strict):
    """One row or curve: a run repeated over seeds."""

    name: str = Name
    role: Literal["setting", "control", "authors"] = Field(
        default="setting", description="control: few mantissa bits, to show what the test can see"
    )
    against: str | None = Field(default=None, description="the arm this one is paired with, seed by seed")
    seeds: PositiveInt | None = Field(default=None, description="how many of the part's seeds, its first; null: all")
    set: dict[str, Any] = Field(default={}, description="what differs from the recipe, as dotted keys of a run")


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


class RecipeScale(Strict):
    """What a scale alters in a recipe."""

    seeds: Seeds = Field(min_length=1, description="repetitions of each arm")
    set: dict[str, Any] = Field(default={}, description="what differs from base at this scale, as dotted keys")


class Recipe(Strict):
    """A data set, a model and a way of training that several items share."""

    recipe: str = Name
    base: dict[str, Any] = Field(description="as nested keys of a run")
    scales: dict[Scale, RecipeScale]

    @model_validator(mode="after")
    def _every_scale(self) -> Recipe:
        _all_scales(self.scales)
        return self


class PartScale(Strict):
    """What a scale alters in a part."""

    seeds: Seeds | None = Field(
        default=None, description="repetitions of each arm; null: the recipe's; empty: nothing is trained"
    )
    arms: tuple[str, ...] | Literal["all"] = "all"
    illustrations: tuple[str, ...] = Field(
        default=(), description="arms made with the first seed alone: shown without an interval and without a verdict"
    )
    set: dict[str, Any] = Field(default={}, description="what differs at this scale, as dotted keys")


class Part(Strict):
    """The runs of an item on one data set."""

    name: str = Name
    recipe: str | None = Field(default=None, description="a file of workflow/recipes; or give base")
    base: dict[str, Any] = Field(default={}, description="the recipe every arm shares, as nested keys of a run")
    set: dict[str, Any] = Field(default={}, description="what differs from the recipe in every arm, as dotted keys")
    needs: tuple[Literal["time", "memory"], ...] = Field(
        default=(), description="exclusive timings of the native arms, predicted memory of all arms"
    )
    arms: tuple[Arm, ...] = Field(min_length=1)
    compare: Compare = Compare(margin=0.05)
    scales: dict[Scale, PartScale] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Part:
        if (self.recipe is None) == (not self.base):
            raise ValueError(f"part {self.name} has {'both' if self.recipe else 'neither'} recipe and base; give one")
        names = [arm.name for arm in self.arms]
        _once(names, "arm")
        for arm in self.arms:
            _listed(f"arm {arm.name} is against", [arm.against] if arm.against else (), names)
        power = self.compare.power
        _listed("compare.power names", (power.control, *power.told_from) if power else (), names)
        for scale, spec in self.scales.items():
            for key, listed in (
                ("arms", spec.arms if spec.arms != "all" else ()),
                ("illustrations", spec.illustrations),
            ):
                _listed(f"scales.{scale}.{key} names", listed, names)
        return self

    def at(self, scale: Scale) -> PartScale:
        """What `scale` alters; nothing, where the file does not say."""
        return self.scales.get(scale, PartScale())

    def arms_at(self, scale: Scale) -> tuple[Arm, ...]:
        """The arms made at `scale`, in the order of the file."""
        chosen = self.at(scale).arms
        return self.arms if chosen == "all" else tuple(arm for arm in self.arms if arm.name in chosen)

    @property
    def home(self) -> str:
        """The data set."""
        return mapping(self.base, "data").get("name", "darcy")


class ProbeScale(Strict):
    """What a scale alters in a probe."""

    settings: dict[str, Any] = {}
    data: dict[str, Any] | None = Field(default=None, description="in place of the probe's; null: the probe's")


class Probe(Strict):
    """A question to finished runs, to shapes, or to nothing; its answer is a table beside the runs'."""

    name: str = Name
    kind: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="a module of probes, of measurement or theory")
    arms: dict[str, tuple[str, ...] | Literal["all"]] = Field(default={}, description="whom it asks, by part")
    data: dict[str, Any] | None = Field(
        default=None, description="what differs from the arms' data: a file of its own is made, and given"
    )
    settings: dict[str, Any] = {}
    exclusive: bool = Field(default=False, description="whether it measures times, so that nothing may run beside it")
    scales: dict[Scale, ProbeScale] = {}


class Cost(Strict):
    """Core-seconds (GPU-seconds at the scales gpu and paper)."""

    run: NonNegativeFloat = Field(default=0, description="one training, in the mean over the arms")
    measure: NonNegativeFloat = Field(default=0, description="the exclusive timings together")
    probe: NonNegativeFloat = Field(default=0, description="the probes and the predictions of memory together")
    draw: NonNegativeFloat = Field(default=0, description="collecting, the notebook, its files")


class ItemScale(Strict):
    """What an item costs at a scale."""

    core_seconds: Cost


class Experiment(Strict):
    """One item: a table, a figure, or both."""

    item: str = Name
    title: str = Field(min_length=1)
    paper: str = Field(min_length=1, description="which part of the paper it stands beside")
    section: Literal["paper", "past"] = Field(
        default="paper", description="the part of the report: what the paper shows, or what goes past the paper"
    )
    draws: tuple[Literal["table", "figure"], ...] = Field(min_length=1)
    drawn_by: str | None = Field(
        default=None, pattern=r"^[a-z][a-z0-9_]*$", description="a module of mpno.paper.items; null: the item's own"
    )
    place: PositiveInt = Field(default=1000, description="where it stands in the report, lowest first")
    on_demand: bool = Field(default=False, description="whether it is made only where it is named")
    parts: tuple[Part, ...] = ()
    probes: tuple[Probe, ...] = ()
    scales: dict[Scale, ItemScale]

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        if not (self.parts or self.probes):
            raise ValueError("parts and probes are missing; give at least one")
        _once([part.name for part in self.parts], "part")
        _once([probe.name for probe in self.probes], "probe")
        _all_scales(self.scales)
        arms = {part.name: [arm.name for arm in part.arms] for part in self.parts}
        for probe in self.probes:
            for part, names in probe.arms.items():
                _listed(f"probe {probe.name} asks part", [part], arms)
                _listed(f"probe {probe.name} asks arm", names if names != "all" else (), arms[part])
        return self

    @property
    def drawer(self) -> str:
        """The module that makes its table and figure."""
        return self.drawn_by or self.item.replace("-", "_")


def load_experiments(folder: Path) -> dict[str, Experiment]:
    """Read every experiment file of `folder`, in the report's order, with the recipes (``recipes`` beside it) put in.

    Raises:
        MpnoError: a file is wrong, its name is not its item's, or a part names no recipe.
    """
    recipes = _recipes(folder.parent / "recipes")
    found: dict[str, Experiment] = {}
    for path in sorted(folder.glob("*.yaml")):
        experiment = validate(Experiment, read_yaml(path), where=str(path), nested=_nested())
        if experiment.item != path.stem:
            raise MpnoError(f"{path}: item is {experiment.item!r}; it must be the file's name, {path.stem!r}")
        parts = tuple(_with_recipe(part, recipes, path) for part in experiment.parts)
        found[experiment.item] = experiment.model_copy(update={"parts": parts})
    if not found:
        raise MpnoError(f"{folder}: holds no experiment file; run from the repository's root")
    return dict(sorted(found.items(), key=lambda pair: (pair[1].place, pair[0])))


def _recipes(folder: Path) -> dict[str, Recipe]:
    nested = {f"scales.{scale}": sorted(RecipeScale.model_fields) for scale in SCALES}
    found: dict[str, Recipe] = {}
    for path in sorted(folder.glob("*.yaml")):
        recipe = validate(Recipe, read_yaml(path), where=str(path), nested=nested)
        if recipe.recipe != path.stem:
            raise MpnoError(f"{path}: recipe is {recipe.recipe!r}; it must be the file's name, {path.stem!r}")
        found[recipe.recipe] = recipe
    return found


def _with_recipe(part: Part, recipes: Mapping[str, Recipe], where: Path) -> Part:
    """The part with its recipe's base, and for every scale what the recipe and the part alter, in this order."""
    if part.recipe is None:
        missing = [scale for scale in SCALES if part.at(scale).seeds is None]
        if missing:
            raise MpnoError(
                f"{where}: part {part.name} has no recipe and no seeds at scale {missing[0]}; give scales.{missing[0]}"
                ".seeds"
            )
        scales = {scale: part.at(scale).model_copy(update={"set": _merged(part, scale, {})}) for scale in SCALES}
        return part.model_copy(update={"scales": scales})
    if part.recipe not in recipes:
        raise MpnoError(f"{where}: part {part.name} has recipe {part.recipe!r}; {allowed(part.recipe, recipes)}")
    recipe = recipes[part.recipe]
    scales = {}
    for scale in SCALES:
        own, shared = part.at(scale), recipe.scales[scale]
        seeds = shared.seeds if own.seeds is None else own.seeds
        scales[scale] = own.model_copy(update={"seeds": seeds, "set": _merged(part, scale, shared.set)})
    return part.model_copy(update={"base": recipe.base, "scales": scales})


def _merged(part: Part, scale: Scale, shared: Mapping[str, Any]) -> dict[str, Any]:
    """Later keys win and come later, so that `model.modes` alters the `model` that an earlier one has set."""
    merged: dict[str, Any] = {}
    for key, value in (*shared.items(), *part.set.items(), *part.at(scale).set.items()):
        merged.pop(key, None)
        merged[key] = value
    return merged


def _nested() -> dict[str, list[str]]:
    """The keys allowed below places that lie in lists or mappings."""
    compare = {f"compare{tail}": keys for tail, keys in spec_fields(Compare).items() if not tail}
    below = {
        "": sorted(Part.model_fields),
        **{f".arms.{j}": sorted(Arm.model_fields) for j in range(100)},
        **{f".scales.{scale}": sorted(PartScale.model_fields) for scale in SCALES},
        **{f".{key}": keys for key, keys in compare.items()},
        ".compare.power": sorted(Power.model_fields),
    }
    nested = {f"parts.{i}{place}": keys for i in range(20) for place, keys in below.items()}
    nested |= {f"probes.{i}": sorted(Probe.model_fields) for i in range(20)}
    nested |= {f"probes.{i}.scales.{scale}": sorted(ProbeScale.model_fields) for i in range(20) for scale in SCALES}
    for scale in SCALES:
        nested[f"scales.{scale}"] = sorted(ItemScale.model_fields)
        nested[f"scales.{scale}.core_seconds"] = sorted(Cost.model_fields)
    return nested


def _all_scales(scales: Mapping[Scale, Any]) -> None:
    missing = [scale for scale in SCALES if scale not in scales]
    if missing:
        raise ValueError(f"scales lacks {', '.join(missing)}; state every scale")


def _once(names: Iterable[str], what: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{what} {twice[0]!r} stands twice; give each {what} its own name")


def _listed(said: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{said} {name!r}; {allowed(name, known)}")
