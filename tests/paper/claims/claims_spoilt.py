"""Where the shipped tables lie, and copies of them to be changed and judged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from mpno.paper.claims import evaluate_claims
from mpno.paper.claims.model import Claim, Claims

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "workflow" / "claims.yaml"
PUBLISHED = ROOT / "results" / "published" / "tidy"


def contexts(tidy: Path) -> list[Path]:
    return sorted(tidy.glob("*/context.json"))


class Spoilt:
    """The records of one claim, copied, to be changed and judged."""

    def __init__(self, claim: Claim, folder: Path) -> None:
        self.claim, self.folder = claim, folder
        for item in {claim.item, *(ask.item for ask in claim.records if ask.item)}:
            shutil.copytree(PUBLISHED / item, folder / item)

    def table(self, name: str, change: Callable[[pd.DataFrame], pd.DataFrame], item: str | None = None) -> Spoilt:
        path = self.folder / (item or self.claim.item) / f"{name}.csv"
        change(pd.read_csv(path)).to_csv(path, index=False)
        return self

    def context(self, change: Callable[[dict[str, Any]], object], item: str | None = None) -> Spoilt:
        for path in [self.folder / item / "context.json"] if item else contexts(self.folder):
            context = json.loads(path.read_text())
            change(context)
            path.write_text(json.dumps(context))
        return self

    def judge(self, claim: Claim | None = None, **more: Any) -> dict[str, Any]:
        file = Claims(fixed="2026-01-01", known="all", claims=(claim or self.claim,))
        return evaluate_claims(file, contexts(self.folder), **more)["claims"][0]
