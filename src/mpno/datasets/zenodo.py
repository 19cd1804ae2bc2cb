"""Data sets from their records on Zenodo, or from a mirror of it.

A mirror answers ``{base}/records/{id}`` with the record as JSON and ``{base}/records/{id}/files/{name}/content`` with
a file. `base` is the argument `base_url`, else the variable MPNO_ZENODO, else Zenodo itself. The cache keeps the
archives as they came, under ``zenodo/{id}``; a file put there by hand is checked and used.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pooch

from mpno.datasets import digests, registry
from mpno.datasets.digests import Expected, State, folder_of
from mpno.datasets.download import Resuming, alone, get_json
from mpno.datasets.registry import File, Member, SplitName
from mpno.datasets.store import write_store
from mpno.datasets.unpack import unpack
from mpno.specs import DataSpec, MpnoError

ZENODO = "https://zenodo.org/api"
_TOP = "processed-car-pressure-data"
_CAR_FILE = re.compile(r"[\w-]+\.txt|data/mesh_\w+\.ply|data/press_\w+\.npy|data/\w+/(tri_mesh\.ply|press\.npy)")


def files(name: str) -> tuple[File, ...]:
    """The files of a data set's record.

    Raises:
        MpnoError: `name` has no public record.
    """
    return registry.record(name).files


def state(name: str, cache: Path, resolution: int | None = None) -> State:
    """How far the files of a data set can be relied on, without network and without reading them.

    ``verified``: whole, and checked against a pinned digest. ``unpinned``: checked, but only against what the record
    said on first contact. ``present``: not checked, or changed since. ``missing``: not there.

    Args:
        resolution: the file of this resolution, ``missing`` where the record has none; when None, the least of the
            files that are there, ``missing`` when none is.

    Raises:
        MpnoError: `name` has no public record.
    """
    found = {digests.state(file, cache) for file in _wanted(name, resolution)}
    order: tuple[State, ...] = ("present", "unpinned", "verified")
    for one in order:
        if one in found:
            return one
    return "missing"


def check(name: str, cache: Path, resolution: int | None = None) -> State:
    """Read the files that are there again and compare them with what they must be; needs no network.

    A file whose digest is not known here stays ``present``.

    Returns:
        :func:`state`, afterwards.

    Raises:
        MpnoError: a file differs, or `name` has no public record.
    """
    for file in _wanted(name, resolution):
        kept, known = folder_of(file, cache) / file.name, digests.expected(file, cache)
        if known and kept.is_file():
            _compare(kept, known)
            digests.note_checked(file, cache, known.md5)
    return state(name, cache, resolution)


def fetch(
    name: str, cache: Path, *, resolutions: Iterable[int] = (), base_url: str | None = None, progress: bool = False
) -> list[Path]:
    """Download what is not in `cache` yet, and check it. Files that were checked before cost nothing.

    Args:
        resolutions: of a grid data set, the grids wanted; all files of the record when empty.
        base_url: a mirror.
        progress: show a bar on a terminal.

    Returns:
        The files as they were published, in the order of `resolutions`.

    Raises:
        MpnoError: no such data set or resolution, the network or the disk fails, or a file is not the published one.
    """
    wanted = [registry.file_at(name, resolution) for resolution in dict.fromkeys(resolutions)] or files(name)
    return [_fetch(file, cache, _base(base_url), progress) for file in wanted]


def fetch_cars(cache: Path, *, base_url: str | None = None, progress: bool = False) -> Path:
    """Download and unpack the Shape-Net Car set; the folder is what :func:`car_files` reads.

    Raises:
        MpnoError: as :func:`fetch`; the archive is refused, or does not hold 500 train and 111 test cars.
    """
    (file,) = files("car")
    (archive,) = fetch("car", cache, base_url=base_url, progress=progress)
    folder = archive.parent / _TOP
    with alone(archive, progress):
        md5, source = _known(file, cache).md5, folder / ".unpacked-from"
        if not source.is_file() or source.read_text() != md5:
            unpack(archive, folder, _car_member, file.unpacked, progress)
            found = {split: len(cars) for split, cars in car_files(folder).items()}
            if found != registry.CAR_SAMPLES:
                raise MpnoError(f"{archive}: holds {found} cars, expected {registry.CAR_SAMPLES}; report it")
            source.write_text(md5)
    return folder


def car_files(folder: Path) -> dict[SplitName, list[tuple[Path, Path]]]:
    """The surface mesh (PLY) and pressure (npy) of each car, by split, in the order of train.txt and test.txt.

    Both layouts in use are read: ``data/mesh_{id}.ply`` with ``data/press_{id}.npy``, and ``data/{id}/tri_mesh.ply``
    with ``data/{id}/press.npy``.

    Raises:
        MpnoError: a list is missing or names no car, a car is listed twice, or a car's file is not there.
    """
    out: dict[SplitName, list[tuple[Path, Path]]] = {}
    seen: dict[str, str] = {}
    for split in registry.CAR_SAMPLES:
        path = folder / f"{split}.txt"
        if not path.is_file():
            raise MpnoError(f"{path}: no such file; unpack the whole archive into {folder}")
        ids = path.read_text(encoding="utf-8", errors="replace").replace(",", " ").split()
        if not ids or not all(re.fullmatch(r"\w+", one) for one in ids):
            raise MpnoError(f"{path}: begins {' '.join(ids)[:40]!r}; expected numbers of cars with commas between")
        for one in ids:
            if one in seen:
                raise MpnoError(f"{path}: car {one} is listed twice, before in {seen[one]}; take the published list")
            seen[one] = path.name
        out[split] = [_car(folder / "data", one) for one in ids]
    return out


def make_store(spec: DataSpec, out: Path, *, cache: Path, base_url: str | None = None, progress: bool = False) -> None:
    """Write the pairs that `spec` asks for, as published, to one HDF5 store: whole or not at all.

    The first `n_train` pairs at `resolution` and the first `n_test` at each of `test_resolutions`.

    Raises:
        MpnoError: as :func:`fetch`; an archive or a member is refused, or holds fewer pairs than asked.
    """
    if spec.name == "car":
        _make_cars(spec, out, cache, base_url, progress)
        return
    record = registry.record(spec.name)
    resolution, tests = spec.square
    asked: dict[tuple[SplitName, int], int] = {("train", resolution): spec.n_train}
    asked |= {("test", test): spec.n_tests(test) for test in tests}
    wanted = list(dict.fromkeys(registry.file_at(spec.name, resolution) for _, resolution in asked))
    for file in wanted:  # before anything is downloaded
        for member in _asked(file, asked):
            if member.samples is not None and asked[member.split, member.resolution] > member.samples:
                raise MpnoError(
                    f"{spec.name}: {asked[member.split, member.resolution]} {member.split} pairs asked at resolution "
                    f"{member.resolution}; the public set has {member.samples}: ask for fewer, or use source generate"
                )
    fetch(spec.name, cache, resolutions=[resolution for _, resolution in asked], base_url=base_url, progress=progress)
    arrays: dict[str, np.ndarray] = {}
    origin: dict[str, Any] = {"record": f"https://zenodo.org/records/{record.id}", "files": {}}
    with _scratch(cache, progress) as scratch:
        for file in wanted:
            known = _known(file, cache)
            origin["files"][file.name] = {"md5": known.md5, "pinned": known.pinned}
            arrays |= _pairs(file, cache, scratch, asked, progress)
        attrs = {
            "name": spec.name,
            "title": record.title,
            "source": "fetch",
            "units_x": record.units[0],
            "units_y": record.units[1],
            "licence": record.licence,
            "citation": record.citation,
            "origin": json.dumps(origin),
            "seed": None,
        }
        write_store(out, arrays, attrs, dict(zip("xy", record.descriptions, strict=True)))


def _make_cars(spec: DataSpec, out: Path, cache: Path, base_url: str | None, progress: bool) -> None:
    """The first cars of each list, with their signed distances on the latent grid."""
    from mpno.datasets.car import write_cars

    (file,) = files("car")
    found = car_files(fetch_cars(cache, base_url=base_url, progress=progress))
    counts: dict[SplitName, int] = {"train": spec.n_train, "test": spec.n_test}
    for split, count in counts.items():
        if count > len(found[split]):
            raise MpnoError(f"car: {count} {split} cars asked; the public set has {len(found[split])}: ask for fewer")
    known, record = _known(file, cache), registry.record("car")
    origin = {
        "record": f"https://zenodo.org/records/{record.id}",
        "files": {file.name: {"md5": known.md5, "pinned": known.pinned}},
    }
    chosen: dict[str, Any] = {split: found[split][:count] for split, count in counts.items()}
    write_cars(chosen, out, resolution=spec.square[0], licence=record.licence, origin=origin, progress=progress)


def _pairs(
    file: File, cache: Path, scratch: Path, asked: dict[tuple[SplitName, int], int], progress: bool
) -> dict[str, np.ndarray]:
    """The asked pairs of one archive, under the store's keys; views of files in `scratch` where they can be."""
    from mpno.datasets.pt_files import read_pairs

    archive, members = folder_of(file, cache) / file.name, _asked(file, asked)
    names = {member.name for member in members}
    folder = scratch / file.name
    unpack(archive, folder, lambda path: path.name if path.name in names else None, file.unpacked, progress)
    arrays: dict[str, np.ndarray] = {}
    for member in members:
        path = folder / member.name
        if not path.is_file():
            raise MpnoError(f"{archive}: {member.name} is not in it; delete it and fetch again")
        if member.sha256 and (found := pooch.file_hash(str(path), alg="sha256")) != member.sha256:
            raise MpnoError(f"{archive}: {member.name} has sha256 {found}, expected {member.sha256}; report it")
        count = asked[member.split, member.resolution]
        try:
            x, y = read_pairs(path, resolution=member.resolution, n=count)
        except MpnoError as error:  # the unpacked file will be gone when this is read
            raise MpnoError(str(error).replace(str(path), f"{archive}: {member.name}")) from None
        arrays |= {f"{member.split}/{member.resolution}/{kind}": value for kind, value in (("x", x), ("y", y))}
    return arrays


