"""Run records to tidy tables: one row per arm, seed, test resolution and error."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mpno.specs import MpnoError
from mpno.specs.files import write_text
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
TABLES = ("errors", "history", "arms", "reference")
NONE = "\N{EN DASH}"  # stands where there is no number
BYTES = ("parameters", "gradients", "optimiser", "activations", "peak")
REFERENCE_COLUMNS = ("setting", "metric", "value", "unit", "provenance", "conditions", "place")
PROVENANCE = ("printed", "review discussion", "authors' notebook", "read off a plot")


@dataclass(frozen=True)
class ItemData:
    """The tidy tables of an item.

    Attributes:
        context: title, scale, changes, arms in order, comparison, device.
        errors: the last test errors; a run that diverged has rows without a value.
        history: the test errors after each epoch.
        arms: evidence, seconds per epoch and predicted bytes of each arm.
        reference: the paper's values, each with its provenance.
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


def collect_item(item: dict[str, Any], *, runs: Path, timing: Path, reference: Path, out: Path) -> None:
    """Write the tidy tables of `item` (a plan's context) into the folder `out`.

    Raises:
        MpnoError: a record is missing, cannot be read, or is of another run.
    """
    timed = _read_json(timing)
    records = {name: _read_run(runs / name, name) for arm in item["arms"] for name in arm["runs"].values()}
    first = next(iter(records.values()))
    _one_source(records)
    made = {key: first.get(key) for key in ("device", "processor", "threads", "versions", "source_digest")}
    context = {**item, **made, "data_record": first.get("data"), "timing_rounds": timed.get("rounds")}
    history = pd.concat([_history(arm, runs) for arm in item["arms"]], ignore_index=True)
    tables = {
        "errors": pd.DataFrame([row for arm in item["arms"] for row in _error_rows(item, arm, records)]),
        "history": history,
        "arms": pd.DataFrame([_arm_row(arm, records, timed) for arm in item["arms"]]),
        "reference": read_reference(reference),
    }
    tables["errors"] = _with_first_epoch(tables["errors"], history)
    for name, frame in tables.items():
        write_text(out / f"{name}.csv", frame.to_csv(index=False))
    write_text(out / "context.json", json.dumps(context, indent=1, sort_keys=True) + "\n")


def load_item(path: str | Path) -> ItemData:
    """Load the tidy tables in `path`; a relative path is looked up from the working folder and from those above it.

    Raises:
        MpnoError: there are none yet.
    """
    folder = next((place / path for place in (Path.cwd(), *Path.cwd().parents) if (place / path).is_dir()), Path(path))
    if not (folder / "context.json").is_file():
        raise MpnoError(f"{path}: no results there yet; make them with `make item ITEM={folder.name}`")
    frames = {name: pd.read_csv(folder / f"{name}.csv") for name in TABLES}
    for frame in (frames["errors"], frames["history"]):
        frame["resolution"] = [parse_resolution(value) for value in frame["resolution"]]
    return ItemData(context=_read_json(folder / "context.json"), **frames)


def read_reference(path: Path) -> pd.DataFrame:
    """Read the paper's values of an item.

    Raises:
        MpnoError: a column is missing, or a value has no known provenance.
    """
    header = ",".join(REFERENCE_COLUMNS)
    if not path.is_file():
        raise MpnoError(f"{path}: is missing; write the line {header} where nothing is published")
    frame = pd.read_csv(path)
    if tuple(frame.columns) != REFERENCE_COLUMNS:
        raise MpnoError(f"{path}: columns are {','.join(map(str, frame.columns))}; they must be {header}")
    unknown = [tag for tag in frame["provenance"] if tag not in PROVENANCE]
    if unknown:
        raise MpnoError(f"{path}: provenance {unknown[0]!r}; allowed: {', '.join(PROVENANCE)}")
    return frame


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MpnoError(f"{path}: is missing; make it with `make reproduce`") from None
    except json.JSONDecodeError as error:
        raise MpnoError(f"{path}: not JSON ({error}); delete it and run `make reproduce`") from None


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


def _error_rows(item: dict[str, Any], arm: dict[str, Any], records: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for seed, name in arm["runs"].items():
        record = records[name]
        where = record["diverged"] or {}
        for resolution in item["data"]["test_resolutions"]:
            for metric in errors_of(item["data"]["name"]):
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


def _history(arm: dict[str, Any], runs: Path) -> pd.DataFrame:
    parts = []
    for seed, name in arm["runs"].items():
        path = runs / name / "history.csv"
        try:
            frame = pd.read_csv(path)
        except FileNotFoundError:
            raise MpnoError(f"{path}: is missing; make it with `make reproduce`") from None
        errors = [column for column in frame if "@" in column]
        long = frame.melt(id_vars=["epoch", "train_loss"], value_vars=errors, var_name="error")
        metric, resolution = zip(*(name.split("@") for name in long["error"]), strict=True) if len(long) else ((), ())
        long = long.assign(metric=metric, resolution=[parse_resolution(r) for r in resolution]).drop(columns="error")
        parts.append(long.assign(arm=arm["name"], seed=int(seed)))
    return pd.concat(parts, ignore_index=True)


def _with_first_epoch(errors: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """The last errors beside those after the first epoch."""
    keys = ["arm", "seed", "metric", "resolution"]
    first = history.query("epoch == 1").rename(columns={"value": "first"})
    return errors.merge(first[[*keys, "first"]], on=keys, how="left")


def _arm_row(arm: dict[str, Any], records: dict[str, dict[str, Any]], timed: dict[str, Any]) -> dict[str, Any]:
    found = [entry for entry in timed["arms"] if entry["arm"] == arm["timed_as"]]
    if not found:
        raise MpnoError(f"the record of measure has no arm {arm['timed_as']}; delete it and run `make reproduce`")
    seconds = found[0]["seconds_per_epoch"] or {}
    predicted = found[0]["predicted_bytes"] or {}  # none for a format that no hardware stores
    evidence = sorted({records[name]["evidence"] for name in arm["runs"].values()})
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
        "why_untimed": found[0]["why"],
        "parameters": records[next(iter(arm["runs"].values()))]["parameters"],
        **{f"predicted_{part}": predicted.get(part) for part in BYTES},
    }
