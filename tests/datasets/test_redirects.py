"""Where a download may come from: the server that was named, and where it stays with itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_server import Server

from mpno.datasets import digests, registry, zenodo
from mpno.datasets.download import _same_server
from mpno.specs import MpnoError

DARCY, NAME, BODY = registry.RECORDS["darcy"].id, "darcy_64.tgz", bytes(range(256)) * 40
CONTENT = f"/api/records/{DARCY}/files/{NAME}/content"


def fetched(cache: Path) -> bytes:
    (path,) = zenodo.fetch("darcy", cache, resolutions=[64])
    return path.read_bytes()


def refused(cache: Path) -> str:
    """The one line that fetching ends in, with nothing of the file kept."""
    with pytest.raises(MpnoError) as caught:
        zenodo.fetch("darcy", cache, resolutions=[64])
    assert not (cache / "zenodo" / str(DARCY) / NAME).exists()
    return str(caught.value)


def test_a_redirect_within_the_server_is_followed(server: Server, cache: Path) -> None:
    server.pages["/elsewhere"] = server.hold(DARCY, NAME, BODY)
    moved = server.hold(DARCY, NAME, BODY, codes=[302], headers={"Location": "/elsewhere"})
    server.pages["/elsewhere"].codes.clear()
    assert fetched(cache) == BODY and not moved.codes
    assert [path for path, _ in server.asked][-1] == "/elsewhere"


@pytest.mark.parametrize(
    "location",
    ["https://127.0.0.1/x", "file:///etc/passwd", "http://localhost/x", "//example.org/x", "http://127.0.0.1:1/x"],
)
def test_a_redirect_to_another_scheme_host_or_port_is_refused(server: Server, cache: Path, location: str) -> None:
    server.hold(DARCY, NAME, BODY, codes=[302], headers={"Location": location})
    message = refused(cache)
    assert "the server sends on to" in message and "same scheme and host" in message


def test_a_ring_of_redirects_ends(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY, codes=[301] * 50, headers={"Location": CONTENT})
    assert "sends on more than 5 times" in refused(cache)
    assert len(server.contents()) == 5


def test_the_archive_may_send_on_within_its_domain_and_nowhere_else() -> None:
    archive = "https://zenodo.org/api/records/1"
    assert _same_server(archive, "https://zenodo.org/records/1")
    assert _same_server(archive, "https://files.zenodo.org/1")
    for other in ("http://zenodo.org/1", "https://zenodo.org.example.org/1", "https://notzenodo.org/1"):
        assert not _same_server(archive, other)
    assert not _same_server("https://mirror.example/1", "https://zenodo.org/1")


@pytest.mark.parametrize("length", ["many", "-5", "1e3", "9" * 400])
def test_a_length_that_is_no_number_is_not_believed(server: Server, cache: Path, length: str) -> None:
    server.hold(DARCY, NAME, BODY, length=False, headers={"Content-Length": length})
    # The stand-in sends these headers with codes alone: a busy answer first, then the file.
    server.pages[CONTENT].codes = [503]
    server.pages[CONTENT].headers["Retry-After"] = "²"
    assert fetched(cache) == BODY


def test_a_password_in_the_address_is_neither_shown_nor_kept(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPNO_ZENODO", server.base.replace("//", "//me:s3cret@"))
    server.hold(DARCY, NAME, BODY)
    assert fetched(cache) == BODY
    note = cache / "zenodo" / str(DARCY) / digests.NOTES
    assert "s3cret" not in note.read_text() and "//***@127.0.0.1" in note.read_text()
    server.pages.clear()
    (note.parent / NAME).unlink()
    assert "s3cret" not in refused(cache)