def _asked(file: File, asked: dict[tuple[SplitName, int], int]) -> list[Member]:
    return [member for member in file.members if (member.split, member.resolution) in asked]


@contextmanager
def _scratch(cache: Path, progress: bool) -> Iterator[Path]:
    """A folder for unpacked members, gone afterwards; what a killed process left is taken away first."""
    parent = cache / "zenodo" / "unpacked"
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MpnoError(f"{parent}: cannot write here ({error.strerror}); choose another cache folder") from None
    with alone(parent, progress):
        for left in parent.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            yield Path(folder)


def _wanted(name: str, resolution: int | None) -> tuple[File, ...]:
    """The files that hold a resolution; bodies are meshes, and hold every one."""
    return tuple(
        file
        for file in files(name)
        if resolution is None or not file.members or resolution in [member.resolution for member in file.members]
    )


def _base(base_url: str | None) -> str:
    base = (base_url or os.environ.get("MPNO_ZENODO") or ZENODO).rstrip("/")
    if not re.fullmatch(r"https?://[^/?#:\s]+(:[0-9]{1,5})?(/[^?#\s]*)?", re.sub("//[^/@]*@", "//", base)):
        raise MpnoError(f"MPNO_ZENODO or base_url is {base!r}; expected an address such as {ZENODO}")
    return base


