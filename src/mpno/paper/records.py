"""Run records to tidy tables: one row per arm, seed, test resolution and error."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mpno.paper.runs import RUN_COLUMNS, run_rows
from mpno.specs import MpnoError
from mpno.specs.files import read_json, write_text
from mpno.specs.grid import parse_resolution, shown
from mpno.specs.sets import errors_of, title_of

SOURCES = {
    "fetch": "the public set (fetched)",
    "generate": "solved here (generated)",
    "import": "the user's own (imported)",
}
STAND_INS = {
    ("car", "generate"): "stand-in data (car-like bodies in potential flow, solved here)",
    ("ahmed", "generate"): "stand-in data (Ahmed bodies in potential flow, solved here)",
}
"""What is no sample of the paper's data, but of something like them."""
TABLES = ("errors", "history", "arms")
NONE = "\N{EN DASH}"  # stands where there is no number
BYTES = ("parameters", "gradients", "optimiser", "activations", "peak")
AGAIN = "delete it and run `make reproduce`"
MADE = ("device", "processor", "threads", "versions", "source_digest")
HISTORY_COLUMNS = ("epoch", "train_loss", "value", "metric", "resolution", "arm", "seed")
ERROR_COLUMNS = ("arm", "seed", "metric", "resolution", "value", "baseline", "status")
REFERENCE_COLUMNS = ("setting", "metric", "value", "unit", "provenance", "conditions", "place")
PROVENANCE = ("printed", "review discussion", "authors' notebook", "read off a plot")


@dataclass(frozen=True)
class ItemData:
    """The tidy tables of an item's part: its runs on one data set.

    Attributes:
        context: of item and part: title, scale, changes, arms in order, comparison, device.
        errors: the last test errors; a run that diverged has rows without a value.
        history: the test errors after each epoch.
        arms: evidence, seconds per epoch and predicted bytes of each arm.
        reference: the paper's values for the item, each with its provenance.
    """

    context: dict[str, Any]
    errors: pd.DataFrame
    history: pd.DataFrame
    arms: pd.DataFrame
    reference: pd.DataFrame

    @property
    def resolutions(self) -> tuple[int | str, ...]:
        """Test resolutions, that of the training first."""
        data = self.context["data"]
        rest = [r for r in data["test_resolutions"] if r != data["resolution"]]
        return (data["resolution"], *rest)

    @property
    def title(self) -> str:
        """The data set as a caption names it, and where it came from."""
        data = self.context["data"]
        return STAND_INS.get((data["name"], data["source"]), f"{title_of(data['name'])}, {SOURCES[data['source']]}")

    def grid(self, resolution: int | str) -> str:
        """The points of a grid as a reader sees them, as in 16x16."""
        axes = len(self.context["model"].get("modes", (0, 0)))
        return shown(resolution, axes, name=self.context["data"]["name"])

    @property
    def arm_names(self) -> list[str]:
        return [arm["name"] for arm in self.context["arms"]]

    def values(self, arm: str, metric: str, resolution: int | str) -> dict[int, float]:
        """The last error of each seed that finished."""
        return self.column("value", arm, metric, resolution)

    def column(self, name: str, arm: str, metric: str, resolution: int | str) -> dict[int, float]:
        """A number of each seed that finished: ``value``, ``first`` (after the first epoch), ``baseline``."""
        rows = self.errors.query("arm == @arm and metric == @metric and resolution == @resolution")
        finished = [row for row in rows.to_dict("records") if row["status"] != "diverged"]
        return {int(row["seed"]): float(row[name]) for row in finished if not math.isnan(row[name])}

    def diverged(self, arm: str) -> int:
        """How many seeds of an arm diverged."""
        rows = self.errors.query("arm == @arm and status == 'diverged'")
        return len(set(rows["seed"]))


