"""What data this machine has: made, fetched and imported sets, and downloads. No network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from mpno.datasets.store import read_attrs, read_pairs, verify
from mpno.specs import MpnoError
from mpno.specs.files import read_json, write_text
from mpno.specs.public import ARCHIVED, Pairs
from mpno.specs.run import IMPORT_NAME
from mpno.specs.sets import SETS, imported_folder

CACHE = Path("results/cache")
RESULTS = Path("results")
CHECKED = ("verified", "unpinned")
"""States of downloads whose bytes were compared with a digest: pinned, or learnt when they were first fetched."""


@dataclass(frozen=True)
class Entry:
    """One line of the list: a data file, the downloads of a set, or what could be had.

    Attributes:
        state: verified (its digest was recomputed and the file has not changed since), present, missing, or broken;
            for downloads also unpinned (checked against a digest learnt on first contact).
        bytes: on this disk.
    """

    name: str
    source: str
    sizes: str
    licence: str
    state: str
    bytes: int
    where: str


class Stock:
    """What a plan may ask for (see :class:`mpno.plan.source.Stock`)."""

    def __init__(self, cache: Path = CACHE) -> None:
        self.cache = cache

    def downloaded(self, name: str, resolutions: Sequence[int | str]) -> str | None:
        zenodo = _zenodo()
        if zenodo is None or name not in ARCHIVED:
            return None
        wanted = [None] if name == "car" else list(resolutions)
        states = [zenodo.state(name, self.cache, resolution) for resolution in wanted]
        return str(self.cache) if set(states) <= set(CHECKED) else None

    def imported(self, name: str) -> tuple[Pairs, int] | None:
        path = imported_folder() / f"{name}.h5"
        if not re.fullmatch(IMPORT_NAME, name) or not path.is_file():
            return None
        axes = read_attrs(path).get("axes")
        if not isinstance(axes, list) or not 1 <= len(axes) <= 3:
            raise MpnoError(
                f"{path}: attribute axes is {axes!r}, not names of 1 to 3 axes; import it again (--replace)"
            )
        return dict(read_pairs(path)), len(axes)

    def imports(self) -> list[str]:
        return sorted(path.stem for path in imported_folder().glob("*.h5"))


def catalogue(results: Path = RESULTS, cache: Path = CACHE) -> list[Entry]:
    """Every set with its state here, the data files first, then downloads and what could still be had."""
    found = [_file(path, cache) for path in _files(results)]
    return found + list(_downloads(cache)) + list(_possible({(entry.name, entry.source) for entry in found}))


def check(path: Path, cache: Path = CACHE, *, progress: bool = False) -> str:
    """Verify a data file, remember that it was, and return its digest.

    Raises:
        MpnoError: as :func:`mpno.datasets.verify`.
    """
    found = verify(path, progress=progress)
    write_text(cache / "verified.json", json.dumps({**_verified(cache), **_stamp(path)}, indent=1, sort_keys=True))
    return found


def files_of(name: str, results: Path = RESULTS) -> list[Path]:
    """The data files of a set on this machine."""
    return [path for path in _files(results) if _file(path, CACHE).name == name]


def _files(results: Path) -> list[Path]:
    made = sorted({*results.glob("data/*.h5"), *results.glob("*/data/*.h5")})
    return [path for path in made if not path.name.startswith(".")] + sorted(imported_folder().glob("*.h5"))


def _file(path: Path, cache: Path) -> Entry:
    size = path.stat().st_size
    try:
        attrs = read_attrs(path)
        sizes = _sizes(dict(read_pairs(path)))
    except MpnoError as error:
        return Entry(path.stem, "?", str(error).removeprefix(f"{path}: "), "?", "broken", size, str(path))
    state = "verified" if _stamp(path).items() <= _verified(cache).items() else "present"
    return Entry(attrs["name"], attrs["source"], sizes, attrs["licence"], state, size, str(path))


def _downloads(cache: Path) -> Iterator[Entry]:
    zenodo = _zenodo()
    if zenodo is None:
        return
    for name in ARCHIVED:
        state = zenodo.state(name, cache)
        if state != "missing":
            record = zenodo.files(name)[0].record
            folder = cache / "zenodo" / str(record)
            taken = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            sizes = _sizes(ARCHIVED[name])
            yield Entry(name, "download", sizes, SETS[name].licence or "", state, taken, str(folder))


def _possible(here: set[tuple[str, str]]) -> Iterator[Entry]:
    for name, facts in SETS.items():
        if facts.published and (name, "fetch") not in here:
            yield Entry(name, "fetch", _sizes(ARCHIVED[name]), facts.licence or "", "missing", 0, facts.published)
        if (name, "generate") not in here:
            yield Entry(name, "generate", "any grid", "MIT", "missing", 0, f"python -m mpno data make {name}")


def _sizes(pairs: Pairs) -> str:
    parts = []
    for split in ("train", "test"):
        grids = [f"{r} ({'?' if n is None else n})" for (s, r), n in pairs.items() if s == split]
        parts += [f"{split} {', '.join(grids)}"] if grids else []
    return "; ".join(parts)


def _verified(cache: Path) -> dict[str, list[int]]:
    path = cache / "verified.json"
    return read_json(path, "delete it: it is made anew") if path.is_file() else {}


def _stamp(path: Path) -> dict[str, list[int]]:
    found = path.stat()
    return {str(path.resolve()): [found.st_size, found.st_mtime_ns]}


def _zenodo() -> ModuleType | None:
    try:
        from mpno.datasets import zenodo
    except ImportError:
        return None
    return zenodo
