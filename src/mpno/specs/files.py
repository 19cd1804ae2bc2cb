"""Outputs that are whole or absent, after a power cut too."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mpno.specs.errors import MpnoError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed to `path`, else removed."""
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Say in one line that `place` cannot be written, where the file system says so.

    Raises:
        MpnoError: it did.
    """
    try:
        yield
    except OSError as error:
        raise MpnoError(
            f"{place}: cannot be written ({error.strerror or error}); make room or allow it, and call again"
        ) from None


def read_json(path: Path, way_out: str) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        MpnoError: it cannot be read or is no JSON object; `way_out` ends the message.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MpnoError(f"{path}: cannot be read ({error.strerror}); {way_out}") from None
    except (ValueError, RecursionError) as error:
        raise MpnoError(f"{path}: not JSON ({error}); {way_out}") from None
    if not isinstance(values, dict):
        raise MpnoError(f"{path}: holds a {type(values).__name__}, not an object; {way_out}")
    return values


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it that are missing, to stay."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def remove(path: Path) -> None:
    """Remove the file `path` if it is there, for good: what is written afterwards is never seen beside it."""
    if path.exists():
        path.unlink(missing_ok=True)
        _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make the names in `folder` last."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that syncs no folders
            raise
    finally:
        os.close(handle)
