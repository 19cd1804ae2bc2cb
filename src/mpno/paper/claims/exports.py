"""The judged claims as files: json for the page, csv by reading, md and tex for readers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from mpno.paper.files import escape
from mpno.paper.records import NONE
from mpno.specs.files import write_text

COLUMNS = ("id", "group", "test", "verdict", "item", "part", "published", "provenance", "source", "threshold")
"""Of the claim, before those of the reading, in every row of claims.csv."""


def write_claims(judged: dict[str, Any], out: Path) -> None:
    """Write ``claims.json``, ``claims.csv``, ``claims.md`` and ``claims.tex`` into the folder `out`, json last."""
    write_text(out / "claims.csv", _csv(judged))
    write_text(out / "claims.md", _markdown(judged))
    write_text(out / "claims.tex", _latex(judged))
    write_text(out / "claims.json", json.dumps(judged, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def summary(judged: dict[str, Any]) -> str:
    """How many claims are decided, and how many have which verdict, in one sentence."""
    counts = ", ".join(f"{number} {verdict}" for verdict, number in judged["counts"].items())
    return f"{judged['decided']} of {judged['total']} claims decided at scale {judged['scale']}: {counts}"


def _csv(judged: dict[str, Any]) -> str:
    """A row per reading; a claim without one has a row of its own."""
    rows: list[dict[str, Any]] = []
    for claim in judged["claims"]:
        head = {name: claim[name] for name in COLUMNS} | {"threshold": claim["threshold"]["rule"]}
        head["reason"] = claim["reason"]
        for reading in claim["readings"] or [{}]:
            own = {f"reading_{key}" if key in head else key: value for key, value in reading.items()}
            rows.append({**head, **own, "records": " ".join(reading.get("records", []))})
    return pd.DataFrame(rows).to_csv(index=False)


def _groups(judged: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for group in dict.fromkeys(claim["group"] for claim in judged["claims"]):
        yield group, [claim for claim in judged["claims"] if claim["group"] == group]


def _notes(judged: dict[str, Any]) -> list[str]:
    changes = [f"{change['date']}: {change['claim']}, {change['what']}" for change in judged["changes"]]
    return [
        f"{summary(judged)}; on {judged['device']}",
        "not tested here: it can be decided only at another scale or on a GPU; the number is an illustration",
        "consistent with, not consistent with: the most that predictions may say",
        "points: 100 (error - full's), of relative error; change: relative, paired by seed; each is judged apart",
        "thresholds rest on what the sources say, in paraphrase but for numbers, and were written on "
        f"{judged['fixed']}: {judged['known']}",
        "changed after a verdict was seen: " + ("; ".join(changes) or "nothing"),
    ]


def _shown(claim: dict[str, Any]) -> str:
    return "; ".join(f"{reading['name']}: {reading['shown']}" for reading in claim["readings"]) or NONE


def _markdown(judged: dict[str, Any]) -> str:
    lines = ["# The paper's claims", "", *(f"- {note}" for note in _notes(judged))]
    for group, claims in _groups(judged):
        rows = [
            {
                "claim": f"{claim['id']}: {claim['statement']}",
                "published": claim["published"] or NONE,
                "here": _shown(claim),
                "verdict": f"**{claim['verdict']}**",
                "reason": claim["reason"],
                "judged by": f"{claim['threshold']['rule']} (source: {claim['threshold']['words']})",
            }
            for claim in claims
        ]
        table = pd.DataFrame(rows).map(lambda cell: cell.replace("|", "\\|"))
        lines += ["", f"## {group[0].upper()}{group[1:]}", "", table.to_markdown(index=False, disable_numparse=True)]
    return "\n".join(lines) + "\n"


def _latex(judged: dict[str, Any]) -> str:
    """A long table that breaks over pages, to be input where longtable and booktabs are loaded."""
    head = r"claim & published & verdict & reason \\"
    lines = [
        "% needs the packages booktabs and longtable",
        r"{\footnotesize",
        r"\begin{longtable}{p{0.36\textwidth}p{0.12\textwidth}p{0.11\textwidth}p{0.33\textwidth}}",
        rf"\caption{{The paper's claims. {escape(summary(judged))}.}}\label{{tab:claims}}\\",
        rf"\toprule {head} \midrule \endfirsthead",
        rf"\toprule {head} \midrule \endhead",
    ]
    for group, claims in _groups(judged):
        lines.append(rf"\multicolumn{{4}}{{l}}{{\emph{{{escape(group)}}}}} \\")
        for claim in claims:
            cells = (
                f"{claim['id']}: {claim['statement']}",
                claim["published"] or NONE,
                claim["verdict"],
                claim["reason"],
            )
            lines.append(" & ".join(map(escape, cells)) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{longtable}}", ""])
