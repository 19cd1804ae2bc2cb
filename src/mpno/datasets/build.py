"""From the spec of a data set to its HDF5 file."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from mpno.specs import DataSpec, MpnoError
from mpno.specs.sets import imported_folder

GENERATORS: dict[str, str] = {
    "darcy": "darcy",
    "navier-stokes": "navier_stokes",
    "shallow-water": "shallow_water",
    "car": "bodies",
    "ahmed": "bodies",
}
"""The module of this room whose ``make_store(spec, out, *, progress)`` solves the set."""
PUBLIC = "zenodo"
"""The module whose ``make_store(spec, out, *, cache, progress)`` takes the set from its public record."""


def make(spec: DataSpec, out: Path, *, cache: Path, progress: bool = False) -> None:
    """Fetch or generate the data set that `spec` asks for, as one HDF5 file at `out`, whole or not at all.

    Args:
        spec: the data set. A file that ships in a small package is kept whole, whatever share of it the spec uses.
        out: the file to write.
        cache: folder where downloads are kept.
        progress: show a bar.

    Raises:
        MpnoError: the download fails, the set cannot be had from this source, or `out` or `cache` cannot be written.
    """
    if spec.source == "import":
        raise MpnoError(
            f"{imported_folder() / spec.name}.h5: no such file, and an imported set cannot be made; import it "
            f"again: python -m mpno data import FILE --input KEY --target KEY --name {spec.name}"
        )
    if spec.shipped:
        from mpno.datasets.fetch import fetch_darcy

        fetch_darcy(out, cache)
    elif spec.source == "fetch":
        _module(spec, PUBLIC).make_store(spec, out, cache=cache, progress=progress)
    else:
        _module(spec, GENERATORS[spec.name]).make_store(spec, out, progress=progress)


def _module(spec: DataSpec, name: str) -> ModuleType:
    try:
        return importlib.import_module(f"mpno.datasets.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"mpno.datasets.{name}":
            raise MpnoError(f"data set {spec.name}: needs {error.name}; install mpno[data]") from None
        raise MpnoError(f"data set {spec.name}: source {spec.source} is not part of this version of mpno") from None
