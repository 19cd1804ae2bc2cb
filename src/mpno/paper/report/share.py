"""The results as one file to send to others."""

from __future__ import annotations

import getpass
import platform
import zipfile
from collections.abc import Iterator
from pathlib import Path

from mpno.specs import MpnoError
from mpno.specs.files import replacing

FOLDERS = ("claims", "figures", "notebooks", "tables", "tidy")
_DAY = (1980, 1, 1, 0, 0, 0)  # the first that the format knows: the bytes depend on the files alone


def share(page: Path, out: Path) -> int:
    """Pack the report `page` and what it links to into the zip `out`; return how many files.

    Raises:
        MpnoError: there is no page, or a file tells of this machine or of who works on it.
    """
    if not page.is_file():
        raise MpnoError(f"{page}: there is no report to share; make it with `make reproduce`")
    results = page.parent.parent
    files = [page, *(path for folder in FOLDERS for path in sorted((results / folder).rglob("*")) if path.is_file())]
    words = sorted(_private())
    with replacing(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for path in files:
            content = path.read_bytes()
            if told := [word for word in words if word.encode() in content]:
                raise MpnoError(f"{path}: says {told[0]}, which is this machine's; make it again before you share it")
            entry = zipfile.ZipInfo(f"{out.stem}/{path.relative_to(results).as_posix()}", _DAY)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    return len(files)


def _private() -> Iterator[str]:
    """Paths, and names of a machine and of a user that are long enough not to be a word of the text."""
    yield f"{Path.cwd()}/"
    yield f"{Path.home()}/"
    yield f"/{getpass.getuser()}/"
    if len(platform.node()) > 5:
        yield platform.node()
