"""The public records: which files hold which data set, how much they hold, and the digests that are pinned.

A file without a pin takes its md5 and size from its record when it is first downloaded, and is shown as ``unpinned``
(:mod:`mpno.datasets.digests`). A user's run never changes this module: :func:`mpno.datasets.digests.lines_to_commit`
prints the lines that a maintainer adds to ``PINS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mpno.specs import MpnoError, allowed

SplitName = Literal["train", "test"]


@dataclass(frozen=True)
class Pin:
    """What a whole file must be: md5, bytes (None: not known), and who said so."""

    md5: str
    size: int | None
    source: str


@dataclass(frozen=True)
class Member:
    """A torch archive of x and y inside a file; `samples` and `sha256` where they are known."""

    name: str
    split: SplitName
    resolution: int
    samples: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class File:
    """One file of a record. `unpacked`: more bytes than its members may ever take, so that a bomb is refused."""

    record: int
    name: str
    unpacked: int
    members: tuple[Member, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.record}/{self.name}"


@dataclass(frozen=True)
class Record:
    """A record of Zenodo: a data set's files, and what its store says about them."""

    id: int
    title: str
    licence: str
    citation: str
    units: tuple[str, str]
    descriptions: tuple[str, str]
    files: tuple[File, ...]


PINS: dict[str, Pin] = {
    "12825163/nsforcing_128.tgz": Pin(
        "70a389207ac93935d5ff3d4289d43581", None, "quoted from the record by a public project that checks it"
    ),
    "12825163/nsforcing_1024.tgz": Pin(
        "8b5c239a215e5e9ff0863fed2e8adcdf", None, "quoted from the record by a public project that checks it"
    ),
    "13936501/processed-car-pressure-data.tar.gz": Pin(
        "24a46fe791085201d48ee5db7b6cfc86",
        198_216_827,
        "quoted by two public projects that found it in what they downloaded; the size by one of them",
    ),
}
"""Keyed record/file. These three were found in public projects, not read from the records: a file that agrees with
its pin is the one these projects had. The digests of the members below come from two such projects (Navier-Stokes)
and from one of the two (Darcy)."""

_SHA256 = {
    "nsforcing_train_128.pt": "6c145749f40aa1f00c2088e662f6668e1ca98018353a0f27a814732278c1a964",
    "nsforcing_test_128.pt": "a7e1ed8ebc050317b8ccb7ef35dfc488e835337fcdefc62f56e01596accccbe5",
    "darcy_train_128.pt": "b0b98f29679459f9eeb03657835b683140abf186f62bcc92efb886f022d1447c",
    "darcy_test_128.pt": "549ac096e1a772ac355297deed98955f7ca6d03c97295705f66e3c194cf20382",
}
_LIBRARY = "Kossaifi et al., A Library for Learning Neural Operators, arXiv:2412.10354"
_DARCY = 12784353
_NAVIER_STOKES = 12825163
_CAR = 13936501


def _grids(record: int, prefix: str, samples: dict[int, tuple[int | None, int | None]]) -> tuple[File, ...]:
    """One archive per resolution with a train and a test member; `samples` holds the known numbers of pairs."""
    files = []
    for resolution, (train, test) in samples.items():
        counts: dict[SplitName, int | None] = {"train": train, "test": test}
        members = tuple(
            Member(name := f"{prefix}_{split}_{resolution}.pt", split, resolution, count, _SHA256.get(name))
            for split, count in counts.items()
        )
        # Two float64 fields of 20,000 samples: more than any of them can hold.
        files.append(File(record, f"{prefix}_{resolution}.tgz", 2 * 8 * 20_000 * resolution**2, members))
    return tuple(files)


RECORDS: dict[str, Record] = {
    "darcy": Record(
        id=_DARCY,
        title="Darcy flow on the unit square, public set",
        licence=f"as the record states: https://zenodo.org/records/{_DARCY}",
        citation=f"{_LIBRARY}; data doi:10.5281/zenodo.{_DARCY}; "
        "Li et al., Fourier Neural Operator for Parametric Partial Differential Equations, ICLR 2021 (the problem)",
        units=("as shipped", "dimensionless, as shipped"),
        descriptions=(
            "Coefficient of the PDE -div(a grad y) = 1 as shipped; which two values it stands for is not in the file",
            "Solution y as shipped, y = 0 on the boundary",
        ),
        # The 16 file is the small set's train file with 50 test pairs; numbers not given here were not to be had.
        files=_grids(
            _DARCY, "darcy", {16: (1000, 50), 32: (None, 1000), 64: (None, None), 128: (5000, 1000), 421: (None, None)}
        ),
    ),
    "navier-stokes": Record(
        id=_NAVIER_STOKES,
        title="Navier-Stokes on the torus, forcing to vorticity, public set",
        licence="CC-BY-4.0",
        citation=f"{_LIBRARY}; data doi:10.5281/zenodo.{_NAVIER_STOKES}",
        units=("dimensionless, as shipped", "dimensionless, as shipped"),
        descriptions=(
            "Forcing of the vorticity equation on the periodic square, as shipped",
            "Vorticity at the final time, as shipped; the record gives a Reynolds number of 500 and a solver on "
            "1024 x 1024 points, but neither the final time nor the viscosity",
        ),
        files=_grids(_NAVIER_STOKES, "nsforcing", {128: (10_000, 2000), 1024: (None, None)}),
    ),
    "car": Record(
        id=_CAR,
        title="Shape-Net Car, surface pressure of 611 cars (500 train, 111 test)",
        licence=f"as the record states: https://zenodo.org/records/{_CAR}",
        citation=f"Umetani and Bickel, Learning three-dimensional flow for interactive aerodynamic design, "
        f"ACM Transactions on Graphics, 2018; {_LIBRARY}; data doi:10.5281/zenodo.{_CAR}",
        units=("as shipped", "as shipped"),
        descriptions=("Triangle mesh of the car's surface", "Pressure at its vertices"),
        files=(File(_CAR, "processed-car-pressure-data.tar.gz", 4 * 2**30),),
    ),
}
CAR_SAMPLES: dict[SplitName, int] = {"train": 500, "test": 111}


def record(name: str) -> Record:
    """The record of a data set.

    Raises:
        MpnoError: `name` has no public record.
    """
    if name not in RECORDS:
        raise MpnoError(f"data set {name!r} has no public record; {allowed(name, RECORDS)}")
    return RECORDS[name]


def file_at(name: str, resolution: int) -> File:
    """The file of a grid data set that holds `resolution`.

    Raises:
        MpnoError: the record has no file at this resolution.
    """
    files = {member.resolution: file for file in record(name).files for member in file.members}
    if resolution not in files:
        raise MpnoError(
            f"{name}: the public record {record(name).id} has no file at resolution {resolution}; "
            f"allowed: {', '.join(map(str, files)) or 'none, it holds no grids'}; or use source generate"
        )
    return files[resolution]