@dataclass(frozen=True)
class ItemTables:
    """All tidy tables of an item.

    Attributes:
        context: title, scale, changes, device.
        parts: by name, the runs on one data set.
        probes: by name, what was asked beyond the records.
        reference: the paper's values, each with its provenance.
        runs: what is known of each run: spec, versions, digests, machine; no rows where the tables came without them.
    """

    context: dict[str, Any]
    parts: dict[str, ItemData]
    probes: dict[str, pd.DataFrame]
    reference: pd.DataFrame
    runs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(RUN_COLUMNS)))

    @property
    def only(self) -> ItemData:
        """The part, of an item that has one.

        Raises:
            MpnoError: it has several.
        """
        if len(self.parts) != 1:
            raise MpnoError(f"item {self.context['item']} has parts {', '.join(self.parts)}; choose one by name")
        return next(iter(self.parts.values()))


def collect_item(item: dict[str, Any], *, root: Path, reference: Path, out: Path) -> None:
    """Write the tidy tables of `item` (a plan's context) into the folder `out`.

    Args:
        item: what the plan knows.
        root: where runs, times, predictions and answers of probes lie.
        reference: the paper's values.
        out: the folder; its ``context.json`` comes last.

    Raises:
        MpnoError: a record is missing, cannot be read, or is of another run.
    """
    missing = [key for key in ("item", "title", "parts", "probes", "draws", "scale") if key not in item]
    if missing:
        raise MpnoError(f"--item: {missing[0]} is missing; give what the plan says of an item")
    runs, published = root / "runs", read_reference(reference)
    made: dict[str, Any] = {}
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    parts, known = [], []
    for part in item["parts"]:
        timed = {kind: _read_arms(root, kind, part[kind]) for kind in ("time", "memory")}
        records = {name: _read_run(runs / name, name) for arm in part["arms"] for name in arm["runs"].values()}
        _one_source(records)
        first = next(iter(records.values()), {})
        made = made or {key: first.get(key) for key in MADE if key in first}
        made = made or {key: timed["time"][1].get(key) for key in MADE if key in timed["time"][1]}
        history = _history(part["arms"], runs)
        with whole(f"{runs}, of item {item['item']}"):
            rows = [row for arm in part["arms"] for row in _error_rows(part, arm, records)]
            known += run_rows(part["name"], part["arms"], records)
        tables = {
            "errors": _with_first_epoch(pd.DataFrame(rows, columns=None if rows else list(ERROR_COLUMNS)), history),
            "history": history,
            "arms": pd.DataFrame([_arm_row(arm, records, timed) for arm in part["arms"]]),
        }
        for name, frame in tables.items():
            frame.insert(0, "part", part["name"])
            frames[name].append(frame)
        arms = [{key: value for key, value in arm.items() if key != "spec"} for arm in part["arms"]]
        more = {"data_record": first.get("data"), "timing_rounds": timed["time"][1].get("rounds")}
        parts.append({**part, **more, "spec": part["arms"][0]["spec"], "arms": arms})
    for name, each in frames.items():
        if each:
            write_text(out / f"{name}.csv", pd.concat(each, ignore_index=True).to_csv(index=False))
    for name, probe in item["probes"].items():
        write_text(out / f"{name}.csv", (root / "probes" / f"{probe}.csv").read_text(encoding="utf-8"))
    write_text(out / "runs.csv", pd.DataFrame(known, columns=list(RUN_COLUMNS)).to_csv(index=False))
    write_text(out / "reference.csv", published.to_csv(index=False))
    context = {**item, **_here(), **made, "parts": parts}
    write_text(out / "context.json", json.dumps(context, indent=1, sort_keys=True) + "\n")


