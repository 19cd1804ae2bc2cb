"""What the public data sets hold, so that a plan can refuse what no download will bring."""

from __future__ import annotations

from collections.abc import Mapping

from mpno.specs.grid import by_size

Pairs = Mapping[tuple[str, int | str], int | None]
"""Pairs of input and output by split and resolution; None where the number is known only once the file is here."""

ANY = "any"
"""Stands for the resolution of what is no grid: meshes are laid on whichever grid a run asks for."""

PUBLIC_PAIRS: dict[str, dict[tuple[str, int | str], int]] = {
    "darcy": {("train", 16): 1000, ("test", 16): 50, ("test", 32): 50},
}
"""What small packages ship."""

ARCHIVED: dict[str, Pairs] = {
    "darcy": {
        ("train", 16): 1000,
        ("test", 16): 50,
        ("train", 32): None,
        ("test", 32): 1000,
        ("train", 64): None,
        ("test", 64): None,
        ("train", 128): 5000,
        ("test", 128): 1000,
        ("train", 421): None,
        ("test", 421): None,
    },
    "navier-stokes": {
        ("train", 128): 10_000,
        ("test", 128): 2000,
        ("train", 1024): None,
        ("test", 1024): None,
    },
    "car": {("train", ANY): 500, ("test", ANY): 111},
}
"""What the records on Zenodo hold, and the packages within them."""


def ships(name: str, wanted: list[tuple[str, int | str, int]]) -> bool:
    """Whether a small package holds all of `wanted`, (split, resolution, count)."""
    pairs = PUBLIC_PAIRS.get(name)
    return pairs is not None and not _short(pairs, "", name, wanted, "")


def lacking(name: str, wanted: list[tuple[str, int | str, int]]) -> str | None:
    """Say what of `wanted`, (split, resolution, count), the public set `name` lacks; None if nothing."""
    pairs = ARCHIVED.get(name)
    if pairs is None:
        return f"the set {name} is not published; choose source generate"
    return _short(pairs, "the public set", name, wanted, ", or source generate")


def lacking_import(name: str, pairs: Pairs, wanted: list[tuple[str, int | str, int]]) -> str | None:
    """Say what of `wanted` the imported set lacks, as :func:`lacking` does."""
    return _short(pairs, "the imported set", name, wanted, "")


def _short(pairs: Pairs, kind: str, name: str, wanted: list[tuple[str, int | str, int]], instead: str) -> str | None:
    for split, resolution, count in wanted:
        key = (split, resolution) if (split, resolution) in pairs else (split, ANY)
        if key not in pairs:
            have = map(str, by_size(r for s, r in pairs if s == split))
            return (
                f"{kind} {name} has {split} pairs at resolution {' and '.join(have) or 'none'}, not {resolution}; "
                f"choose one of these{instead}"
            )
        most = pairs[key]
        if most is not None and count > most:
            return (
                f"n_{split} is {count}; {kind} {name} has 1 to {most} at resolution {resolution}: "
                f"ask for fewer{instead}"
            )
    return None
