"""Hand-made parts of an item: arms with the errors of their seeds, as the tidy tables would hold them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mpno.paper.records import REFERENCE_COLUMNS, ItemData


@dataclass(frozen=True)
class Toy:
    """An arm: its label, the L2 error of each seed (None: diverged), what it costs."""

    label: str
    l2: Sequence[float | None]
    against: str | None = None
    role: str = "setting"
    model: str = "FNO"
    seconds: float = math.nan
    mib: float = math.nan
    loss: Sequence[float] = field(default=())


def part(arms: dict[str, Toy], *, name: str = "darcy", control: tuple[str, Sequence[str]] | None = None) -> ItemData:
    """H1 is twice L2; the training loss of the last of two epochs is H1 where the arm gives none."""
    power = {"control": control[0], "told_from": list(control[1])} if control else None
    context = {
        "data": {
            "name": name,
            "source": "generate",
            "resolution": 16,
            "test_resolutions": [16],
            "n_train": 4,
            "n_test": 2,
        },
        "model": {"modes": [4, 4]},
        "epochs": 2,
        "compare": {"metric": "l2", "margin": 0.05, "confidence": 0.95, "learned": 0.75, "power": power},
        "arms": [_context(key, arm) for key, arm in arms.items()],
    }
    errors = [row for key, arm in arms.items() for row in _errors(key, arm)]
    history = [row for key, arm in arms.items() for row in _history(key, arm)]
    costs = [_costs(key, arm) for key, arm in arms.items()]
    return ItemData(context, pd.DataFrame(errors), pd.DataFrame(history), pd.DataFrame(costs), reference())


def reference(*rows: tuple[str, str, float, str]) -> pd.DataFrame:
    """The paper's values: setting, metric, value, place."""
    said = [(setting, metric, value, "", "printed", "a condition", place) for setting, metric, value, place in rows]
    return pd.DataFrame(said, columns=list(REFERENCE_COLUMNS))


def item_context(name: str) -> dict[str, Any]:
    return {
        "item": name,
        "title": name,
        "paper": "nothing",
        "scale": "smoke",
        "changes": [],
        "device": "cpu",
        "processor": "A processor",
        "threads": 1,
        "versions": {},
    }


def _context(name: str, arm: Toy) -> dict[str, Any]:
    shared = {"transform": "fft", "recipe": "Adam", "epochs": 2, "timed_as": name, "model": arm.model}
    runs = {str(seed): f"{name}_s{seed}" for seed in range(len(arm.l2))}
    return {"name": name, "label": arm.label, "role": arm.role, "against": arm.against, "runs": runs} | shared


def _errors(name: str, arm: Toy) -> list[dict[str, Any]]:
    return [
        {
            "arm": name,
            "setting": arm.label,
            "seed": seed,
            "resolution": 16,
            "metric": metric,
            "value": math.nan if l2 is None else factor * l2,
            "status": "diverged" if l2 is None else "finished",
            "diverged_epoch": 1 if l2 is None else math.nan,
            "diverged_step": 7 if l2 is None else math.nan,
            "diverged_where": "block 2" if l2 is None else None,
            "run": f"{name}_s{seed}",
        }
        for seed, l2 in enumerate(arm.l2)
        for metric, factor in (("l2", 1), ("h1", 2))
    ]


def _history(name: str, arm: Toy) -> list[dict[str, Any]]:
    rows = []
    for seed, l2 in enumerate(arm.l2):
        last = arm.loss[seed] if arm.loss else 2 * (l2 or math.nan)
        for epoch, loss in ((1, 9.0), (2, last)):
            for metric, factor in (("l2", 1), ("h1", 2)):
                keys = {"arm": name, "seed": seed, "resolution": 16, "metric": metric, "epoch": epoch}
                rows.append(keys | {"train_loss": loss, "value": factor * (l2 or math.nan)})
    return rows


def _costs(name: str, arm: Toy) -> dict[str, Any]:
    evidence = "native" if arm.label == "full" else "simulated"
    keys = {"arm": name, "model": arm.model, "setting": arm.label, "transform": "fft", "role": arm.role}
    return keys | {
        "evidence": evidence,
        "seconds": arm.seconds,
        "parameters": 100,
        "predicted_peak": arm.mib * 2**20,
        "why_untimed": None,
    }
