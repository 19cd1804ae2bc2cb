"""A finished run applied to inputs of the user's, fields here and bodies next door: a file in, a file out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from tqdm import tqdm

import mpno
from mpno.datasets.arrays import Arrays
from mpno.datasets.axes import Fields, fields
from mpno.datasets.layout import AXES
from mpno.numerics import refuse_shortcuts
from mpno.specs import MpnoError, PrecisionSetting
from mpno.specs.files import replacing
from mpno.specs.sets import BODIES
from mpno.training.finished import FinishedRun, load_run
from mpno.training.prediction_bodies import GivenBodies, given_bodies, holds_bodies, write_pressures

VALUES = 2**24
"""Hidden values of a batch of fields that a prediction holds at a time, at least those of one field."""
KEY = "y"


def predict_run(
    run: Path | str,
    file: Path | str,
    out: Path | str,
    *,
    key: str | None = None,
    layout: str | None = None,
    precision: PrecisionSetting | str | None = None,
    transform: str | None = None,
    progress: bool | None = None,
) -> FinishedRun:
    """Apply a finished run to the fields or bodies in a file and write its outputs, in the data's own units, as HDF5.

    Args:
        run: the run's folder; its data file is not needed.
        file: of fields, h5, npy, npz, pt or mat, on any grid that is fine enough for the model; of bodies, a store as
            :func:`mpno.datasets.make` writes it, with the run's latent grid.
        out: the HDF5 file to write, whole or not at all: ``y``, (n, channels, *grid) float32; of bodies the pressure
            at all V vertices of each, ``/00000/y``, (V,) pascal, beside its ``vertices``, (V, 3), whatever number of
            points the training took. As attributes the run's id and spec, precision, transform, evidence class and
            where the inputs came from.
        key: the array of `file`, None its only one; of bodies the split, ``"test"`` by default.
        layout: of fields, the axes, as in ``"n y x c"``; by default (n, channels, *grid), or (n, *grid) for one
            channel.
        precision, transform: other ones than the run was trained in.
        progress: whether to draw a bar; by default on a terminal.

    Returns:
        The run that was applied.

    Raises:
        MpnoError: as :func:`load_run`; no such file, array or split; bodies for a run on fields, or the reverse; wrong
            channels, too coarse a grid, another latent grid, a body that the model does not take; values that are not
            finite, given or predicted.
    """
    file, out = Path(file), Path(out)
    finished = load_run(run, precision=precision, transform=transform)
    _check_out(out, file)
    torch.set_num_threads(finished.run.threads)
    refuse_shortcuts()
    if finished.run.data.name in BODIES:
        given = given_bodies(finished, file, key, layout)
        _write_file(file, out, finished, given, lambda written: write_pressures(finished, given, written, progress))
        return finished
    if holds_bodies(file):
        raise MpnoError(f"{file}: is a store of bodies; {finished.run.id} takes fields on a grid: give a file of those")
    with Arrays(file) as arrays:
        where, array = arrays.get(key)
        values = fields(where, array, layout or _layout(where, array.shape, finished))
        _check(values, finished)
        _write_file(file, out, finished, values, lambda written: _write(finished, values, written, progress))
    return finished


def _write_file(
    file: Path, out: Path, finished: FinishedRun, given: Fields | GivenBodies, write: Callable[[h5py.File], None]
) -> None:
    try:
        with replacing(out) as temporary, h5py.File(temporary, "w") as written:
            write(written)
            written.attrs.update(_attributes(finished, given, file))
    except OSError as error:
        raise MpnoError(f"{out}: cannot be written ({error}); make room or choose another folder") from None


def _write(finished: FinishedRun, given: Fields, written: h5py.File, progress: bool | None) -> None:
    assert finished.output is not None
    shape = (len(given), len(finished.output.mean), *given.grid)
    dataset = written.create_dataset(KEY, shape, np.float32, fletcher32=True, chunks=(1, *shape[1:]))
    model: Any = finished.run.model
    size = max(1, VALUES // (prod(given.grid) * getattr(model, "width", getattr(model, "features", 1))))
    hidden = None if progress is None else not progress
    with tqdm(total=len(given), desc=f"predict {given.where}", unit="sample", disable=hidden, file=sys.stderr) as bar:
        for start in range(0, len(given), size):
            stop = min(start + size, len(given))
            values = _finite(given, start, stop)
            outputs = finished.predict(torch.from_numpy(values))
            _check_outputs(finished, values, outputs, given, start)
            dataset[start:stop] = outputs.numpy()
            bar.update(stop - start)


def _layout(where: str, shape: Sequence[int], finished: FinishedRun) -> str:
    """(n, channels, *grid), where the run has one channel (n, *grid) too."""
    axes, channels = finished.run.axes, len(finished.input.mean) if finished.input else 0
    grid = " ".join(AXES[axes])
    if len(shape) == axes + 1 and channels == 1:
        return f"n {grid}"
    if len(shape) == axes + 2:
        return f"n c {grid}"
    bare = f", or (n, {grid.replace(' ', ', ')})" if channels == 1 else ""
    raise MpnoError(
        f"{where}: has shape {tuple(shape)}; {finished.run.id} takes (n, {channels}, {grid.replace(' ', ', ')}){bare}"
    )


def _check(given: Fields, finished: FinishedRun) -> None:
    assert finished.input is not None
    if not len(given):
        raise MpnoError(f"{given.where}: holds no samples; give at least one, or name the axes by --layout")
    channels = len(finished.input.mean)
    if given.channels != channels:
        raise MpnoError(
            f"{given.where}: has {given.channels} channels as {' '.join(given.layout)}; {finished.run.id} takes "
            f"{channels}: choose another array by --input, or name the axes by --layout"
        )
    if len(given.grid) != finished.run.axes:
        raise MpnoError(
            f"{given.where}: its grid {given.grid} has {len(given.grid)} axes, the run's {finished.run.axes}"
        )
    modes = getattr(finished.run.model, "modes", None)
    # Of the sphere's 2n longitudes, orders up to n are resolved.
    least = (modes[0], 2 * modes[1]) if modes and finished.run.model.name == "sfno" else modes
    if least and any(points < most for points, most in zip(given.grid, least, strict=True)):
        raise MpnoError(
            f"{given.where}: its grid {given.grid} is too coarse for the modes {modes} of {finished.run.id}; "
            f"give at least {tuple(least)} points"
        )


def _finite(given: Fields, start: int, stop: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        values = np.array(given.read(start, stop), dtype=np.float32, order="C")  # a copy: torch wants to write
    bad = ~np.isfinite(values).reshape(len(values), -1).all(1)
    if bad.any():
        raise MpnoError(
            f"{given.where}: sample {start + int(np.argmax(bad))} holds NaN, infinity or values beyond float32; "
            "leave it out; nothing was written"
        )
    return values


def _check_outputs(finished: FinishedRun, values: np.ndarray, outputs: torch.Tensor, given: Fields, start: int) -> None:
    bad = ~torch.isfinite(outputs).flatten(1).all(1)
    if not bad.any():
        return
    row = int(bad.int().argmax())
    assert finished.input is not None
    x = finished.input.encode(torch.from_numpy(values[row : row + 1]).to(finished.device))
    raise finished.not_finite(x, f"{given.where}: the output of sample {start + row}")


def _check_out(out: Path, file: Path) -> None:
    if out.suffix not in (".h5", ".hdf5"):
        raise MpnoError(f"{out}: ends in {out.suffix or 'nothing'}; outputs are written as HDF5, so name it .h5")
    if out.exists() and file.exists() and out.samefile(file):
        raise MpnoError(f"{out}: is the file of the inputs; choose another")


def _attributes(finished: FinishedRun, given: Fields | GivenBodies, file: Path) -> dict[str, str]:
    return {
        "run": finished.run.id,
        "spec": finished.run.canonical(),
        "precision": finished.setting.label,
        "transform": finished.spec.transform,
        "evidence": finished.evidence,
        "input": given.where.removeprefix(f"{file.parent}/"),  # the folder is this machine's
        "layout": "v" if isinstance(given, GivenBodies) else "n c " + " ".join(given.axes),
        "created_by": f"mpno {mpno.__version__}",
    }
