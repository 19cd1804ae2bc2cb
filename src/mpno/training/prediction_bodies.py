"""A finished run applied to a store of bodies: the pressure at every vertex."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from tqdm import tqdm

from mpno.datasets.meshes import LAYOUT, Bodies, Body
from mpno.specs import MpnoError, allowed
from mpno.training.bodies import Maker, place
from mpno.training.finished import FinishedRun
from mpno.training.scaling import BodyScaling

SPLITS = ("train", "test")


@dataclass(frozen=True)
class GivenBodies:
    """The bodies of a split with what makes each a model's input.

    Attributes:
        where: file and split, for messages.
    """

    bodies: Bodies
    maker: Maker
    scaling: BodyScaling
    where: str


def holds_bodies(path: Path) -> bool:
    """Whether a file is a store of bodies."""
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get("layout") == LAYOUT
    except OSError:
        return False


def given_bodies(finished: FinishedRun, file: Path, split: str | None, layout: str | None) -> GivenBodies:
    """The bodies of `file` that a run on bodies is applied to.

    Raises:
        MpnoError: no such file, not a store of bodies, no such split, another latent grid than the run's, or the run
            kept no statistics.
    """
    split = split or "test"
    if not file.is_file():
        raise MpnoError(f"{file}: no such file; give a store of bodies")
    if not holds_bodies(file):
        raise MpnoError(
            f"{file}: is no store of bodies, which {finished.run.id} takes; give one as python -m mpno data make "
            f"{finished.run.data.name} writes"
        )
    if layout is not None:
        raise MpnoError(f"{file}: is a store of bodies, which takes no layout; leave out {layout!r}")
    if split not in SPLITS:
        raise MpnoError(f"{file}: no split {split!r}; {allowed(split, SPLITS)}")
    if finished.bodies is None:
        raise MpnoError(f"{finished.run.id}: its weights came without the statistics of its bodies; train it again")
    maker = Maker(finished.run, finished.bodies, finished.device)
    return GivenBodies(maker.bodies(file, split, 1), maker, finished.bodies, f"{file}:{split}")


def write_pressures(finished: FinishedRun, given: GivenBodies, written: h5py.File, progress: bool | None) -> None:
    """Write ``/{index:05d}/y`` (V,), pascal, and ``vertices`` (V, 3), metres, of every body."""
    hidden = None if progress is None else not progress
    count = len(given.bodies)
    for number in tqdm(range(count), f"predict {given.where}", unit="body", disable=hidden, file=sys.stderr):
        body, where = given.bodies[number], place(given.bodies, number)
        _check_speed(body, where, given.scaling)
        group = written.create_group(f"{number:05d}")
        for name, values in (("y", _pressure(finished, given, body, where)), ("vertices", body.vertices)):
            group.create_dataset(name, data=values, dtype=np.float32, chunks=values.shape, fletcher32=True)


def _pressure(finished: FinishedRun, given: GivenBodies, body: Body, where: str) -> np.ndarray:
    geometry = given.maker.geometry(body, where)
    with torch.no_grad():
        pressure = torch.as_tensor(given.scaling.pressure.decode(finished.model(geometry)))
    if not bool(pressure.isfinite().all()):
        raise finished.not_finite(geometry, f"{where}: its pressure")
    return pressure[0, 0].cpu().numpy()


def _check_speed(body: Body, where: str, scaling: BodyScaling) -> None:
    """Refuse another inlet speed where the model knows one alone: pressures go with its square."""
    one = scaling.only_speed
    if one is not None and body.inlet_speed is not None and not np.isclose(body.inlet_speed, one, rtol=1e-6):
        raise MpnoError(
            f"{where}: has inlet speed {body.inlet_speed:g}, every body of the training {one:g}, so that the model "
            "knows no other; train on several"
        )
