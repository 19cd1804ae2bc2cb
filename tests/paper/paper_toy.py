"""Hand-made records of a small item: two settings, a control, one run that diverged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mpno.paper import collect_item
from mpno.paper.records import REFERENCE_COLUMNS

ERRORS = {  # last relative L2 error at 16 by arm and seed
    "full": (0.100, 0.110, 0.090),
    "full-tanh": (0.101, 0.111, 0.091),
    "mixed": (0.101, 0.1122, 0.0909),
    "control": (0.120, 0.133, 0.107),
    "half": (0.100, None, 0.090),
    "ours": (0.100, 0.110, 0.090),
}
EPOCHS = 10
BASELINE = 0.14
"""Relative L2 error of the mean predictor at 16."""


def _arm(name: str, label: str, **more: Any) -> dict[str, Any]:
    base = {
        "role": "setting",
        "against": "full",
        "transform": "fft",
        "recipe": "AdamW",
        "model": "FNO",
        "epochs": EPOCHS,
    }
    runs = {str(seed): f"{name}_s{seed}" for seed in range(3)}
    return {"name": name, "label": label, "id": f"{name}_s0", "spec": {"model": {}}, "runs": runs} | base | more


def part(**more: Any) -> dict[str, Any]:
    """The toy's one part, as a plan describes it."""
    return {
        "name": "darcy",
        "recipe": None,
        "data": {
            "name": "darcy",
            "resolution": 16,
            "source": "fetch",
            "test_resolutions": [16, 32],
            "n_train": 4,
            "n_test": 2,
        },
        "model": {},
        "epochs": EPOCHS,
        "time": "toy",
        "memory": "toy",
        "compare": {
            "metric": "l2",
            "margin": 0.05,
            "confidence": 0.95,
            "learned": 0.75,
            "power": {"control": "control", "told_from": ["full", "full-tanh"]},
        },
        "arms": [
            _arm("full", "full", against=None),
            _arm("full-tanh", "full+tanh"),
            _arm("mixed", "mixed"),
            _arm("half", "half"),
            _arm("ours", "mixed", transform="matmul"),
            _arm("control", "mixed-e5m2", role="control"),
        ],
    } | more


def context(**more: Any) -> dict[str, Any]:
    """What a plan knows of the toy item."""
    return {
        "item": "toy",
        "draws": ["table", "figure"],
        "drawn_by": "settings",
        "title": "A toy & <b>its</b> title",
        "paper": "nothing",
        "scale": "smoke",
        "changes": [],
        "parts": [part()],
        "probes": {},
    } | more


def _history(last: float, epochs: int) -> str:
    lines = ["epoch,step,train_loss,lr,seconds,l2@16,h1@16,l2@32,h1@32"]
    for epoch in range(1, epochs + 1):
        value = last * (1 + 0.1 * (EPOCHS - epoch))
        lines.append(f"{epoch},{epoch},0.5,0.001,1.0,{value},{2 * value},{1.5 * value},{3 * value}")
    return "\n".join(lines) + "\n"


def write_records(root: Path, arms: list[dict[str, Any]]) -> None:
    for arm in arms:
        for seed, run in arm["runs"].items():
            last = ERRORS[arm["name"]][int(seed)]
            folder = root / "runs" / run
            folder.mkdir(parents=True)
            half = arm["name"] != "full" and arm["name"] != "full-tanh" and arm["name"] != "ours"
            metrics = None if last is None else {
                "16": {"l2": last, "h1": 2 * last}, "32": {"l2": 1.5 * last, "h1": 3 * last}
            }  # fmt: skip
            record = {
                "schema": 1,
                "id": run,
                "spec": {"seed": int(seed), "precision": arm["label"]},
                "status": "diverged" if last is None else "finished",
                "diverged": {"epoch": 4, "step": 17, "where": "block 2, forward transform"} if last is None else None,
                "metrics": metrics,
                "baseline": {"16": {"l2": BASELINE, "h1": 1.0}, "32": {"l2": 1.5 * BASELINE, "h1": 1.0}},
                "evidence": "simulated" if half else "native",
                "device": "cpu",
                "processor": "A processor",
                "threads": 1,
                "seconds": 2.5,
                "parameters": 100,
                "versions": {"torch": "1"},
                "source_digest": "abc",
                "data": {"digest": "def", "source": "fetch"},
            }
            (folder / "metrics.json").write_text(json.dumps(record))
            (folder / "history.csv").write_text(_history(last or 0.1, EPOCHS if last else 3))
    timed, sized = [], []
    for arm in arms:
        native = arm["label"].startswith("full") or arm["transform"] == "matmul"
        seconds = {"median": 2.0, "low": 1.9, "high": 2.2, "n": 5} if native else None
        why = None if native else "simulated on this cpu"
        timed.append({"arm": arm["id"], "seconds_per_epoch": seconds, "why": why})
        sizes = dict.fromkeys(("parameters", "gradients", "optimiser", "activations", "peak"), 2**20)
        predicted = None if arm["role"] == "control" else sizes
        sized.append({"arm": arm["id"], "parameters": 100, "predicted_bytes": predicted})
    for kind, record in (("time", {"rounds": 5, "arms": timed}), ("memory", {"arms": sized})):
        (root / kind).mkdir()
        (root / kind / "toy.json").write_text(json.dumps(record))
    rows = [
        ",".join(REFERENCE_COLUMNS),
        'full,l2,0.0083,,read off a plot,"128x128, 300 epochs",a figure',
        'mixed,seconds_per_epoch,15.63,s,review discussion,"half",Appendix B.7',
    ]
    (root / "reference.csv").write_text("\n".join(rows) + "\n")


def collect(root: Path, item: dict[str, Any]) -> Path:
    write_records(root, item["parts"][0]["arms"])
    out = root / "tidy" / item["item"]
    collect_item(item, root=root, reference=root / "reference.csv", out=out)
    return out
