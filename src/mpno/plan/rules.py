"""What the Snakemake rules ask of a plan: the inputs and parameters of a job, given its wildcards."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mpno.plan.build import Plan
from mpno.plan.digest import ROOMS
from mpno.plan.planned import Item, PlannedPart
from mpno.plan.timeline import read_timeline
from mpno.specs import DataSpec, MpnoError
from mpno.specs.files import write_text

LEFT_OUT = ("seeds", "in points", "predicted MiB", "published", "vs")
"""Columns of a table that a terminal has no room for."""


def seen_gpus(devices: Path = Path("/dev")) -> tuple[str, ...]:
    """The NVIDIA cards that jobs may use, as CUDA_VISIBLE_DEVICES names them, without loading torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(filter(None, named.split(",")))
    count = sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in devices.iterdir())
    return tuple(map(str, range(count)))


def own_interpreter_first() -> None:
    """Let jobs run the interpreter that runs Snakemake, also where its environment is not activated."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


class RuleInputs:
    """Functions of wildcards, so that the rule files hold none.

    Raises:
        MpnoError: a room whose source goes into a digest is not there.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.digests = {stage: plan.digest(stage) for stage in ROOMS}

    def root(self, wildcards: Any) -> str:
        return self.plan.root

    def out(self, wildcards: Any) -> str:
        return self.plan.out

    def data_spec(self, wildcards: Any) -> str:
        return self._known({**self.plan.gallery, **self.plan.data}, wildcards.slug).model_dump_json()

    def sets(self, *, fetched: bool) -> str:
        """A pattern that matches the data files that are downloaded, or those that are solved."""
        known = {**self.plan.gallery, **self.plan.data}
        return _pattern(slug for slug, spec in known.items() if (spec.source == "fetch") == fetched)

    def run_spec(self, wildcards: Any) -> str:
        return self._known(self.plan.runs, wildcards.run).canonical()

    def run_data(self, wildcards: Any) -> str:
        return self._data(self._known(self.plan.runs, wildcards.run).data)

    def timed_specs(self, wildcards: Any) -> str:
        return _listed(self._known(self.plan.times, wildcards.arms))

    def timed_data(self, wildcards: Any) -> list[str]:
        return self._data_of(self._known(self.plan.times, wildcards.arms))

    def sized_specs(self, wildcards: Any) -> str:
        return _listed(self._known(self.plan.memories, wildcards.arms))

    def sized_data(self, wildcards: Any) -> list[str]:
        return self._data_of(self._known(self.plan.memories, wildcards.arms))

    def question(self, wildcards: Any) -> str:
        return self._known(self.plan.probes, wildcards.probe).question(self.plan.root)

    def probe_digest(self, wildcards: Any) -> str:
        return self.plan.digest(f"probe:{self._known(self.plan.probes, wildcards.probe).probe.kind}")

    def asked(self, wildcards: Any) -> list[str]:
        """What a probe reads: the weights of the runs it asks, and data."""
        probe = self._known(self.plan.probes, wildcards.probe)
        weights = [f"{self.plan.root}/runs/{run}/model.safetensors" for run in probe.runs]
        return [*weights, *dict.fromkeys(self._data(data) for _, _, data in probe.arms)]

    def probes(self, *, exclusive: bool) -> str:
        """A pattern that matches the probes that may, or may not, have others run beside them."""
        return _pattern(name for name, probe in self.plan.probes.items() if probe.probe.exclusive == exclusive)

    def cluster_jobs(self) -> set[tuple[str, str]]:
        """Rule and wildcard of every job that a cluster may be given."""
        plan = self.plan
        named = {"data": {**plan.gallery, **plan.data}, "train": plan.runs, "time": plan.times, "memory": plan.memories}
        exclusive = {True: "probe_alone", False: "probe"}
        found = {(rule, name) for rule, names in named.items() for name in names}
        return found | {(exclusive[probe.probe.exclusive], name) for name, probe in plan.probes.items()}

    def records(self, wildcards: Any) -> list[str]:
        """Every record that an item is made of."""
        return self._records(self._known(self.plan.items, wildcards.item))

    def all_records(self) -> list[str]:
        """Every record of the plan."""
        return list(dict.fromkeys(path for item in self.plan.items.values() for path in self._records(item)))

    def _records(self, item: Item) -> list[str]:
        root = self.plan.root
        found = [f"{root}/runs/{run}/{name}" for run in item.runs for name in ("metrics.json", "history.csv")]
        found += dict.fromkeys(f"{root}/time/{part.time}.json" for part in item.parts if part.time)
        found += dict.fromkeys(f"{root}/memory/{part.memory}.json" for part in item.parts if part.memory)
        return [*found, *(f"{root}/probes/{probe.id}.csv" for probe in item.probes)]

    def context(self, wildcards: Any) -> str:
        return self._known(self.plan.items, wildcards.item).context()

    def names(self, kind: str) -> str:
        """A pattern that matches the items of a kind, and nothing where there are none."""
        return _pattern(item.name for item in self.plan.of_kind(kind))

    def drawn(self) -> list[str]:
        """Every file of every table, figure and notebook."""
        return [file for item in self.plan.items.values() for file in self.plan.files(item)]

    def contexts(self) -> list[str]:
        return [f"{self.plan.out}/tidy/{name}/context.json" for name in self.plan.items]

    def pages(self) -> list[str]:
        """What the report shows of each item."""
        return [f"{self.plan.out}/drawn/{name}.json" for name in self.plan.items]

    def claims(self) -> list[str]:
        """The judged claims; none where a change or a choice of items leaves nothing to judge them by."""
        whole = not self.plan.config.changes and self.plan.config.item is None and "all" in self.plan.config.items
        return [f"{self.plan.out}/claims/claims.json"] if whole else []

    def jobs(self, wildcards: Any) -> str:
        """How many jobs each rule has where none of them is done, as JSON."""
        plan = self.plan
        solved = [spec for spec in plan.data.values() if spec.source != "fetch"]
        alone = [probe for probe in plan.probes.values() if probe.probe.exclusive]
        counts = {"download": len(plan.data) - len(solved), "data": len(solved), "train": len(plan.runs)}
        counts |= {"time": len(plan.times), "memory": len(plan.memories)}
        counts |= {"probe": len(plan.probes) - len(alone), "probe_alone": len(alone), "collect": len(plan.items)}
        counts |= {kind: len(plan.of_kind(kind)) for kind in ("table", "figure", "table_and_figure")}
        counts |= {"claims": len(self.claims()), "report": 1, "records": 1, "all": 1}
        return json.dumps(counts)

    def gallery(self) -> list[str]:
        """The data files to look at."""
        return [spec.file(Path(self.plan.root)).as_posix() for spec in self.plan.gallery.values()]

    def pictures(self) -> list[str]:
        """Their pictures, one each and one of all."""
        return [f"{self.plan.out}/gallery/{name}.png" for name in (*self.plan.gallery, "overview")]

    @property
    def times_file(self) -> str:
        """Where jobs say how long they took."""
        return f"{self.plan.root}/logs/times.jsonl"

    def farewell(self, *, since: float, cores: int | None) -> str:
        """Where the time went, the first table in the columns that fit a terminal, and where the report lies.

        Without `cores`, as on a cluster, nobody can say which share of theirs was work.
        """
        times = {"since": since, "until": time.time()}
        timeline = read_timeline(self.plan, Path(self.times_file), **times, cores=cores) if cores else None
        lines: list[str] = []
        if timeline:
            lines.append(str(timeline))
            write_text(Path(self.plan.out, "logs", "timeline.txt"), f"{timeline}\n")
        for item in [item for item in self.plan.items.values() if "table" in item.experiment.draws][:1]:
            path = Path(self.plan.out, "tables", f"{item.name}.md")
            lines += narrow(path.read_text(encoding="utf-8")) if path.is_file() else []
        report = Path(self.plan.out, "report", "index.html")
        return "\n".join([*lines, f"report: {report}"] if report.is_file() else lines)

    def _data_of(self, parts: Iterable[PlannedPart]) -> list[str]:
        return list(dict.fromkeys(self._data(part.data) for part in parts))

    def _data(self, spec: DataSpec) -> str:
        return spec.file(Path(self.plan.root)).as_posix()

    def _known(self, table: Mapping[str, Any], name: str) -> Any:
        if name not in table:
            raise MpnoError(f"{name!r} is not part of the plan at scale {self.plan.scale}; see `python -m mpno plan`")
        return table[name]


