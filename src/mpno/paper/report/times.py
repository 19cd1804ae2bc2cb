"""How long the jobs of each kind took, from what they said when they ended."""

from __future__ import annotations

import json
from pathlib import Path

from mpno.paper.records import whole

KINDS = {
    "data": "making data", "train": "training", "time": "timing", "memory": "predicting memory", "probe": "probing",
    "collect": "collecting", "draw": "drawing", "claims": "judging claims",
}  # fmt: skip


def read_times(path: Path | None) -> list[tuple[str, int, float]]:
    """Per kind of job, how many there are and the seconds inside them; of a job that ran again the last counts.

    Raises:
        MpnoError: a line cannot be read.
    """
    if path is None or not path.is_file():
        return []
    took: dict[tuple[str, str], float] = {}
    with whole(str(path)):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            took[entry["stage"], entry["name"]] = entry["ended"] - entry["started"]
    found = {kind: [seconds for (stage, _), seconds in took.items() if stage == kind] for kind in KINDS}
    return [(KINDS[kind], len(each), sum(each)) for kind, each in found.items() if each]