def load_item(path: str | Path) -> ItemTables:
    """Load the tidy tables in `path`; a relative path is looked up from the working folder and from those above it.

    Raises:
        MpnoError: there are none yet.
    """
    folder = next((place / path for place in (Path.cwd(), *Path.cwd().parents) if (place / path).is_dir()), Path(path))
    if not (folder / "context.json").is_file():
        raise MpnoError(f"{path}: no results there yet; make them with `make item ITEM={folder.name}`")
    whole = _read_json(folder / "context.json")
    frames = {name: read_table(folder / f"{name}.csv") for name in TABLES if whole["parts"]}
    for name in ("errors", "history"):
        if name in frames:
            frames[name]["resolution"] = [parse_resolution(value) for value in frames[name]["resolution"]]
    reference, known = read_table(folder / "reference.csv"), folder / "runs.csv"
    runs = read_table(known) if known.is_file() else pd.DataFrame(columns=list(RUN_COLUMNS))
    context = {key: value for key, value in whole.items() if key not in ("parts", "probes")}
    parts = {}
    for part in whole["parts"]:
        own = {name: _of_part(frame, part["name"]) for name, frame in frames.items()}
        merged = {**context, **part, "part": part["name"]}
        parts[part["name"]] = ItemData(context=merged, reference=reference, **own)
    probes = {name: read_table(folder / f"{name}.csv") for name in whole["probes"]}
    return ItemTables(context, parts, probes, reference, runs)


