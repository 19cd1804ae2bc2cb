"""The file of a set that is solved here: drawn, solved and written a batch of samples at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mpno.datasets.store import Split, writing
from mpno.specs import DataSpec

Draw = Callable[[str, range, list[int]], dict[int, Split]]
"""(split, sample numbers, resolutions) to the samples at each resolution, every one solved once."""


def write_solved(
    spec: DataSpec,
    out: Path,
    attrs: Mapping[str, Any],
    descriptions: Mapping[str, str],
    draw: Draw,
    *,
    batch: int,
    progress: bool,
) -> None:
    """Write what `spec` asks for to `out`: training samples at one resolution, test samples at several.

    Where fewer samples are wanted on finer grids, they are the first ones, so that every grid shows the same functions.

    Raises:
        MpnoError: as `draw`, or `out` cannot be written.
    """
    resolution, tests = spec.square
    counts = {test: spec.n_tests(test) for test in sorted(set(tests))}
    total = spec.n_train + max(counts.values())
    with (
        writing(out, attrs, descriptions) as store,
        tqdm(total=total, desc=spec.name, unit="sample", disable=not progress) as bar,
    ):
        for split, wanted in (("train", {resolution: spec.n_train}), ("test", counts)):
            starts = range(0, max(wanted.values()), batch)
            # A batch ends where the samples of some resolution do.
            edges = sorted({*starts, *wanted.values()})
            for start, stop in itertools.pairwise(edges):
                resolutions = [n for n, count in wanted.items() if start < count]
                for n, (x, y) in draw(split, range(start, stop), resolutions).items():
                    store.append(f"{split}/{n}/x", x)
                    store.append(f"{split}/{n}/y", y)
                bar.update(stop - start)
