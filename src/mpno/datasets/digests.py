"""Digests of downloaded files: the pinned ones, and those learnt from a record on first contact.

What was learnt, and which files were checked, is kept in ``digests.json`` beside the downloads of a record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mpno.datasets.download import alone
from mpno.datasets.registry import PINS, RECORDS, File, Pin
from mpno.specs import MpnoError
from mpno.specs.errors import secretless
from mpno.specs.files import read_json, write_text

State = Literal["verified", "unpinned", "present", "missing"]
"""verified: the bytes were checked against a pinned digest. unpinned: against one learnt from the record on first
contact, which nobody has committed yet. present: there, but not checked, or changed since. missing: not there."""
NOTES = "digests.json"


@dataclass(frozen=True)
class Expected:
    """What a file must be, and whether that is pinned in the registry."""

    md5: str
    size: int | None
    pinned: bool


def folder_of(file: File, cache: Path) -> Path:
    """Where the downloads of a file's record lie in the cache."""
    return cache / "zenodo" / str(file.record)


def expected(file: File, cache: Path) -> Expected | None:
    """The pinned digest of a file, else the learnt one, else None."""
    if pin := PINS.get(file.key):
        return Expected(pin.md5, pin.size, True)
    learnt = _read(folder_of(file, cache))["learnt"].get(file.name)
    return Expected(learnt["md5"], learnt["size"], False) if learnt else None


def learn(file: File, cache: Path, *, md5: str, size: int, origin: str) -> Expected:
    """Keep what a record says of a file; it may not differ from what is pinned or was learnt before.

    Raises:
        MpnoError: it differs, or the note cannot be written.
    """
    known = expected(file, cache)
    if known and (known.md5 != md5 or known.size not in (None, size)):
        whence = "the pinned one is" if known.pinned else "the one learnt on first contact is"
        raise MpnoError(
            f"{file.key}: {origin} now gives md5 {md5} and {size} bytes, {whence} {known.md5} and {known.size} bytes; "
            f"do not use the file; if the change is announced, delete {folder_of(file, cache) / NOTES} and report it"
        )
    if known:
        return known
    _note(folder_of(file, cache), "learnt", file.name, {"md5": md5, "size": size, "origin": secretless(origin)})
    return Expected(md5, size, False)


def note_checked(file: File, cache: Path, md5: str) -> None:
    """Keep that the file, as it lies there now, has this md5."""
    folder = folder_of(file, cache)
    _note(folder, "checked", file.name, {"md5": md5, **_stamp(folder / file.name)})


def state(file: File, cache: Path) -> State:
    """Whether a file is there and was checked. Reads sizes and times, not the bytes; needs no network."""
    path = folder_of(file, cache) / file.name
    if not path.is_file():
        return "missing"
    known, checked = expected(file, cache), _read(path.parent)["checked"].get(file.name)
    if known is None or checked != {"md5": known.md5, **_stamp(path)}:
        return "present"
    return "verified" if known.pinned else "unpinned"


def lines_to_commit(cache: Path) -> list[str]:
    """For a maintainer: the lines of ``PINS`` for every digest that this cache has learnt and nobody has pinned.

    Only files that were downloaded whole and agreed with what their record says are listed.
    """
    lines = []
    for file in (file for entry in RECORDS.values() for file in entry.files):
        if state(file, cache) == "unpinned":
            known = _read(folder_of(file, cache))["learnt"][file.name]
            pin = Pin(known["md5"], known["size"], f"read from {known.get('origin', 'the record')}")
            lines.append(f'    "{file.key}": Pin("{pin.md5}", {pin.size:_}, "{pin.source}"),')
    return lines


def _stamp(path: Path) -> dict[str, int]:
    found = path.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / NOTES
    if not path.is_file():
        return {"learnt": {}, "checked": {}}
    notes = read_json(path, "delete it: it is made anew")
    kept = {kind: notes.get(kind, {}) for kind in ("learnt", "checked")}
    for kind, entries in kept.items():
        for name, entry in entries.items() if isinstance(entries, dict) else [(kind, None)]:
            if not isinstance(entry, dict) or not isinstance(entry.get("md5"), str) or not _size(entry.get("size")):
                raise MpnoError(f"{path}: {name} has no md5 and size; delete it: it is made anew")
    return kept


def _size(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _note(folder: Path, kind: str, name: str, values: Mapping[str, Any]) -> None:
    try:
        with alone(folder / NOTES):  # files of one record may be fetched side by side
            notes = _read(folder)
            notes[kind][name] = values
            write_text(folder / NOTES, json.dumps(notes, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        raise MpnoError(
            f"{folder / NOTES}: cannot be written ({error.strerror}); make room or choose another cache folder"
        ) from None
