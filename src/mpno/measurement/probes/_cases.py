"""Training steps to predict, as an experiment's file lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from mpno.measurement.shapes import Bodies, channels_of
from mpno.measurement.step import Implementation, Prepared, prepare_step
from mpno.specs import MpnoError, RunSpec, allowed, build_spec
from mpno.specs.grid import shown
from mpno.specs.names import ContractionOption


@dataclass(frozen=True)
class Case:
    """One step: its name, its run, whose implementation, and of the authors' the option and the cast at the entry."""

    name: str
    spec: RunSpec
    implementation: Implementation
    option: ContractionOption
    entry: bool
    bodies: Bodies

    def prepare(self) -> Prepared:
        """The step, ready to be traced."""
        spec = self.spec
        return prepare_step(
            spec,
            channels_of(spec),
            body=self.bodies.of(spec),
            implementation=self.implementation,
            option=self.option,
            entry=self.entry,
        )

    def about(self) -> dict[str, Any]:
        spec = self.spec
        return {
            "case": self.name,
            "implementation": self.implementation,
            "data": spec.data.name,
            "setting": spec.precision.label,
            "option": self.option,
            "model": spec.model.title,
            "transform": spec.transform,
            "batch": spec.training.batch_size,
            "grid": shown(spec.data.resolution, spec.axes, name=spec.data.name),
        }


def cases_of(settings: Mapping[str, Any]) -> Iterator[Case]:
    """The cases of ``settings``: groups with a `run` and, if not ours, its `implementation`; in ``each`` a `name`, a
    `precision` and what it changes of the run (`set`, by dotted keys) or of the authors' way (`option`, `entry`). Where
    there is an ``only``, those of its names.

    Raises:
        MpnoError: a case that is no run, or an implementation or option that does not exist.
    """
    bodies = Bodies()
    only = settings.get("only")
    for group in settings["cases"]:
        for entry in group["each"]:
            if only is not None and entry["name"] not in only:
                continue
            where = f"probe, case {entry['name']}"
            values = _changed({**group["run"], "precision": entry["precision"]}, entry.get("set", {}))
            implementation = _one_of(where, group.get("implementation", "ours"), get_args(Implementation))
            option = _one_of(where, entry.get("option", "C"), get_args(ContractionOption))
            spec = build_spec(values, where=where)
            yield Case(
                entry["name"],
                spec,
                cast(Implementation, implementation),
                cast(ContractionOption, option),
                bool(entry.get("entry", True)),
                bodies,
            )


def _one_of(where: str, name: str, names: tuple[str, ...]) -> str:
    if name not in names:
        raise MpnoError(f"{where}: {name!r}; {allowed(name, names)}")
    return name


def _changed(run: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(run)
    for dotted, value in changes.items():
        head, _, rest = dotted.partition(".")
        out[head] = _changed(out.get(head, {}), {rest: value}) if rest else value
    return out
