"""Outputs that are whole or absent."""

from __future__ import annotations

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
    path.parent.mkdir(parents=True, exist_ok=True)
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
    finally:
        temporary.unlink(missing_ok=True)


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
