"""The largest batch and the largest grid that fit a card, for the authors' way and ours."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from mpno.paper.comparison import number_cell
from mpno.paper.drawing import Table
from mpno.paper.records import ItemTables

TITLES = {"full": "full, authors' way", "mixed": "mixed, authors' way", "ours mixed": "mixed, ours (matmul)"}


def table(item: ItemTables) -> Table:
    """A row per card and way, with the batch against full."""
    frame = numbers(item)
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    notes = [
        f"scale {item.context['scale']}; predicted from shapes and dtypes, as nvidia-smi would show it with the CUDA "
        "context; nothing was measured",
        "the published Navier-Stokes model: 8 layers, width 64, 64 x 64 modes, CP weights of rank 0.05",
        "largest batch: at 128 x 128, traced and found to fit; that no larger one does is read off a line",
        "largest grid: with one sample, of 128, 256, 384, 512, 768, 1024, 1536 and 2048 points along each axis; half "
        "transforms by cuFFT are of powers of two alone, ours of any size",
        "a card is taken for whole: nothing else runs on it",
    ]
    return Table(frame, shown, notes, roles=[str(gib) for gib in frame["card_gib"]])


def numbers(item: ItemTables) -> pd.DataFrame:
    """Card by card, in the order of the cases."""
    rows = item.probes["cards"].to_dict("records")
    full = {row["card_gib"]: row["largest_batch"] for row in rows if row["case"] == "full"}
    for row in rows:
        row["batch_against_full"] = (
            row["largest_batch"] / full[row["card_gib"]] if full.get(row["card_gib"]) else math.nan
        )
    return pd.DataFrame(sorted(rows, key=lambda row: row["card_gib"]))


def _cells(row: Any) -> dict[str, str]:
    points = row["largest_resolution"]
    return {
        "card": f"{row['card_gib']} GiB",
        "way": TITLES.get(row["case"]) or str(row["case"]),
        "largest batch": f"{row['largest_batch']:,}",
        "against full": number_cell(row["batch_against_full"], 2),
        "largest grid": f"{points} x {points}" if points else "none",
        "evidence": str(row["evidence"]),
    }