def _pattern(names: Iterable[str]) -> str:
    return "|".join(map(re.escape, names)) or "(?!)"


def _listed(parts: Iterable[PlannedPart]) -> str:
    return "[" + ",".join(spec.canonical() for part in parts for spec in part.specs) + "]"


def narrow(markdown: str, left_out: tuple[str, ...] = LEFT_OUT) -> list[str]:
    """Return the first table of `markdown` without its H1 columns and those `left_out`, as lines."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if line.startswith("|")
    ]
    if not rows:
        return []
    keep = [i for i, name in enumerate(rows[0]) if name not in left_out and not name.startswith("H1@")]
    rows = [[row[i] for i in keep] for row in rows if not set("".join(row)) <= set("-: ")]
    widths = [max(len(row[i]) for row in rows) for i in range(len(keep))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def load_specs(text: str, option: str = "--spec") -> list[dict[str, Any]]:
    """Read one spec or a list of specs from JSON text or the file it names; `option` says whose value it is.

    Raises:
        MpnoError: it is neither.
    """
    source = option
    if not text.lstrip().startswith(("{", "[")):
        source = text
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not text"
            raise MpnoError(f"{source}: {why}; give JSON or the path of a JSON file") from None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MpnoError(f"{source}: not JSON ({error}); give JSON or the path of a JSON file") from None
    specs = values if isinstance(values, list) else [values]
    if not specs or not all(isinstance(spec, dict) for spec in specs):
        kinds = ", ".join(sorted({type(spec).__name__ for spec in specs})) or "nothing"
        raise MpnoError(f"{source}: holds {kinds}; give a JSON object, or a list of them")
    return specs
