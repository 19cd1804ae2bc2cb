"""The HDF5 file of a set of bodies: ``/{train|test}/{index}/{field}``, written and read one body at a time.

Fields of a body with V vertices, T triangles, P parameters and a latent grid of n points per axis: `vertices` (V, 3),
`normals` (V, 3), `areas` (V,), `pressure` (V,), `parameters` (P,), `sdf` (n, n, n), all float32, and `triangles`
(T, 3) int32. Attributes of a body: `inlet_speed` and `digest`. Of the file, besides those of every store: `layout`
("meshes") and, as JSON, `box` (corners of the latent grid), `parameter_names` and `statistics`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, overload

import h5py
import numpy as np

from mpno.datasets.hdf5 import check_array, reading
from mpno.datasets.normalise import EPS, Normaliser
from mpno.datasets.store import FORMAT_VERSION, REQUIRED, digest, read_attrs
from mpno.specs import MpnoError
from mpno.specs.files import replacing

LAYOUT = "meshes"
FIELDS = {
    "vertices": "vertices, metres",
    "triangles": "vertex numbers of each triangle, counter-clockwise seen from outside",
    "normals": "outward unit normals at the vertices: the mean of the triangles' weighted by their angles",
    "areas": "area belonging to each vertex, a third of that of the triangles around it, square metres",
    "pressure": "pressure at the vertices over that of the free stream, pascal",
    "parameters": "what the shape and the flow were made from; see parameter_names",
    "sdf": "signed distance to the surface at the points of the latent grid, negative inside, metres",
}
NORMALISED = ("pressure", "areas", "sdf", "parameters", "inlet_speed")
"""What the statistics of the training split are kept of."""


@dataclass(frozen=True)
class Body:
    """One body and the pressure on it.

    Attributes:
        vertices, normals: (V, 3) float32, metres and unit vectors.
        triangles: (T, 3) int32.
        areas: (V,) float32, square metres.
        pressure: (V,) float32, pascal.
        parameters: (P,) float32; P may be 0.
        inlet_speed: metres per second; None where it is not known.
        sdf: (n, n, n) float32, metres, on the grid from the low to the high corner of `box`.
        box: (2, 3) float64, metres.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray
    areas: np.ndarray
    pressure: np.ndarray
    parameters: np.ndarray
    inlet_speed: float | None
    sdf: np.ndarray
    box: np.ndarray

    @property
    def directions(self) -> tuple[int, int, int]:
        """Which axes lie along the body, across it and upwards: see :func:`directions`."""
        return directions(self.box)

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields as they are stored."""
        kinds = {name: "<i4" if name == "triangles" else "<f4" for name in FIELDS}
        return {name: np.ascontiguousarray(getattr(self, name), dtype=kind) for name, kind in kinds.items()}


def directions(box: np.ndarray) -> tuple[int, int, int]:
    """Which axes lie along the bodies, across them and upwards.

    Along is the longest of the latent grid's box, (2, 3); across, of the other two, the one it is more symmetric about.
    """
    low, high = box
    along = int(np.argmax(high - low))
    others = [axis for axis in range(3) if axis != along]
    lopsided = np.abs(high + low) / (high - low)
    across, up = sorted(others, key=lambda axis: lopsided[axis])
    return along, across, up


class Bodies(Sequence[Body]):
    """The bodies of a split, each read when it is asked for. Holds no open file, so other processes can have it too."""

    def __init__(self, path: Path, split: str) -> None:
        self.path, self.split = path, split
        with _reading(path) as file:
            group = file.get(split)
            if not isinstance(group, h5py.Group):
                raise MpnoError(f"{path}: no {split} bodies; it has {', '.join(file) or 'nothing'}")
            self._length = len(group)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Body: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Body]: ...
    def __getitem__(self, index: int | slice) -> Body | Sequence[Body]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path}: {self.split} body {index}; allowed: 0 to {len(self) - 1}")
        with _reading(self.path) as file:
            return _read(file, self.split, index % len(self))


def open_bodies(path: Path, split: str) -> Bodies:
    """The bodies of a split, read lazily.

    Raises:
        MpnoError: no such file, not a store of bodies, or no such split; on reading a body, values that are not finite.
    """
    return Bodies(path, split)


def load_body(path: Path, split: str, index: int) -> Body:
    """Read one body.

    Raises:
        MpnoError: as :func:`open_bodies`, or no such body.
    """
    bodies = open_bodies(path, split)
    if not 0 <= index < len(bodies):
        raise MpnoError(f"{path}: {split} body {index}; allowed: 0 to {len(bodies) - 1}")
    return bodies[index]


def statistics(path: Path) -> dict[str, Normaliser]:
    """Mean and standard deviation of each of `NORMALISED` over the training bodies; one channel, or P of parameters.

    Fields that are not there (no parameters, no inlet speed) are left out.

    Raises:
        MpnoError: no such file, or not a store of bodies.
    """
    with _reading(path) as file:
        kept = json.loads(str(file.attrs["statistics"]))
        return {name: Normaliser(tuple(one["mean"]), tuple(one["std"])) for name, one in kept.items()}


def write_bodies(
    path: Path,
    splits: Mapping[str, Iterable[Body]],
    attrs: Mapping[str, Any],
    descriptions: Mapping[str, str] | None = None,
) -> None:
    """Write bodies as one HDF5 file, whole or not at all, with one body in memory at a time.

    Args:
        path: the file.
        splits: ``"train"`` and ``"test"``, each drawn from once and in order.
        attrs: the root attributes of every store (``store.REQUIRED``) and `parameter_names`, one per parameter.
        descriptions: what to say of a field instead of what ``FIELDS`` says.

    Raises:
        MpnoError: a body does not fit the layout or its own mesh, is there twice, has another box or latent grid than
            the first; an attribute or a split is missing; or the file cannot be written.
    """
    if missing := sorted({*REQUIRED, "parameter_names"} - set(attrs)):
        raise MpnoError(
            f"{path}: attribute {missing[0]} is missing; give all of: {', '.join(REQUIRED)}, parameter_names"
        )
    if set(splits) != {"train", "test"}:
        raise MpnoError(f"{path}: splits {', '.join(splits) or 'none'}; give train and test")
    try:
        with replacing(path) as temporary, h5py.File(temporary, "w") as file:
            _Writer(path, file, dict(attrs), dict(FIELDS) | dict(descriptions or {})).write(splits)
    except OSError as error:
        raise MpnoError(f"{path}: cannot be written ({error}); make room or choose another folder") from None


def verify_bodies(path: Path) -> str:
    """Recompute the digest of every body and of the file, and return the latter.

    Raises:
        MpnoError: the file cannot be read, or names the first body whose digest is not the one it carries.
    """
    found: dict[str, str] = {}
    with _reading(path) as file:
        for split in ("test", "train"):
            for index in range(len(_group(file, split))):
                body = _read(file, split, index)
                key = f"{split}/{index:05d}"
                stated = _group(file, key).attrs.get("digest")
                found[key] = _digest(body)
                if found[key] != stated:
                    raise MpnoError(
                        f"{path}: digest of {key} is {found[key]}, its own attribute says {stated}; delete "
                        "the file and make it anew"
                    )
        stated = file.attrs.get("digest")
    if (total := _total(found)) != stated:
        raise MpnoError(f"{path}: digest is {total}, its own attribute says {stated}; delete it and make it anew")
    return total


class _Writer:
    """The state of one file while it is written."""

    def __init__(self, path: Path, file: h5py.File, attrs: dict[str, Any], descriptions: dict[str, str]) -> None:
        self.path, self.file, self.attrs, self.descriptions = path, file, attrs, descriptions
        self.parameters = len(attrs["parameter_names"])
        self.grid: tuple[tuple[int, ...], list] | None = None
        self.keys: dict[str, str] = {}
        """Of each digest, the body that has it."""
        self.moments = {name: _Moments() for name in NORMALISED}

    def write(self, splits: Mapping[str, Iterable[Body]]) -> None:
        for split in ("train", "test"):
            count = 0
            for body in splits[split]:
                self._add(split, f"{split}/{count:05d}", body)
                count += 1
            if not count:
                raise MpnoError(f"{self.path}: no {split} bodies; give at least one")
        assert self.grid is not None
        root = self.attrs | {
            "layout": LAYOUT,
            "format_version": FORMAT_VERSION,
            "created_by": _creator(),
            "box": json.dumps(self.grid[1]),
            "parameter_names": json.dumps(list(self.attrs["parameter_names"])),
            "statistics": json.dumps({name: m.summary() for name, m in self.moments.items() if m.count}),
            "digest": _total({key: found for found, key in self.keys.items()}),
        }
        for name, value in root.items():
            self.file.attrs[name] = h5py.Empty("i8") if value is None else value

    def _add(self, split: str, key: str, body: Body) -> None:
        arrays = body.arrays()
        self._check(key, body, arrays)
        found = _digest(body)
        if (twin := self.keys.setdefault(found, key)) != key:
            raise MpnoError(f"{self.path}: {key} and {twin} are the same body; give each once, in one split")
        group = self.file.create_group(key)
        group.attrs["inlet_speed"] = h5py.Empty("f8") if body.inlet_speed is None else float(body.inlet_speed)
        group.attrs["digest"] = found
        for name, array in arrays.items():
            # A body is read whole, so each of its fields is one chunk. Without times, equal bodies make equal bytes.
            chunks = array.shape if array.size else None
            options = {"chunks": chunks, "compression": "gzip", "shuffle": True} if chunks else {}
            kept = group.create_dataset(name, data=array, track_times=False, **options)
            kept.attrs["description"] = self.descriptions[name]
        if split == "train":
            speed = np.array([] if body.inlet_speed is None else [body.inlet_speed])
            for name, moments in self.moments.items():
                values = speed if name == "inlet_speed" else arrays[name]
                if values.size:
                    moments.add(values.reshape(-1, self.parameters if name == "parameters" else 1))

    def _check(self, key: str, body: Body, arrays: dict[str, np.ndarray]) -> None:
        """Refuse a body whose arrays do not belong together, or not to this file."""
        count = len(arrays["vertices"])
        n = arrays["sdf"].shape[0] if arrays["sdf"].ndim else 0
        wanted = {
            "vertices": (count, 3),
            "normals": (count, 3),
            "areas": (count,),
            "pressure": (count,),
            "parameters": (self.parameters,),
            "triangles": (len(arrays["triangles"]), 3),
            "sdf": (n, n, n),
        }
        for name, shape in wanted.items():
            if arrays[name].shape != shape or (0 in shape and name != "parameters"):
                raise MpnoError(f"{self.path}: {key}/{name} is {arrays[name].shape}, allowed: {shape}, nothing empty")
            if not np.isfinite(arrays[name]).all():
                raise MpnoError(f"{self.path}: {key}/{name} holds values that are not finite; nothing was written")
        low, high = arrays["triangles"].min(), arrays["triangles"].max()
        if low < 0 or high >= count:
            raise MpnoError(f"{self.path}: {key}/triangles names vertices {low} to {high}; allowed: 0 to {count - 1}")
        if body.inlet_speed is not None and not np.isfinite(body.inlet_speed):
            raise MpnoError(f"{self.path}: {key} has inlet speed {body.inlet_speed}; allowed: a finite number or None")
        here = (arrays["sdf"].shape, np.asarray(body.box, dtype=np.float64).tolist())
        self.grid = self.grid or here
        if here != self.grid:
            raise MpnoError(
                f"{self.path}: {key} has a latent grid of {here[0]} on {here[1]}, the first body {self.grid[0]} on "
                f"{self.grid[1]}; use one grid for all"
            )


class _Moments:
    """Mean and variance per channel of what is added, in one pass (Chan, Golub, LeVeque, 1983)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, np.zeros(1), np.zeros(1)

    def add(self, values: np.ndarray) -> None:
        """Count in `values`, (n, channels)."""
        values = values.astype(np.float64)
        count, mean = len(values), values.mean(axis=0)
        total, apart = self.count + count, mean - self.mean
        self.squares = self.squares + ((values - mean) ** 2).sum(axis=0) + apart**2 * self.count * count / total
        self.mean = self.mean + apart * count / total
        self.count = total

    def summary(self) -> dict[str, list[float]]:
        std = np.maximum(np.sqrt(self.squares / self.count), EPS)
        return {"mean": self.mean.tolist(), "std": std.tolist()}


@contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    layout = read_attrs(path).get("layout")
    if layout != LAYOUT:
        raise MpnoError(f"{path}: layout is {layout}; this reads stores of bodies, layout {LAYOUT}")
    with reading(path), h5py.File(path, "r") as file:
        yield file


def _group(file: h5py.File, key: str) -> h5py.Group:
    item = file.get(key)
    if not isinstance(item, h5py.Group):
        raise MpnoError(f"{file.filename}: {key} is missing; delete the file and make it anew")
    return item


def _read(file: h5py.File, split: str, index: int) -> Body:
    key = f"{split}/{index:05d}"
    group = _group(file, key)
    values: dict[str, np.ndarray] = {}
    for name in FIELDS:
        item = group.get(name)
        if not isinstance(item, h5py.Dataset):
            raise MpnoError(f"{file.filename}: {key}/{name} is missing; delete the file and make it anew")
        values[name] = check_array(Path(file.filename), f"{key}/{name}", item)[()]
        if not np.isfinite(values[name]).all():
            raise MpnoError(f"{file.filename}: {key}/{name} holds values that are not finite; make the file anew")
    speed = group.attrs["inlet_speed"]
    inlet = None if isinstance(speed, h5py.Empty) else float(np.asarray(speed))
    return Body(**values, inlet_speed=inlet, box=np.array(json.loads(str(file.attrs["box"]))))


def _digest(body: Body) -> str:
    speed = np.array([] if body.inlet_speed is None else [body.inlet_speed], dtype="<f8")
    return digest(body.arrays() | {"inlet_speed": speed})


def _total(digests: Mapping[str, str]) -> str:
    return hashlib.sha256("".join(f"{key}:{digests[key]};" for key in sorted(digests)).encode()).hexdigest()


def _creator() -> str:
    try:
        return f"mpno {version('mpno')}"
    except PackageNotFoundError:
        return "mpno from source"
