"""What is known of each run behind an item, in ``runs.csv``: a number leads to a run, a run to its spec and machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

RUN_COLUMNS = (
    "run", "part", "arm", "seed", "spec", "status", "evidence", "seconds", "device", "processor", "threads", "versions",
    "source_digest", "data_source", "data_digest", "parameters",
)  # fmt: skip
COPIED = ("status", "evidence", "seconds", "device", "processor", "threads", "source_digest", "parameters")


def run_rows(
    part: str, arms: Sequence[Mapping[str, Any]], records: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A row per arm and seed of `part`; spec and versions are compact JSON, seconds are those of the training.

    Args:
        part: its name.
        arms: as the plan has them, with the runs of each by seed.
        records: by run, its ``metrics.json``.

    Raises:
        KeyError: a record lacks one of these; :func:`mpno.paper.records.whole` says so in one line.
    """
    return [
        {
            "run": run,
            "part": part,
            "arm": arm["name"],
            "seed": int(seed),
            **{key: records[run][key] for key in COPIED},
            **{key: _compact(records[run][key]) for key in ("spec", "versions")},
            **{f"data_{key}": records[run]["data"][key] for key in ("source", "digest")},
        }
        for arm in arms
        for seed, run in arm["runs"].items()
    ]


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