def _fetch(file: File, cache: Path, base: str, progress: bool) -> Path:
    """The file in the cache, downloaded where it is missing, its digest checked once."""
    folder = folder_of(file, cache)
    kept = folder / file.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(kept, progress):
            if digests.state(file, cache) in ("verified", "unpinned"):
                return kept
            known = digests.expected(file, cache)
            if known is None or not (known.pinned or kept.is_file()):
                known = _contact(file, cache, base)
            if kept.is_file():
                _compare(kept, known)
            else:
                _download(file, folder, known, f"{base}/records/{file.record}/files/{file.name}/content", progress)
            digests.note_checked(file, cache, known.md5)
    except OSError as error:
        raise MpnoError(f"{kept}: cannot write here ({error.strerror}); choose another cache folder") from None
    return kept


def _known(file: File, cache: Path) -> Expected:
    known = digests.expected(file, cache)
    assert known is not None, "a fetched file has a digest"
    return known


def _compare(kept: Path, known: Expected) -> None:
    size = kept.stat().st_size
    if known.size not in (None, size):
        raise MpnoError(f"{kept}: has {size} bytes, expected {known.size}; delete it and fetch again")
    if (found := pooch.file_hash(str(kept), alg="md5")) != known.md5:
        raise MpnoError(f"{kept}: has md5 {found}, expected {known.md5}; delete it and fetch again")