def _of_part(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame.query("part == @name").reset_index(drop=True)


def _read_arms(root: Path, kind: str, name: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries of a record of times or of memory by arm, and the record."""
    if name is None:
        return {}, {}
    path = root / kind / f"{name}.json"
    record = _read_json(path)
    with whole(str(path)):
        return {entry["arm"]: entry for entry in record["arms"]}, record


def _here() -> dict[str, Any]:
    """What an item is made on that has neither runs nor times."""
    return {"device": "cpu", "processor": platform.processor() or platform.machine(), "threads": 1, "versions": {}}


def read_reference(path: Path) -> pd.DataFrame:
    """Read the paper's values of an item.

    Raises:
        MpnoError: a column is missing, or a value has no known provenance.
    """
    header = ",".join(REFERENCE_COLUMNS)
    if not path.is_file():
        raise MpnoError(f"{path}: is missing; write the line {header} where nothing is published")
    frame = read_table(path)
    if tuple(frame.columns) != REFERENCE_COLUMNS:
        raise MpnoError(f"{path}: columns are {','.join(map(str, frame.columns))}; they must be {header}")
    unknown = [tag for tag in frame["provenance"] if tag not in PROVENANCE]
    if unknown:
        raise MpnoError(f"{path}: provenance {unknown[0]!r}; allowed: {', '.join(PROVENANCE)}")
    return frame


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MpnoError(f"{path}: is missing; make it with `make reproduce`")
    return read_json(path, AGAIN)


def read_table(path: Path) -> pd.DataFrame:
    """The CSV file `path`.

    Raises:
        MpnoError: it is missing, or no table.
    """
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise MpnoError(f"{path}: is missing; make it with `make reproduce`") from None
    except (OSError, ValueError) as error:
        raise MpnoError(f"{path}: no table ({error}); {AGAIN}") from None


@contextmanager
def whole(what: str) -> Iterator[None]:
    """Turn what is missing in a file of records, or of another kind than it should be, into one line that names it.

    Raises:
        MpnoError: something is.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise MpnoError(f"{what}: is not whole ({error!r}); {AGAIN}") from None


def _read_run(folder: Path, name: str) -> dict[str, Any]:
    record = _read_json(folder / "metrics.json")
    if record.get("id") != name:
        raise MpnoError(f"{folder}/metrics.json: records run {record.get('id')!r}; delete the folder and run again")
    return record


def _one_source(records: dict[str, dict[str, Any]]) -> None:
    """Refuse to set runs on other data beside each other, be it another source or another file."""
    for key in ("source", "digest"):
        seen: dict[str, str] = {}
        for name, record in records.items():
            seen.setdefault(str((record.get("data") or {}).get(key)), name)
        if len(seen) > 1:
            (one, run), (other, beside), *_ = seen.items()
            raise MpnoError(
                f"runs {run} and {beside} differ in the {key} of their data ({one}, {other}); a table holds one data "
                "set: delete the older run and run `make reproduce`"
            )


def _error_rows(part: dict[str, Any], arm: dict[str, Any], records: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for seed, name in arm["runs"].items():
        record = records[name]
        where = record["diverged"] or {}
        for resolution in part["data"]["test_resolutions"]:
            for metric in errors_of(part["data"]["name"]):
                value = None if record["metrics"] is None else record["metrics"][str(resolution)][metric]
                rows.append(
                    {
                        "arm": arm["name"],
                        "model": arm["model"],
                        "setting": arm["label"],
                        "transform": arm["transform"],
                        "recipe": arm["recipe"],
                        "role": arm["role"],
                        "evidence": record["evidence"],
                        "seed": int(seed),
                        "resolution": resolution,
                        "metric": metric,
                        "value": value,
                        "baseline": record["baseline"][str(resolution)][metric],
                        "status": record["status"],
                        "diverged_epoch": where.get("epoch"),
                        "diverged_step": where.get("step"),
                        "diverged_where": ", ".join(filter(None, (where.get("where"), where.get("operation")))) or None,
                        "run": name,
                    }
                )
    return rows


def _history(arms: list[dict[str, Any]], runs: Path) -> pd.DataFrame:
    """A row per arm, seed, epoch and error; none of a run that diverged in its first epoch."""
    parts = []
    for arm in arms:
        for seed, name in arm["runs"].items():
            path = runs / name / "history.csv"
            frame = read_table(path)
            if frame.empty:  # its columns have no types, which would become those of all
                continue
            errors = [column for column in frame if "@" in column]
            long = frame.melt(id_vars=["epoch", "train_loss"], value_vars=errors, var_name="error")
            metric, resolution = zip(*(name.split("@") for name in long["error"]), strict=True)
            long = long.assign(metric=metric, resolution=[parse_resolution(r) for r in resolution])
            parts.append(long.drop(columns="error").assign(arm=arm["name"], seed=int(seed)))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(HISTORY_COLUMNS))


def _with_first_epoch(errors: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """The last errors beside those after the first epoch."""
    keys = ["arm", "seed", "metric", "resolution"]
    first = history.query("epoch == 1").rename(columns={"value": "first"})
    return errors.merge(first[[*keys, "first"]], on=keys, how="left")


def _arm_row(
    arm: dict[str, Any], records: dict[str, dict[str, Any]], measured: dict[str, tuple[dict[str, Any], dict[str, Any]]]
) -> dict[str, Any]:
    found = {}
    for kind, (entries, record) in measured.items():
        if record and arm["id"] not in entries:
            raise MpnoError(f"the record of {kind} has no arm {arm['id']}; delete it and run `make reproduce`")
        found[kind] = entries.get(arm["id"], {})
    seconds = found["time"].get("seconds_per_epoch") or {}
    predicted = found["memory"].get("predicted_bytes") or {}  # none for a format that no hardware stores
    own = [records[name] for name in arm["runs"].values()]
    evidence = sorted({record["evidence"] for record in own}) or [found["time"].get("evidence", "predicted")]
    parameters = own[0]["parameters"] if own else found["memory"].get("parameters")
    return {
        "arm": arm["name"],
        "model": arm["model"],
        "setting": arm["label"],
        "transform": arm["transform"],
        "recipe": arm["recipe"],
        "role": arm["role"],
        "against": arm["against"],
        "evidence": "/".join(evidence),
        "seconds": seconds.get("median"),
        "seconds_low": seconds.get("low"),
        "seconds_high": seconds.get("high"),
        "timings": seconds.get("n"),
        "why_untimed": found["time"].get("why"),
        "parameters": parameters,
        "training_seconds": sum(record["seconds"] for record in own) if own else None,
        **{f"predicted_{part}": predicted.get(part) for part in BYTES},
    }
