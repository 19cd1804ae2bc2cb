"""Data of the user's own: checked, split and kept as a store, so that they train as any set of the paper does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from mpno.datasets.arrays import Arrays
from mpno.datasets.axes import Fields, fields
from mpno.datasets.layout import BLOCK_BYTES
from mpno.datasets.writer import StoreWriter, writing
from mpno.specs import MpnoError
from mpno.specs.grid import resolution_of
from mpno.specs.names import DATASETS
from mpno.specs.run import IMPORT_NAME
from mpno.specs.sets import imported_folder

TRAIN_LEAST = 2


@dataclass(frozen=True)
class Request:
    """What is to be imported: the arguments of ``python -m mpno data import``, which says what each means."""

    file: Path
    name: str
    target: str
    input: str | None = None
    tests: tuple[Path, ...] = ()
    test_input: str | None = None
    test_target: str | None = None
    test_fraction: float = 0.2
    seed: int = 0
    layout: str | None = None
    periodic: bool = False
    coordinates: str | None = None
    units: str = ","
    licence: str = "not stated"
    citation: str = "not stated"


class Pair(NamedTuple):
    """Inputs and targets on one grid."""

    x: Fields
    y: Fields


def import_set(request: Request, *, replace: bool = False, progress: bool = False) -> tuple[Path, list[str]]:
    """Write the store of an imported set; the file appears whole or not at all.

    Args:
        request: what to import.
        replace: overwrite a set of the same name.
        progress: show a bar.

    Returns:
        The file, and what was taken for what, in lines to print.

    Raises:
        MpnoError: a name, file, key, shape, dtype or value that does not fit, or a sample in both train and test.
    """
    out = imported_folder() / f"{request.name}.h5"
    _check_name(request.name, out, replace)
    with Arrays(request.file) as arrays:
        main = _pair(arrays, request.input, request.target, None, request)
        tests = _tests(arrays, request, main)
        whole = next((test for test in tests if test.x.grid == main.x.grid), None)
        held = None if whole else _held_out(main, request)
        said = _said(main, tests, held, request)
        total = len(main.x) + sum(len(test.x) for test in tests)
        with (
            writing(out, _attrs(arrays, main, request), {"x": main.x.where, "y": main.y.where}) as store,
            tqdm(total=total, desc=f"import {request.name}", unit="sample", disable=not progress) as bar,
        ):
            _copy(store, main, "train", bar, held)
            for test in tests:
                _copy(store, test, "test", bar)
    return out, said


def _check_name(name: str, out: Path, replace: bool) -> None:
    if name in DATASETS or not re.fullmatch(IMPORT_NAME, name):
        taken = "is a set of the paper" if name in DATASETS else "is no name for a set"
        raise MpnoError(f"--name {name!r}: {taken}; allowed: up to 40 lower-case letters, digits and hyphens")
    if out.exists() and not replace:
        raise MpnoError(f"{out}: exists; choose another --name, or give --replace")


def _pair(arrays: Arrays, x: str | None, y: str | None, file: Path | None, request: Request) -> Pair:
    pair = Pair(*(fields(*arrays.get(key, file), request.layout) for key in (x, y)))
    if len(pair.x) != len(pair.y):
        raise MpnoError(
            f"{pair.x.where} has {len(pair.x)} samples, {pair.y.where} has {len(pair.y)}; each input needs its target: "
            "check the keys, or give --layout if samples lie along another axis than the first"
        )
    if pair.x.grid != pair.y.grid:
        raise MpnoError(
            f"{pair.x.where} is on a grid of {pair.x.grid}, {pair.y.where} on {pair.y.grid}; both must be on one: "
            "give --layout if the axes were taken wrongly"
        )
    return pair


def _tests(arrays: Arrays, request: Request, main: Pair) -> list[Pair]:
    tests = [_pair(arrays, request.input, request.target, path, request) for path in request.tests]
    if request.test_input or request.test_target:
        if not (request.test_input and request.test_target):
            raise MpnoError("--test-input and --test-target come together; give both")
        tests.append(_pair(arrays, request.test_input, request.test_target, None, request))
    for test in tests:
        if (test.x.channels, test.y.channels) != (main.x.channels, main.y.channels) or test.x.axes != main.x.axes:
            raise MpnoError(
                f"{test.x.where} has {test.x.channels} and {test.y.channels} channels, axes {' '.join(test.x.axes)}, "
                f"the training data {main.x.channels} and {main.y.channels} and {' '.join(main.x.axes)}; give the same"
            )
    grids = [test.x.grid for test in tests]
    if twice := [grid for grid in grids if grids.count(grid) > 1]:
        raise MpnoError(f"two test sets are on a grid of {twice[0]}; join them, or leave one out")
    return tests


def _held_out(main: Pair, request: Request) -> np.ndarray:
    """Which samples are set aside for tests, as a mask."""
    n = len(main.x)
    if not 0 < request.test_fraction < 1 or not 0 <= request.seed < 2**63:
        raise MpnoError(
            f"--test-fraction {request.test_fraction:g}, --seed {request.seed}; allowed: above 0 and below 1; 0 to 2^63"
        )
    count = max(1, round(request.test_fraction * n))
    if n - count < TRAIN_LEAST:
        raise MpnoError(
            f"{main.x.where}: {n} samples, of which {count} for tests; at least {TRAIN_LEAST} must be left to train on"
        )
    # Raw words, whose order numpy keeps across versions, in place of its permutation.
    words = np.random.Philox(key=np.array([request.seed, 0], np.uint64)).random_raw(n)
    mask = np.zeros(n, dtype=bool)
    mask[np.argsort(words, kind="stable")[:count]] = True
    return mask


def _copy(store: StoreWriter, pair: Pair, split: str, bar: tqdm, held: np.ndarray | None = None) -> None:
    """Copy the samples of a pair in blocks; those that are `held` go to the tests."""
    resolution = resolution_of(pair.x.grid)
    for start, stop in _steps(pair):
        away = np.zeros(stop - start, dtype=bool) if held is None else held[start:stop]
        for kind, array in zip("xy", pair, strict=True):
            values = _checked(array, array.read(start, stop), start)
            for place, chosen in ((split, ~away), ("test", away)):
                if chosen.any():
                    store.append(f"{place}/{resolution}/{kind}", values[chosen])
        bar.update(stop - start)


def _steps(pair: Pair) -> Iterator[tuple[int, int]]:
    largest = max(array.dtype.itemsize * array.channels for array in pair) * int(np.prod(pair.x.grid))
    step = max(1, BLOCK_BYTES // largest)
    return ((start, min(start + step, len(pair.x))) for start in range(0, len(pair.x), step))


def _checked(array: Fields, values: np.ndarray, start: int) -> np.ndarray:
    """The values as float32.

    Raises:
        MpnoError: names the first sample with a value that is not finite, or that float32 cannot hold.
    """
    with np.errstate(over="ignore"):
        out = values.astype(np.float32)
    bad = ~np.isfinite(out).reshape(len(out), -1).all(1)
    if bad.any():
        row = int(np.argmax(bad))
        lost = np.isfinite(values[row]).all()
        what, way_out = ("values beyond float32's 3.4e38", "scale it") if lost else ("NaN or infinity", "leave it out")
        raise MpnoError(f"{array.where}: sample {start + row} holds {what}; {way_out} and import again")
    return out


def _attrs(arrays: Arrays, main: Pair, request: Request) -> dict[str, object]:
    units = [part.strip() or "not stated" for part in request.units.split(",")]
    if len(units) != 2:
        raise MpnoError(f"--units {request.units!r}; give that of the input and of the target with a comma, as in K,Pa")
    origin = {
        "file": request.file.name,
        "input": main.x.where.rpartition("/")[2],
        "target": main.y.where.rpartition("/")[2],
        "layout": [" ".join(array.layout) for array in main],
        "dtype": [array.dtype.name for array in main],
        "tests": [path.name for path in request.tests],
        "test_fraction": request.test_fraction,
    }
    return {
        "name": request.name,
        "title": f"{request.name}, imported from {request.file.name}",
        "source": "import",
        "units_x": units[0],
        "units_y": units[1],
        "licence": request.licence,
        "citation": request.citation,
        "origin": json.dumps(origin),
        "seed": request.seed,
        "periodic": request.periodic,
        "axes": main.x.axes,
        **_coordinates(arrays, main, request),
    }


def _coordinates(arrays: Arrays, main: Pair, request: Request) -> dict[str, np.ndarray]:
    """The points along each axis as attributes ``coordinates_y`` and so on."""
    if request.coordinates is None:
        return {}
    keys = request.coordinates.split(",")
    if len(keys) != len(main.x.axes):
        raise MpnoError(
            f"--coordinates {request.coordinates}: {len(keys)} keys; the grid has axes {','.join(main.x.axes)}"
        )
    found = {}
    for key, axis, points in zip(keys, main.x.axes, main.x.grid, strict=True):
        where, array = arrays.get(key.strip())
        values = np.asarray(array[:], dtype=np.float64).ravel()
        steps = np.diff(values)
        if len(values) != points or not np.isfinite(values).all():
            raise MpnoError(f"{where}: {len(values)} points, axis {axis} has {points}; give one finite number for each")
        if not np.allclose(steps, steps.mean(), rtol=1e-3, atol=0):
            raise MpnoError(
                f"{where}: points are {steps.min():g} to {steps.max():g} apart; transforms need equal steps: resample"
            )
        found[f"coordinates_{axis}"] = values
    return found


def _said(main: Pair, tests: list[Pair], held: np.ndarray | None, request: Request) -> list[str]:
    """What was taken for what, and what was guessed."""
    lines = []
    for role, array in (("input", main.x), ("target", main.y)):
        guess = " (inferred; --layout says otherwise)" if array.inferred else ""
        grid = " x ".join(map(str, array.grid))
        kind = "" if array.dtype == np.float32 else f", {array.dtype} kept as float32"
        lines.append(
            f"{role} {array.where}: {' '.join(array.layout)}{guess}, {array.channels} channels, grid {grid}{kind}"
        )
    if held is None:
        lines.append(f"samples: {len(main.x)} train")
    else:
        lines.append(
            f"samples: {(~held).sum()} train, {held.sum()} test at random (fraction {request.test_fraction:g}, seed "
            f"{request.seed})"
        )
    lines += [
        f"test: {len(test.x)} samples at {' x '.join(map(str, test.x.grid))} from {test.x.where}" for test in tests
    ]
    lines.append("fields: " + ("periodic" if request.periodic else "not periodic (--periodic says otherwise)"))
    return lines