def _download(file: File, folder: Path, known: Expected, url: str, progress: bool) -> None:
    downloader = Resuming(folder / f".{file.name}.part", size=known.size, progress=progress)
    for again in (True, False):
        try:
            # pooch's own protocol names the parameters otherwise than pooch passes them
            pooch.retrieve(url, f"md5:{known.md5}", file.name, folder, downloader=downloader)  # pyright: ignore[reportArgumentType]
            return
        except ValueError as error:  # the digest differs, and pooch has deleted what came
            if again and downloader.resumed:  # the kept beginning may have been of another file: once more from nothing
                continue
            found = str(error).partition(" but got ")[2].partition(".")[0]
            raise MpnoError(
                f"{url}: what came has md5 {found}, expected {known.md5}; it was deleted: fetch again, and if this "
                "stays so, the server has another file than the record"
            ) from None


def _contact(file: File, cache: Path, base: str) -> Expected:
    """What the record says of a file, in the form of Zenodo's API of today or of before 2023."""
    url = f"{base}/records/{file.record}"
    reply = get_json(url)
    entries = reply.get("files") if isinstance(reply, dict) else None
    if not isinstance(entries, list):
        raise MpnoError(f"{url}: the reply lists no files; it is not a record of Zenodo: check the mirror")
    named = {str(one.get("key", one.get("filename"))): one for one in entries if isinstance(one, dict)}
    if file.name not in named:
        has = ", ".join(sorted(named)) or "none"
        raise MpnoError(f"{url}: the record has no file {file.name}; it has: {has}; report it")
    entry = named[file.name]
    md5, size = str(entry.get("checksum", "")).removeprefix("md5:").lower(), entry.get("size", entry.get("filesize"))
    if not re.fullmatch(r"[0-9a-f]{32}", md5) or not isinstance(size, int) or size < 1:
        raise MpnoError(f"{url}: of {file.name} it says checksum {md5!r} and size {size!r}; expected an md5 and bytes")
    return digests.learn(file, cache, md5=md5, size=size, origin=url)


def _car_member(path: PurePosixPath) -> str | None:
    """Where a car's file belongs. The archive also holds a second data folder in its first, which is left there."""
    inner = "/".join(path.parts[1:] if path.parts[0] == _TOP else path.parts)
    return inner if _CAR_FILE.fullmatch(inner) else None


def _car(data: Path, one: str) -> tuple[Path, Path]:
    layouts = (
        (data / f"mesh_{one}.ply", data / f"press_{one}.npy"),
        (data / one / "tri_mesh.ply", data / one / "press.npy"),
    )
    for mesh, pressure in layouts:
        if mesh.is_file() and pressure.is_file():
            return mesh, pressure
    raise MpnoError(f"{data}: car {one} has no mesh and pressure there ({layouts[0][0].name}); unpack the archive anew")
