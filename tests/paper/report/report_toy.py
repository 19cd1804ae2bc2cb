"""A report of the toy item, with claims that one can tell apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mpno.paper.report import write_report

JOBS = {"data": 1, "train": 18, "collect": 1, "table_and_figure": 1, "report": 1, "records": 1, "all": 1}


def reading(**more: Any) -> dict[str, Any]:
    return {
        "name": "relative change", "shown": "+1.0 % [-0.5, +2.5]", "effect": 1.0, "low": -0.5, "high": 2.5, "unit": "%",
        "n": 3, "evidence": "simulated", "stand_in": False, "control": "told apart", "verdict": "inconclusive",
        "illustration": False, "records": ["mixed_s0", "mixed_s1"], "table": "tidy/toy/errors.csv",
    } | more  # fmt: skip


def claim(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name, "group": "headline", "statement": f"Claim {name} of memory.", "source": "section 4.1",
        "provenance": "printed", "published": "50 % less", "test": "effect", "item": "toy", "part": None,
        "scales": ["desk", "paper"], "threshold": {"rule": "45 % or more", "words": "up to 50 % less"},
        "verdict": "supported", "reason": "It is so.", "readings": [reading()],
    } | more  # fmt: skip


def claims(*more: dict[str, Any]) -> dict[str, Any]:
    """Judged claims as the engine writes them."""
    points = reading(name="points", shown="+0.1 points", illustration=True, verdict=None, evidence="native")
    three = [
        claim("C01"),
        claim("C02", verdict="not tested here", group="FP8", statement="Clipped formats train.", readings=[points]),
        claim("C03", verdict="inconclusive", readings=[reading(), points], published=None),
        *more,
    ]
    counts = {verdict: sum(each["verdict"] == verdict for each in three) for verdict in {c["verdict"] for c in three}}
    changes = [{"date": "2026-11-28", "claim": "C03", "what": "5 points, where it first read 3"}]
    return {
        "scale": "smoke", "device": "cpu", "decided": 1, "predicted": 0, "total": len(three), "counts": counts,
        "changes": changes,
        "fixed": "2026-11-27", "known": "nothing was known", "claims": three,
    }  # fmt: skip


def make_report(root: Path, tidy: Path, judged: dict[str, Any] | None = None, **facts: Any) -> Path:
    """Write the report of what was drawn below `root`, with other `facts`, from the tidy tables below `tidy`."""
    drawn = root / "drawn" / "toy.json"
    page = json.loads(drawn.read_text())
    page["context"] |= facts
    drawn.write_text(json.dumps(page))
    (root / "claims").mkdir(exist_ok=True)
    (root / "claims" / "claims.json").write_text(json.dumps(judged or claims()))
    out = root / "report" / "index.html"
    write_report([drawn], out=out, tidy=tidy, claims=root / "claims" / "claims.json", jobs=JOBS)
    return out
