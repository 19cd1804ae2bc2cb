"""The public Darcy flow set, taken from the wheel it ships in."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from mpno.datasets.store import write_store
from mpno.specs import MpnoError
from mpno.specs.public import PUBLIC_PAIRS


@dataclass(frozen=True)
class Member:
    """A file inside the wheel: a torch archive of a dict with x and y, each (samples, n, n)."""

    path: str
    sha256: str
    samples: int


@dataclass(frozen=True)
class Package:
    """A wheel by name, size and digest, and what is taken from it, keyed by (split, resolution)."""

    requirement: str
    file: str
    size: int
    sha256: str
    members: MappingProxyType[tuple[str, int], Member]


DARCY = Package(
    requirement="neuraloperator==0.3.0",
    file="neuraloperator-0.3.0-py3-none-any.whl",
    size=3_955_522,
    sha256="483b358f2d9823c2ccb5dd0c1af8d21f879fd103806ad42959ebb975260e6ec4",
    members=MappingProxyType(
        {
            ("train", 16): Member(
                "neuralop/datasets/data/darcy_train_16.pt",
                "0be662acdb1dab7dfd1a1da0b140e97f75cc94f98a14edcf768abe6968b3b418",
                PUBLIC_PAIRS["darcy"]["train", 16],
            ),
            ("test", 16): Member(
                "neuralop/datasets/data/darcy_test_16.pt",
                "d2b19af9d4a6ae04ba2de54b8ecccc8b89766472faf6ce7f506c0b2a60f69a4c",
                PUBLIC_PAIRS["darcy"]["test", 16],
            ),
            ("test", 32): Member(
                "neuralop/datasets/data/darcy_test_32.pt",
                "bcbd10622373e94df84a17fcdb72ac4317d76e024c2499d21fd1fd34d0742cfd",
                PUBLIC_PAIRS["darcy"]["test", 32],
            ),
        }
    ),
)

DESCRIPTIONS = {
    "x": (
        "Coefficient of the PDE as shipped (bool): 1 high, 0 low, at the points i/n + 1/1024 of both axes. Found here: "
        "inside uniform patches the five-point -Laplacian of y is 50.07 where x = 0 and 2.780 where x = 1 (32 points; "
        "50.25 and 2.784 at 16), so -div(a grad y) = 1 holds with a = 0.02 for x = 0 and a = 0.36 for x = 1: "
        "contrast 18, not the 4 of 12 and 3; a and the scale of y are defined only together. "
        "The two-point function of the 1000 training inputs fits the sign of a Gaussian field with covariance "
        "(-Laplacian + tau^2)^-alpha, Neumann boundary, no constant "
        "mode, with alpha = 2.99 and tau = 9.84 (taken as 3 and 10), not 2 and 3."
    ),
    "y": (
        "Solution y as shipped, y = 0 on the boundary, at the points of x. Neither scaled nor offset for a = 0.36 and "
        "0.02: on the 50 test pairs at 32, against a finite-volume solution u of the nearest-neighbour coefficient on "
        "512 x 512 cells, regression gives y = 1.006 u - 0.0025 (bootstrap standard errors 0.002 and 0.0005), "
        "1.003 through zero, relative residual 2.7 % (the coefficient between the points is not known). The points "
        "follow from y near the edges: the first lies 0.000977 from its wall, spacing 1/n. 12 of the 256000 training "
        "values are below 0 (least -0.428), against the maximum principle; they are kept."
    ),
}
CITATION = (
    "Kossaifi et al., A Library for Learning Neural Operators, arXiv:2412.10354 (the package that ships the data); "
    "Li et al., Fourier Neural Operator for Parametric Partial Differential Equations, ICLR 2021 (the problem)"
)


def fetch_darcy(out: Path, cache: Path, package: Package = DARCY) -> None:
    """Write the public Darcy set to `out`: 1000 train pairs at 16, 50 test pairs at 16 and at 32.

    Args:
        out: the HDF5 file to write, whole or not at all.
        cache: where the wheel is kept; one that lies there is checked and used, without network.
        package: the wheel and its members.

    Raises:
        MpnoError: the wheel cannot be downloaded, or its digest or a member's is not the expected one.
    """
    wheel = _wheel(cache, package)
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(wheel) as archive:
        for (split, resolution), member in package.members.items():
            x, y = _pairs(archive, member, wheel)
            arrays |= {f"{split}/{resolution}/x": x, f"{split}/{resolution}/y": y}
    files = {member.path: member.sha256 for member in package.members.values()}
    attrs = {
        "name": "darcy",
        "title": "Darcy flow on the unit square, small public set (16 and 32 points per axis)",
        "source": "fetch",
        "units_x": "1 (high coefficient) or 0 (low)",
        "units_y": "dimensionless, as shipped",
        "licence": "MIT",
        "citation": CITATION,
        "origin": json.dumps({"file": package.file, "sha256": package.sha256, "members": files}),
        "seed": None,
        "periodic": False,
    }
    write_store(out, arrays, attrs, DESCRIPTIONS)


def _pairs(archive: zipfile.ZipFile, member: Member, wheel: Path) -> tuple[np.ndarray, np.ndarray]:
    import torch

    try:
        content = archive.read(member.path)
    except KeyError:
        raise MpnoError(f"{wheel}: {member.path} is not in it; delete the wheel and fetch again") from None
    found = hashlib.sha256(content).hexdigest()
    if found != member.sha256:
        raise MpnoError(
            f"{wheel}: {member.path} has sha256 {found}, expected {member.sha256}; delete the wheel and fetch again"
        )
    loaded = torch.load(io.BytesIO(content), weights_only=True)
    x, y = (loaded[kind].numpy().astype(np.float32)[: member.samples, None] for kind in "xy")
    return x, y


def _wheel(cache: Path, package: Package) -> Path:
    """The wheel in `cache`, downloaded where it is missing, with its digest checked either way."""
    kept = cache / package.file
    if kept.is_file():
        _check(kept, package, "delete it and fetch again")
        return kept
    extra = _pip_args()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=cache) as folder:
            _download(Path(folder), cache, package, extra)
            _check(Path(folder) / package.file, package, "pip got another file: check its index and PIP_ARGS")
            (Path(folder) / package.file).replace(kept)
    except OSError as error:
        raise MpnoError(f"{kept}: cannot write here ({error.strerror}); choose another cache folder") from None
    return kept


def _pip_args() -> list[str]:
    try:
        return shlex.split(os.environ.get("PIP_ARGS", ""))
    except ValueError as error:
        raise MpnoError(f"PIP_ARGS is {os.environ['PIP_ARGS']!r}: {error}; mend its quotes") from None


def _download(folder: Path, cache: Path, package: Package, extra: list[str]) -> None:
    """Let pip, configured as the user has it and with the options `extra`, put the wheel into `folder`."""
    quiet = ["--quiet", "--disable-pip-version-check", "--retries", "2", "--timeout", "20"]
    which = ["--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *quiet, *which, *extra, package.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        raise MpnoError(
            f"{package.file}: this Python has no pip to download it; run {sys.executable} -m ensurepip, or put the "
            f"file into {cache}"
        )
    if done.returncode != 0 or not (folder / package.file).is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "no word")
        raise MpnoError(
            f"{package.file}: pip could not download it ({reason}); check the network, name an index or a folder in "
            f"PIP_ARGS (--no-index --find-links FOLDER), or put the file into {cache}"
        )


def _check(path: Path, package: Package, way_out: str) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise MpnoError(
            f"{path}: {size} bytes with sha256 {found}, expected {package.size} bytes with {package.sha256}; {way_out}"
        )
