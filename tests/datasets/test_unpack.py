from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from mpno.datasets.unpack import unpack
from mpno.specs import MpnoError

LIMIT = 10_000


def plain(name: str, size: int = 3) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = size
    return info, bytes(range(size % 250)) if size < 250 else bytes(size)


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


def everything(path: PurePosixPath) -> str:
    return str(path)


def refused(archive: Path, tmp_path: Path, limit: int = LIMIT) -> str:
    """The one line that unpacking ends in, having left nothing behind, inside the folder or beside it."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MpnoError) as caught:
        unpack(archive, tmp_path / "out", everything, limit)
    assert sorted(tmp_path.rglob("*")) == before
    assert "\n" not in str(caught.value)
    assert str(archive) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_only_the_wanted_members_are_unpacked_and_what_was_there_is_replaced(tmp_path: Path, mode: str) -> None:
    members = [special("./top", tarfile.DIRTYPE), plain("./top/a.pt"), plain("top/sub/b.pt", 5), plain("._a.pt")]
    archive = tar(tmp_path / "a.tgz", members, mode)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    written = unpack(archive, tmp_path / "out", lambda path: path.name if path.suffix == ".pt" else None, LIMIT)
    assert written == [tmp_path / "out" / name for name in ("a.pt", "b.pt", "._a.pt")]
    assert (tmp_path / "out" / "b.pt").read_bytes() == bytes(range(5))
    assert not (tmp_path / "out" / "old").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"a.tgz", "out"}


@pytest.mark.parametrize(
    ("member", "word"),
    [
        (plain("../evil"), "'../evil' leaves the folder"),
        (plain("a/../../evil"), "leaves the folder"),
        (plain("/tmp/evil"), "'/tmp/evil' leaves the folder"),
        (plain("..\\evil"), "leaves the folder"),
        (plain("C:/evil"), "leaves the folder"),
        (special("link", tarfile.SYMTYPE, "../../etc/passwd"), "outside the destination"),
        (special("link", tarfile.SYMTYPE, "/etc/passwd"), "absolute path"),
        (special("link", tarfile.LNKTYPE, "../evil"), "outside the destination"),
        (special("null", tarfile.CHRTYPE), "special file"),
        (special("pipe", tarfile.FIFOTYPE), "special file"),
    ],
)
def test_a_tar_member_that_is_no_file_of_the_folder_is_refused(
    tmp_path: Path, member: tuple[tarfile.TarInfo, bytes], word: str
) -> None:
    message = refused(tar(tmp_path / "a.tgz", [plain("good"), member]), tmp_path)
    assert word in message
    assert "refused, nothing was unpacked" in message


def test_a_file_written_through_a_link_stays_inside(tmp_path: Path) -> None:
    """A link is never made, so a later member cannot go through it."""
    members = [special("dir", tarfile.SYMTYPE, "."), plain("dir/file")]
    unpack(tar(tmp_path / "a.tgz", members), tmp_path / "out", everything, LIMIT)
    assert not (tmp_path / "out" / "dir").is_symlink()
    assert (tmp_path / "out" / "dir" / "file").read_bytes() == bytes(range(3))


@pytest.mark.parametrize("members", [[plain("bomb", LIMIT + 1)], [plain("a", LIMIT // 2), plain("b", LIMIT // 2 + 1)]])
def test_a_bomb_is_refused_by_what_it_says_it_holds(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    message = refused(tar(tmp_path / "a.tgz", members), tmp_path)
    assert f"{members[-1][0].name} brings it to {LIMIT + 1} bytes" in message and f"allowed: {LIMIT} bytes" in message
    assert len(unpack(tmp_path / "a.tgz", tmp_path / "out", everything, LIMIT + 1)) == len(members)


def test_a_bomb_among_unwanted_members_is_refused_too(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tgz", [plain("bomb", LIMIT + 1)])
    with pytest.raises(MpnoError, match="bomb brings it to"):
        unpack(archive, tmp_path / "out", lambda _: None, LIMIT)


def test_two_members_of_one_name(tmp_path: Path) -> None:
    assert "two members would both become a" in refused(tar(tmp_path / "a.tgz", [plain("a"), plain("./a")]), tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_cut_tar(tmp_path: Path, share: float) -> None:
    content = [plain("a", 4000), plain("b", 4000)]
    whole = tar(tmp_path / "a.tgz", [(info, bytes(i * i % 251 for i in range(4000))) for info, _ in content])
    whole.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    assert "delete it and fetch again" in refused(whole, tmp_path)


def test_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(b"<html>not found</html>" * 100)
    assert "damaged archive" in refused(tmp_path / "a.tgz", tmp_path)


def zipped(path: Path, members: dict[str, tuple[int, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (mode, content) in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def test_a_zip(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"top/": (stat.S_IFDIR, b""), "top/a": (0, b"abc"), "b": (stat.S_IFREG, b"d")})
    unpack(archive, tmp_path / "out", everything, LIMIT)
    assert (tmp_path / "out" / "top" / "a").read_bytes() == b"abc"
    assert (tmp_path / "out" / "b").read_bytes() == b"d"


@pytest.mark.parametrize(
    ("name", "mode", "content", "word"),
    [
        ("../evil", 0, b"x", "leaves the folder"),
        ("/evil", 0, b"x", "leaves the folder"),
        ("link", stat.S_IFLNK, b"/etc/passwd", "is a link or a device"),
        ("null", stat.S_IFCHR, b"", "is a link or a device"),
        ("bomb", 0, bytes(LIMIT + 1), "brings it to"),
    ],
)
def test_a_zip_member_that_is_refused(tmp_path: Path, name: str, mode: int, content: bytes, word: str) -> None:
    archive = zipped(tmp_path / "a.zip", {"good": (0, b"g"), name: (mode, content)})
    assert word in refused(archive, tmp_path)


def test_an_altered_zip_member(tmp_path: Path) -> None:
    content = bytes(i * i % 251 for i in range(4000))
    archive = zipped(tmp_path / "a.zip", {"a": (0, content)})
    body = bytearray(archive.read_bytes())
    body[200] ^= 1
    archive.write_bytes(body)
    assert "damaged archive" in refused(archive, tmp_path)


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "a.tgz", tmp_path)
