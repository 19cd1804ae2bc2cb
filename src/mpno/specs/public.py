"""What the public data sets hold, so that a plan can refuse what no download will bring."""

from __future__ import annotations

from mpno.specs.names import Dataset

PUBLIC_PAIRS: dict[Dataset, dict[tuple[str, int], int]] = {
    "darcy": {("train", 16): 1000, ("test", 16): 50, ("test", 32): 50},
}
"""Pairs of input and output in each public set, by split and resolution."""


def lacking(name: Dataset, wanted: list[tuple[str, int, int]]) -> str | None:
    """Say what of `wanted`, (split, resolution, count), the public set `name` lacks; None if nothing."""
    pairs = PUBLIC_PAIRS[name]
    for split, resolution, count in wanted:
        have = [str(r) for s, r in pairs if s == split]
        if (split, resolution) not in pairs:
            return (
                f"the public set {name} has {split} pairs at resolution {' and '.join(have)}, not {resolution}; "
                "choose one of these, or source generate"
            )
        if count > pairs[split, resolution]:
            return (
                f"n_{split} is {count}; the public set {name} has 1 to {pairs[split, resolution]} at resolution "
                f"{resolution}: ask for fewer, or source generate"
            )
    return None
