"""A part of an item by hand: errors of three seeds and predicted peaks of each setting."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mpno.paper.records import ItemData

MIB = 2**20
ERRORS = {"full": (0.100, 0.110, 0.090), "amp": (0.102,), "mixed": (0.104, 0.113, 0.092)}
PEAKS = {"full": 40 * MIB, "amp": 30 * MIB, "mixed": 25 * MIB}
EVIDENCE = {"full": "native", "amp": "emulated", "half": "simulated", "mixed": "simulated"}
REFERENCE = ("setting", "metric", "value", "unit", "provenance", "conditions", "place")


def context(name: str) -> dict[str, Any]:
    made = {"device": "cpu", "processor": "A processor", "threads": 1, "versions": {}}
    return {"item": name, "title": "A toy", "paper": "nothing", "scale": "smoke", "changes": [], **made}


def part(
    name: str,
    *,
    errors: dict[str, tuple[float, ...]] = ERRORS,
    peaks: dict[str, int] = PEAKS,
    diverged: dict[str, int] | None = None,
) -> ItemData:
    """One part; `diverged` says of an arm how many further seeds diverged."""
    gone = diverged or {}
    source = "fetch" if name == "darcy" else "generate"
    arms, rows, timed = [], [], []
    for setting, peak in peaks.items():
        values = [*errors.get(setting, ()), *[None] * gone.get(setting, 0)]
        runs = {str(seed): f"{setting}_s{seed}" for seed in range(len(values))}
        against = None if setting == "full" else "full"
        same = {"role": "setting", "transform": "fft", "recipe": "Adam", "model": "FNO"}
        arms.append({"name": setting, "label": setting, "against": against, "epochs": 3, "runs": runs, **same})
        for seed, value in enumerate(values):
            row = {"arm": setting, "setting": setting, "seed": seed, "resolution": 16, "metric": "l2", "value": value}
            rows.append(row | {"status": "finished" if value else "diverged", "diverged_epoch": None if value else 2})
        sizes = {f"predicted_{key}": peak / 4 for key in ("parameters", "gradients", "optimiser", "activations")}
        row = {"arm": setting, "setting": setting, "evidence": EVIDENCE[setting], "seconds": None, **same}
        timed.append(row | sizes | {"predicted_peak": float(peak)})
    data = {"name": name, "source": source, "resolution": 16, "test_resolutions": [16], "n_train": 4, "n_test": 2}
    about = {
        "data": data,
        "model": {"modes": [4, 4]},
        "epochs": 3,
        "training": {"batch_size": 5},
        "compare": {"metric": "l2", "margin": 0.05, "confidence": 0.95, "learned": 0.75, "power": None},
        "arms": arms,
    }
    empty = pd.DataFrame(columns=list(REFERENCE))
    return ItemData(about, pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(timed), empty)
