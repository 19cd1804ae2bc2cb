"""Archives from elsewhere, unpacked without trust: only the members that are wanted, whole or not at all."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from tqdm import tqdm

from mpno.datasets.download import SPARE, room
from mpno.specs import MpnoError

MEMBERS = 200_000
"""More members than any archive of a data set has."""

Wanted = Callable[[PurePosixPath], str | None]
"""From a member's path to where its file belongs, relative to the folder; None: it is left in the archive."""


def unpack(archive: Path, folder: Path, wanted: Wanted, limit: int, progress: bool = False) -> list[Path]:
    """Unpack the wanted members of a tar (any compression) or zip file into `folder`, which appears whole.

    Every member is judged, wanted or not. What `folder` held before is replaced.

    Args:
        limit: bytes that all members together may take unpacked.
        progress: show a bar on a terminal.

    Returns:
        The files written.

    Raises:
        MpnoError: the archive is damaged, a member's path leaves the folder, a member is a link out of it, a device
            or not a file where one is wanted, it holds more than `limit`, or the disk is full.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        written = _write(archive, temporary, wanted, limit, progress)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.chmod(0o755)
        temporary.replace(folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, NotImplementedError) as error:
        raise MpnoError(f"{archive}: damaged archive ({error}); delete it and fetch again") from None
    except OSError as error:
        raise MpnoError(f"{archive}: cannot be unpacked into {folder} ({error}); make room or mend the path") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [folder / path for path in written]


def _write(archive: Path, folder: Path, wanted: Wanted, limit: int, progress: bool) -> list[Path]:
    written: list[Path] = []
    total = 0
    for count, (name, size, is_file, source) in enumerate(_members(archive, folder, progress)):
        total += size
        if total > limit or count >= MEMBERS:
            raise MpnoError(
                f"{archive}: {name} brings it to {total} bytes in {count + 1} members; allowed: {limit} bytes in "
                f"{MEMBERS} members; it is not the archive of the data set: delete it and fetch again"
            )
        where = wanted(PurePosixPath(name)) if is_file else None
        if where is None:
            continue
        target = folder / where
        if target.exists():
            raise MpnoError(f"{archive}: two members would both become {where}; delete it and fetch again")
        room(folder, size, where)
        target.parent.mkdir(parents=True, exist_ok=True)
        with source() as content, target.open("wb") as file:
            shutil.copyfileobj(content, file, SPARE // 64)
        if target.stat().st_size != size:
            raise MpnoError(f"{archive}: {name} ends early; delete it and fetch again")
        written.append(Path(where))
    return written


def _members(archive: Path, folder: Path, progress: bool) -> Iterator[tuple[str, int, bool, Callable[[], IO[bytes]]]]:
    """Name, unpacked size, whether it is a plain file, and content of each member, judged."""
    if zipfile.is_zipfile(archive) and not tarfile.is_tarfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                kind = info.external_attr >> 28  # the file type of Unix, 0 where the writer gave none
                if kind not in (0, 0o4, 0o10):
                    raise _refusal(archive, info.filename, "is a link or a device")
                _judge(archive, info.filename)
                yield info.filename, info.file_size, not info.is_dir(), lambda info=info: zipped.open(info)
        return
    # As a stream: a member's header is judged before anything that follows it is read.
    shown = {"desc": archive.name, "total": archive.stat().st_size, "disable": None if progress else True}
    with (
        archive.open("rb") as raw,
        tqdm.wrapattr(raw, "read", **shown) as counted,
        tarfile.open(fileobj=cast(Any, counted), mode="r|*") as tar,
    ):
        for member in tar:
            _judge(archive, member.name)
            with _filtered(archive, member.name):
                tarfile.data_filter(member, str(folder))
            yield member.name, member.size, member.isreg(), lambda member=member: _content(tar, member)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    assert content is not None, "a plain file has content"
    return content


@contextmanager
def _filtered(archive: Path, name: str) -> Iterator[None]:
    try:
        yield
    except tarfile.FilterError as error:
        raise _refusal(archive, name, str(error).removeprefix(f"{name!r} ")) from None


def _judge(archive: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")) or "\0" in name:
        raise _refusal(archive, name, "leaves the folder")


def _refusal(archive: Path, name: str, why: str) -> MpnoError:
    return MpnoError(f"{archive}: member {name!r} {why}; refused, nothing was unpacked: take the archive from Zenodo")
