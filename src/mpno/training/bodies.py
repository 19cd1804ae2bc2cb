"""The samples of a run on bodies: each body with its graphs, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from mpno.datasets.meshes import Bodies, Body, open_bodies
from mpno.datasets.normalise import Normaliser
from mpno.models.graph import Geometry
from mpno.specs import GINOSpec, MpnoError, RunSpec
from mpno.training.samples import Batches, Samples
from mpno.training.scaling import BodyScaling

FEATURES = 3
"""Channels given at every surface point: the normal."""
ROUNDING = 1e-6
"""By what share of the box float32 vertices may stand outside it, where a body touches it."""
T = TypeVar("T")
Pair = tuple[Geometry, Tensor]


class OneByOne(Generic[T]):
    """Bodies, or targets on them, that are taken one at a time because they differ in their points."""

    def __init__(self, read: Callable[[int], T], count: int, device: torch.device) -> None:
        self._read, self._count, self.device = read, count, device

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: slice | Tensor) -> T:
        """The one body that a slice, or an integer tensor of body numbers, asks for.

        Raises:
            MpnoError: it asks for none, or several.
        """
        numbers = range(*index.indices(len(self))) if isinstance(index, slice) else index.tolist()
        if len(numbers) != 1:
            raise MpnoError(f"bodies: {len(numbers)} asked for at once; take one, they differ in their points")
        return self._read(numbers[0])

    def split(self, size: int) -> Iterator[T]:
        """Every body in order, each alone whatever `size` allows."""
        return (self._read(number) for number in range(len(self)))


@dataclass
class Room:
    """The bytes that are left for pairs to be kept, of all splits together."""

    left: int


class Split:
    """The bodies of a split as pairs of geometry and pressure, made when first asked for and kept while there is room.

    Args:
        make: the pair of a body.
        pressure: its pressure alone, for which no graph is built.
        room: what pairs kept take from; once none is left, a body's graphs are computed each time it is asked for.
    """

    def __init__(self, make: Callable[[int], Pair], pressure: Callable[[int], Tensor], room: Room) -> None:
        self._make, self._pressure, self._room = make, pressure, room
        self._kept: dict[int, Pair] = {}
        self._last: tuple[int, Pair] | None = None

    def geometry(self, number: int) -> Geometry:
        pair = self._held(number)
        if pair is None:
            pair = self._make(number)
            self._last = number, pair
            size = pair[0].nbytes + pair[1].nbytes
            if size <= self._room.left:
                self._kept[number] = pair
                self._room.left -= size
        return pair[0]

    def pressure(self, number: int) -> Tensor:
        pair = self._held(number)
        return self._pressure(number) if pair is None else pair[1]

    def _held(self, number: int) -> Pair | None:
        if self._last is not None and self._last[0] == number:
            return self._last[1]
        return self._kept.get(number)


def load_bodies(
    spec: RunSpec, path: Path, device: torch.device, bound: int, scaling: BodyScaling | None = None
) -> Samples:
    """The bodies of `spec` from its HDF5 file, mapped from the file's box to the unit cube.

    A geometry has the normals as features of its points. Its latent channels are the signed distance and, where the
    training bodies differ in it, the inlet speed, both normalised. Targets are the pressures at the points, (1, 1, n).
    Where `data.points` are fewer than a body has, they are drawn from its vertices without replacement, the same for
    every run on the data.

    Args:
        spec, path, device: the run, its data file, where tensors go.
        bound: bytes of geometries kept in memory with their graphs, of training and tests together.
        scaling: that of a run that is finished; by default that of the file's training bodies.

    Raises:
        MpnoError: the file is missing or holds fewer bodies or another latent grid than asked for; on taking a body,
            a surface point has no latent point within the radius.
    """
    data, plain = spec.data, Normaliser.identity(1)
    scaling = scaling or BodyScaling.fitted(path, normalise_output=spec.training.normalise_output)
    maker, room = Maker(spec, scaling, device), Room(bound)

    def placed(split: str, count: int, target: Normaliser) -> tuple[Batches[Geometry], Batches[Tensor]]:
        bodies = maker.bodies(path, split, count)
        pairs = Split(
            lambda number: maker.pair(bodies, number, target),
            lambda number: maker.pressure(bodies, number, target),
            room,
        )
        return OneByOne(pairs.geometry, count, device), OneByOne(pairs.pressure, count, device)

    x, y = placed("train", data.n_train, scaling.pressure)
    tests = {}
    for resolution in data.test_resolutions:
        if resolution != data.resolution:
            raise MpnoError(
                f"{path}: its latent grid has {data.resolution} points along each axis, a test asks for {resolution}; "
                f"set data.test_resolutions to [{data.resolution}], to evaluate a run --resolution {data.resolution}"
            )
        tests[resolution] = placed("test", data.n_tests(resolution), plain)
    return Samples(x, y, tests, scaling.pressure, None, maker.channels, bodies=scaling)


class Maker:
    """Makes a body of a file a geometry, in training as in prediction.

    Args:
        spec: the run.
        scaling: its frame and statistics.
        device: where tensors go.

    Attributes:
        channels: of the points' features, of the pressure, of the latent grid.
    """

    def __init__(self, spec: RunSpec, scaling: BodyScaling, device: torch.device) -> None:
        assert isinstance(spec.model, GINOSpec)
        self._spec, self._radius, self._device = spec.data, spec.model.radius, device
        self._scaling = scaling
        self.channels = FEATURES, 1, 1 + scaling.takes_speed

    def bodies(self, path: Path, split: str, count: int) -> Bodies:
        """The bodies of a split.

        Raises:
            MpnoError: they are fewer than `count`, or have another latent grid than the run's.
        """
        bodies = open_bodies(path, split)
        if len(bodies) < count:
            raise MpnoError(f"{path}: has {len(bodies)} {split} bodies, {count} are asked for; lower the count")
        first = bodies[0]
        found, wanted = first.sdf.shape[0], self._spec.resolution
        if found != wanted:
            raise MpnoError(
                f"{path}: has a latent grid of {found} points along each axis, not {wanted}; "
                f"make it with resolution {wanted}, or set data.resolution to {found} and train"
            )
        if not self._scaling.same_box(first.box):
            raise MpnoError(
                f"{path}: has a latent grid on the box {first.box.tolist()}, the run was trained on "
                f"{[*map(list, self._scaling.box)]}; give bodies in that box"
            )
        return bodies

    def pair(self, bodies: Bodies, number: int, target: Normaliser) -> Pair:
        """A body's geometry at the points that the run takes of it, and the pressure there, (1, 1, n)."""
        body = bodies[number]
        taken = self._points(body, bodies.split, number)
        return self.geometry(body, place(bodies, number), taken), self._target(body, taken, target)

    def pressure(self, bodies: Bodies, number: int, target: Normaliser) -> Tensor:
        """The same pressure alone."""
        body = bodies[number]
        return self._target(body, self._points(body, bodies.split, number), target)

    def geometry(self, body: Body, where: str, taken: np.ndarray | None = None) -> Geometry:
        """A body's geometry at the vertices numbered in `taken`, by default at all of them.

        Raises:
            MpnoError: a vertex outside the box or without latent neighbour, or no inlet speed where it is an input.
        """
        taken = np.arange(len(body.vertices)) if taken is None else taken
        low, high = np.array(self._scaling.box)
        points = (body.vertices[taken] - low) / (high - low)
        inside = points.clip(0, 1)
        points = _tensor(inside if np.abs(points - inside).max() <= ROUNDING else points)
        features = _tensor(body.normals[taken])
        latent = self._latent(body, where)
        try:
            geometry = Geometry.of(points, latent, features, radius=self._radius)
        except MpnoError as error:
            raise MpnoError(f"{where}: {error}") from None
        return geometry.to(self._device)

    def _target(self, body: Body, taken: np.ndarray, target: Normaliser) -> Tensor:
        return _tensor(target.encode(body.pressure[taken][None, None])).to(self._device)

    def _points(self, body: Body, split: str, number: int) -> np.ndarray:
        count, wanted = len(body.vertices), self._spec.points
        if wanted is None or wanted >= count:
            return np.arange(count)
        stream = np.random.default_rng([self._spec.seed, split == "test", number])
        return np.sort(stream.choice(count, wanted, replace=False))

    def _latent(self, body: Body, where: str) -> Tensor:
        channels = [self._scaling.sdf.encode(body.sdf[None, None])[0]]
        if self._scaling.takes_speed:
            assert self._scaling.inlet_speed is not None
            if body.inlet_speed is None:
                raise MpnoError(f"{where}: has no inlet speed, which is an input of the model; give the body one")
            speed = self._scaling.inlet_speed.encode(np.array([[body.inlet_speed]])).item()
            channels.append(np.full_like(channels[0], speed))
        return _tensor(np.concatenate(channels))


def place(bodies: Bodies, number: int) -> str:
    """A body as messages name it."""
    return f"{bodies.path}: {bodies.split} body {number}"


def _tensor(array: np.ndarray) -> Tensor:
    return torch.as_tensor(array, dtype=torch.float32)
