"""A run by hand: whose recipe it takes where the user names a data set, a model, or neither."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from mpno.plan.build import open_precision
from mpno.plan.experiment import Arm, Experiment, Part
from mpno.plan.files import parse_setting
from mpno.plan.source import Look, check_import, mapping, settle
from mpno.specs import SCALES, MpnoError, RunSpec, allowed, build_spec, set_dotted
from mpno.specs.models import ARCHITECTURES
from mpno.specs.names import DATASETS, Scale
from mpno.specs.sets import BODIES

FIRST = "darcy-settings"
"""Whose recipe is taken where nothing speaks for another."""


@dataclass(frozen=True)
class Recipe:
    """The values of a run as an experiment has them, and which arm's they are."""

    values: dict[str, Any]
    item: str
    part: Part
    arm: Arm

    @property
    def model(self) -> str:
        return mapping(self.values, "model").get("name", "fno")

    @property
    def label(self) -> str:
        return f"{self.item}, arm {self.arm.name}"


def hand_spec(
    experiments: Mapping[str, Experiment],
    item: str | None,
    scale: str,
    given: Mapping[str, Any],
    changes: Sequence[str],
    *,
    look: Look | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> RunSpec:
    """The run of a recipe at a scale, with some fields `given` and ``key=value`` `changes` on top.

    The recipe is that of the first arm with the wanted model (``model.name``; any, where it is not said) of `item`, or
    without one of an experiment on the wanted data set, ``darcy-settings`` before others. Where no experiment has the
    two together, it is the nearest one's, with the data set's own sizes and the model's own defaults.

    `look` opens the stock of data on this machine; `say` is told which recipe and which source were taken.

    Raises:
        MpnoError: the item or scale is unknown, or the spec that results is wrong.
    """
    if item is not None and item not in experiments:
        raise MpnoError(f"item {item!r}; {allowed(item, experiments)}")
    if scale not in SCALES:
        raise MpnoError(f"scale {scale!r}; {allowed(scale, SCALES)}")
    said = {**given, **dict(map(parse_setting, changes))}
    data, model = _named("data", said), _named("model", said)
    recipe = _choose(_candidates(experiments, item, cast(Scale, scale), data), model)
    values, with_model = _with_model(recipe, model)
    label = recipe.label + with_model
    for key, value in said.items():
        if key != "model.name":
            values = set_dotted(open_precision(values, key), key, value)
    values, why = settle(values, said, look, home=recipe.part.home)
    if recipe.part.home not in BODIES:
        values = _for_bodies(values, said)
    spec = build_spec(values, where=f"a run by hand ({label}) at scale {scale}")
    check_import(spec.data, look)
    taken = f"recipe: {label}" + (f", in {said['precision']}" if isinstance(said.get("precision"), str) else "")
    for line in filter(None, [taken, why]):
        say(line)
    return spec


def _named(part: str, said: Mapping[str, Any]) -> str | None:
    """The name of the data set or model that the user has said."""
    whole = said.get(part)
    name = said.get(f"{part}.name", whole.get("name") if isinstance(whole, dict) else None)
    return None if name is None else str(name)


def _candidates(
    experiments: Mapping[str, Experiment], item: str | None, scale: Scale, data: str | None
) -> list[Recipe]:
    """The arms to choose from, those most fit first: of the item, else of the experiments on the data set."""
    every = [(experiment, part) for experiment in experiments.values() for part in experiment.parts]
    if item is not None:
        owners = [(experiments[item], part) for part in experiments[item].parts]
        owners = [(owner, part) for owner, part in owners if part.home == data] or owners
    else:
        home = data if data in DATASETS else "darcy"
        owners = [(owner, part) for owner, part in every if part.home == home] or every
        rank = {FIRST: 0, f"models-{home}": 1}
        owners.sort(key=lambda owner: rank.get(owner[0].item, 2))
    found = []
    for owner, part in owners:
        made = part.arms_at(scale)
        for arm in (*made, *(arm for arm in part.arms if arm not in made)):
            values: dict[str, Any] = {**part.base, "scale": scale}
            for key, value in {**part.at(scale).set, **arm.set}.items():
                values = set_dotted(values, key, value)
            found.append(Recipe(values, owner.item, part, arm))
    if not found:
        raise MpnoError(f"item {item!r} trains nothing; choose {', '.join(sorted({own.item for own, _ in every}))}")
    return found


def _choose(recipes: list[Recipe], model: str | None) -> Recipe:
    return next((recipe for recipe in recipes if recipe.model == model), recipes[0])


def _with_model(recipe: Recipe, model: str | None) -> tuple[dict[str, Any], str]:
    """The recipe's values with the model that the user names, and words for it where the recipe has another.

    An FNO and a TFNO differ in their weights alone; of any other model nothing of the recipe's is kept.
    """
    values = {**recipe.values}
    if model is None or model == recipe.model:
        return values, ""
    kept: dict[str, Any] = {}
    if ARCHITECTURES.get(model) is ARCHITECTURES.get(recipe.model):
        kept = {key: value for key, value in mapping(values, "model").items() if key != "contraction"}
    else:
        # What suits one architecture may not be for another.
        values.pop("precision", None)
        values.pop("transform", None)
    return {**values, "model": {**kept, "name": model}}, f", with model {model}"


def _for_bodies(values: dict[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe for fields needs for bodies: they come one at a time, without H1 error, in any units."""
    if mapping(values, "data").get("name") not in BODIES or "training" in said:
        return values
    wanted = {"batch_size": 1, "loss": "l2", "normalise_output": True}
    training = {**mapping(values, "training")}
    training |= {key: value for key, value in wanted.items() if f"training.{key}" not in said}
    return {**values, "training": training}
