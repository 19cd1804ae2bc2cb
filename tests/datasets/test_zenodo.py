from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from local_server import Page, Server

from mpno.datasets import digests, download, load_split, read_attrs, registry, verify, zenodo
from mpno.datasets.download import Patience
from mpno.datasets.registry import Pin
from mpno.specs import DataSpec, MpnoError

DARCY = registry.RECORDS["darcy"].id
BODY = random.Random(0).randbytes(300_000)
NAME = "darcy_64.tgz"


def kept(cache: Path) -> Path:
    return cache / "zenodo" / str(DARCY) / NAME


def part(cache: Path) -> Path:
    return kept(cache).parent / f".{NAME}.part"


def get(cache: Path) -> bytes:
    (path,) = zenodo.fetch("darcy", cache, resolutions=[64])
    assert path == kept(cache)
    assert not part(cache).exists()
    return path.read_bytes()


def refused(cache: Path) -> str:
    """The one line that fetching ends in, with no file left that could be taken for the data set."""
    with pytest.raises(MpnoError) as caught:
        zenodo.fetch("darcy", cache, resolutions=[64])
    assert "\n" not in str(caught.value)
    assert zenodo.state("darcy", cache, 64) in ("missing", "present")
    return str(caught.value)


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def test_a_file_without_a_pin_is_learnt_checked_once_and_shown_as_unpinned(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY)
    assert zenodo.state("darcy", cache, 64) == zenodo.state("darcy", cache) == "missing"
    assert get(cache) == BODY
    assert zenodo.state("darcy", cache, 64) == zenodo.state("darcy", cache) == "unpinned"
    assert zenodo.state("darcy", cache, 128) == zenodo.state("darcy", cache, 100) == "missing"
    asked = len(server.asked)
    assert get(cache) == BODY
    assert len(server.asked) == asked == 2


def test_a_pinned_file_needs_no_record(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.hold(DARCY, NAME, BODY)
    monkeypatch.setitem(registry.PINS, f"{DARCY}/{NAME}", Pin(md5(BODY), None, "a test"))
    assert get(cache) == BODY
    assert server.contents() == [None]
    assert len(server.asked) == 1
    assert zenodo.state("darcy", cache, 64) == "verified"


def test_a_file_changed_after_its_check_is_present_until_it_is_checked_again(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY)
    get(cache)
    kept(cache).write_bytes(BODY[::-1])
    assert zenodo.state("darcy", cache, 64) == "present"
    assert f"{kept(cache)}: has md5 {md5(BODY[::-1])}, expected {md5(BODY)}; delete it" in refused(cache)
    with pytest.raises(MpnoError, match="has md5"):
        zenodo.check("darcy", cache)
    kept(cache).write_bytes(BODY)
    assert zenodo.state("darcy", cache, 64) == "present"
    assert zenodo.check("darcy", cache) == zenodo.state("darcy", cache, 64) == "unpinned"
    assert get(cache) == BODY
    assert len(server.contents()) == 1


def test_a_check_reads_the_bytes(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY)
    get(cache)
    times = kept(cache).stat()
    kept(cache).write_bytes(BODY[::-1])
    os.utime(kept(cache), ns=(times.st_atime_ns, times.st_mtime_ns))
    assert zenodo.state("darcy", cache) == "unpinned"  # what a cheap look can tell
    with pytest.raises(MpnoError, match="has md5"):
        zenodo.check("darcy", cache, 64)


def test_a_file_put_there_by_hand_is_checked_against_the_record(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY)
    kept(cache).parent.mkdir(parents=True)
    kept(cache).write_bytes(BODY)
    assert zenodo.state("darcy", cache, 64) == "present"
    assert get(cache) == BODY
    assert server.contents() == []
    kept(cache).write_bytes(BODY[:-1])
    assert f"has {len(BODY) - 1} bytes, expected {len(BODY)}; delete it" in refused(cache)


def test_a_connection_that_is_cut_is_taken_up_where_it_ended(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY, cut=130_000)
    assert get(cache) == BODY
    assert server.contents() == [None, "bytes=130000-", "bytes=260000-"]


def test_a_connection_that_is_cut_often_but_brings_something_each_time(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PATIENCE", Patience(connect=5, silence=5, wait=0.01, tries=2))
    body = 4 * BODY
    server.hold(DARCY, NAME, body, cut=download.CHUNK)
    assert get(cache) == body
    assert len(server.contents()) == 5


def test_a_server_that_sends_another_range_is_read_from_the_beginning(server: Server, cache: Path) -> None:
    page = server.hold(DARCY, NAME, BODY, shift=5, cut=200_000)
    assert "asked for bytes from 200000, the server sent bytes 200005-299999/300000" in refused(cache)
    page.cut = None
    assert get(cache) == BODY


def test_a_server_that_ignores_ranges_is_read_from_the_beginning(server: Server, cache: Path) -> None:
    page = server.hold(DARCY, NAME, BODY, ranges=False, cut=200_000)
    assert "kept and the next try goes on" in refused(cache)
    page.cut = None
    assert get(cache) == BODY
    assert server.contents()[-1] == "bytes=200000-"


@pytest.mark.parametrize(
    ("length", "word"),
    [
        (True, "IncompleteRead(100000 bytes read, 200000 more expected)"),
        (False, "the connection ended after 100000 of 300000 bytes"),
    ],
)
def test_truncated_for_good(server: Server, cache: Path, length: bool, word: str) -> None:
    server.hold(DARCY, NAME, BODY, cut=100_000, ranges=False, length=length)
    message = refused(cache)
    assert f"({word}; tried 4 times)" in message
    assert f"/records/{DARCY}/files/{NAME}/content: could not download it" in message
    assert (
        "MPNO_ZENODO" in message and "https_proxy" in message and f"put the file into {kept(cache).parent}" in message
    )
    assert part(cache).stat().st_size == 100_000
    assert not kept(cache).exists()


def test_altered_bytes_are_not_kept(server: Server, cache: Path) -> None:
    altered = BODY[:-1] + bytes([BODY[-1] ^ 1])
    server.hold(DARCY, NAME, BODY).body = altered
    assert f"what came has md5 {md5(altered)}, expected {md5(BODY)}; it was deleted: fetch again" in refused(cache)
    assert not kept(cache).exists() and not part(cache).exists()
    server.hold(DARCY, NAME, BODY)
    assert get(cache) == BODY


def test_a_beginning_of_another_file_is_given_up(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY)
    kept(cache).parent.mkdir(parents=True)
    part(cache).write_bytes(BODY[::-1][:1000])
    assert get(cache) == BODY
    assert server.contents() == ["bytes=1000-", None]


@pytest.mark.parametrize("beginning", [BODY, BODY + b"more"])
def test_a_kept_beginning_as_long_as_the_file_or_longer(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    """With a pin that knows no size, as after a kill between the last byte and the check."""
    server.hold(DARCY, NAME, BODY)
    monkeypatch.setitem(registry.PINS, f"{DARCY}/{NAME}", Pin(md5(BODY), None, "a test"))
    kept(cache).parent.mkdir(parents=True)
    part(cache).write_bytes(beginning)
    assert get(cache) == BODY
    assert server.contents() == ([f"bytes={len(BODY)}-"] if beginning == BODY else [f"bytes={len(beginning)}-", None])


def test_another_size_than_the_record_says(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY).body = BODY + b"more"
    assert f"file has {len(BODY) + 4} bytes, {len(BODY)} are expected" in refused(cache)
    assert len(server.contents()) == 1


@pytest.mark.parametrize(("fields", "word"), [({"stall": 50_000}, "timed out"), ({"pause": 0.15}, "the server sent")])
def test_a_server_that_stalls_or_is_too_slow(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], word: str
) -> None:
    monkeypatch.setattr(download, "PATIENCE", Patience(connect=2, silence=0.25, rate=1e6, wait=0.01, tries=2))
    page = server.hold(DARCY, NAME, BODY, **fields)
    begun = time.monotonic()
    message = refused(cache)
    assert time.monotonic() - begun < 5
    assert word in message
    held = part(cache).stat().st_size
    assert f"{held} bytes are kept" in message and held > 0
    page.stall, page.pause = None, 0.0
    monkeypatch.setattr(download, "PATIENCE", Patience())
    assert get(cache) == BODY
    assert server.contents()[-1] == f"bytes={held}-"


def test_a_server_that_is_busy_for_a_while(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY, codes=[503, 429, 500], headers={"Retry-After": "0"})
    assert get(cache) == BODY
    assert len(server.contents()) == 4


def test_a_server_that_stays_busy(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY, codes=[503] * 9)
    assert "answered 503 Service Unavailable; tried 4 times" in refused(cache)
    assert len(server.contents()) == 4


def test_not_there(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY)
    del server.pages[f"/api/records/{DARCY}/files/{NAME}/content"]
    assert "the server answered 404 Not Found" in refused(cache)
    assert len(server.contents()) == 1


def test_no_network(server: Server, cache: Path) -> None:
    with pytest.raises(
        MpnoError, match=r"http://127.0.0.1:9/api/records/\d+: could not download it \(.*refused; tried"
    ):
        zenodo.fetch("darcy", cache, resolutions=[64], base_url="http://127.0.0.1:9/api")


def test_a_proxy_is_used(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.hold(DARCY, NAME, BODY)
    server.pages = {f"http://zenodo.invalid{path}": page for path, page in server.pages.items()}
    monkeypatch.setenv("MPNO_ZENODO", "http://zenodo.invalid/api/")
    monkeypatch.setenv("http_proxy", server.base)
    assert get(cache) == BODY


def test_a_base_that_is_no_address(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPNO_ZENODO", "zenodo.org")
    assert "MPNO_ZENODO or base_url is 'zenodo.org'; expected an address" in refused(cache)


def test_no_room(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.hold(DARCY, NAME, BODY)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    assert f"needs {len(BODY)} bytes, 1000000 are free" in refused(cache)


def test_a_cache_that_cannot_be_written(server: Server, cache: Path) -> None:
    cache.write_text("a file")
    assert "choose another cache folder" in refused(cache)


def test_a_record_in_the_older_form(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY)
    entry = {"filename": NAME, "filesize": len(BODY), "checksum": md5(BODY)}
    server.pages[f"/api/records/{DARCY}"].body = json.dumps({"files": [entry]}).encode()
    assert get(cache) == BODY


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (b"<html>busy</html>", "not JSON but begins b'<html>busy</html>'"),
        (b"[]", "lists no files"),
        (b'{"files": [{"key": "darcy_16.tgz"}]}', f"has no file {NAME}; it has: darcy_16.tgz"),
        (b'{"files": [{"key": "darcy_64.tgz", "checksum": "md5:12", "size": 4}]}', "checksum '12' and size 4"),
    ],
)
def test_a_reply_that_is_no_record(server: Server, cache: Path, reply: bytes, word: str) -> None:
    server.hold(DARCY, NAME, BODY)
    server.pages[f"/api/records/{DARCY}"] = Page(reply)
    message = refused(cache)
    assert word in message and f"{server.base}/records/{DARCY}: " in message


def test_a_digest_that_differs_from_the_learnt_one_is_refused(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY)
    get(cache)
    kept(cache).unlink()
    other = BODY[::-1]
    server.hold(DARCY, NAME, other)
    message = refused(cache)
    assert f"now gives md5 {md5(other)}" in message and f"learnt on first contact is {md5(BODY)}" in message
    assert server.contents() == [None]


def test_a_note_that_is_not_json(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY)
    get(cache)
    (kept(cache).parent / digests.NOTES).write_text("{")
    with pytest.raises(MpnoError, match=r"digests\.json: not JSON .*; delete it"):
        zenodo.state("darcy", cache, 64)


def test_the_lines_a_maintainer_commits_pin_what_was_learnt(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.hold(DARCY, NAME, BODY)
    assert digests.lines_to_commit(cache) == []
    get(cache)
    (line,) = digests.lines_to_commit(cache)
    for key, pin in eval(f"{{{line}}}", {"Pin": Pin}).items():
        assert (pin.md5, pin.size) == (md5(BODY), len(BODY))
        monkeypatch.setitem(registry.PINS, key, pin)
    assert zenodo.state("darcy", cache, 64) == "verified"
    assert digests.lines_to_commit(cache) == []


def start(cache: Path) -> subprocess.Popen[bytes]:
    code = (
        "import sys, pathlib; from mpno.datasets import zenodo; "
        "zenodo.fetch('darcy', pathlib.Path(sys.argv[1]), resolutions=[64])"
    )
    command = [sys.executable, "-c", code, str(cache)]
    return subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.DEVNULL)


def test_two_processes_download_once(server: Server, cache: Path) -> None:
    server.hold(DARCY, NAME, BODY, pause=0.02)
    both = [start(cache), start(cache)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert kept(cache).read_bytes() == BODY
    assert server.contents() == [None]


def test_a_killed_download_is_taken_up(server: Server, cache: Path) -> None:
    page = server.hold(DARCY, NAME, BODY, pause=0.1)
    process = start(cache)
    until = time.monotonic() + 20
    while not (part(cache).exists() and part(cache).stat().st_size > 0):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert zenodo.state("darcy", cache, 64) == "missing"
    held, page.pause = part(cache).stat().st_size, 0.0
    assert 0 < held < len(BODY)
    assert get(cache) == BODY
    assert server.contents() == [None, f"bytes={held}-"]


def tgz(contents: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def saved(n: int, resolution: int, seed: int) -> tuple[dict[str, torch.Tensor], bytes]:
    draw = torch.Generator().manual_seed(seed)
    pairs = {key: torch.randn(n, resolution, resolution, generator=draw) for key in "xy"}
    pairs["x"] = pairs["x"] > 0
    out = io.BytesIO()
    torch.save(pairs, out)
    return pairs, out.getvalue()


SPEC = DataSpec(name="darcy", source="fetch", resolution=64, test_resolutions=(64, 32), n_train=3, n_test=2)


def test_a_store_holds_the_first_pairs_as_published(server: Server, tmp_path: Path, cache: Path) -> None:
    train, train_pt = saved(5, 64, 1)
    test, test_pt = saved(2, 64, 2)
    fine, fine_pt = saved(3, 32, 3)
    server.hold(DARCY, "darcy_32.tgz", tgz({"darcy_test_32.pt": fine_pt}))
    entries = json.loads(server.pages[f"/api/records/{DARCY}"].body)["files"]
    server.hold(
        DARCY, NAME, tgz({"darcy_64/darcy_train_64.pt": train_pt, "./darcy_test_64.pt": test_pt, "notes": b"n"})
    )
    entries += json.loads(server.pages[f"/api/records/{DARCY}"].body)["files"]
    server.pages[f"/api/records/{DARCY}"].body = json.dumps({"files": entries}).encode()
    (cache / "zenodo" / "unpacked" / "left by a killed process").mkdir(parents=True)
    zenodo.make_store(SPEC, tmp_path / "d.h5", cache=cache)
    for split, resolution, pairs, n in (("train", 64, train, 3), ("test", 64, test, 2), ("test", 32, fine, 2)):
        x, y = load_split(tmp_path / "d.h5", split, resolution)
        np.testing.assert_array_equal(x[:, 0], pairs["x"][:n].numpy())
        np.testing.assert_array_equal(y[:, 0], pairs["y"][:n].numpy())
    attrs = read_attrs(tmp_path / "d.h5")
    assert (attrs["digest"], attrs["source"]) == (verify(tmp_path / "d.h5"), "fetch")
    origin = json.loads(attrs["origin"])["files"]
    assert origin[NAME] == {"md5": md5(kept(cache).read_bytes()), "pinned": False}
    assert not list((cache / "zenodo" / "unpacked").iterdir())


def test_more_pairs_than_there_are_known_to_be_are_refused_at_once(server: Server, cache: Path) -> None:
    spec = SPEC.model_copy(update={"resolution": 128, "n_train": 5001})
    with pytest.raises(MpnoError, match="5001 train pairs asked at resolution 128; the public set has 5000"):
        zenodo.make_store(spec, cache / "d.h5", cache=cache)
    with pytest.raises(MpnoError, match="no file at resolution 256; allowed: 16, 32, 64, 128, 421; or use source gen"):
        zenodo.make_store(spec.model_copy(update={"resolution": 256}), cache / "d.h5", cache=cache)
    assert server.asked == []


@pytest.mark.parametrize(
    ("contents", "word"),
    [
        ({"other.pt": b"x"}, "darcy_train_64.pt is not in it"),
        (
            {"darcy_train_64.pt": saved(1, 64, 0)[1]},
            f"{NAME}: darcy_train_64.pt: 3 samples asked; allowed: 1 to 1: ask for fewer",
        ),
        ({"../darcy_train_64.pt": b"x"}, "leaves the folder; refused"),
    ],
)
def test_an_archive_that_does_not_hold_the_set(
    server: Server, cache: Path, tmp_path: Path, contents: dict[str, bytes], word: str
) -> None:
    server.hold(DARCY, NAME, tgz(contents))
    with pytest.raises(MpnoError) as caught:
        zenodo.make_store(SPEC.model_copy(update={"test_resolutions": (64,)}), tmp_path / "d.h5", cache=cache)
    assert word in str(caught.value) and NAME in str(caught.value)
    assert not (tmp_path / "d.h5").exists()
    assert not list((cache / "zenodo" / "unpacked").iterdir())


def test_a_member_with_a_known_digest_is_checked(server: Server, cache: Path, tmp_path: Path) -> None:
    server.hold(DARCY, "darcy_128.tgz", tgz({"darcy_train_128.pt": b"x"}))
    spec = SPEC.model_copy(update={"resolution": 128, "test_resolutions": (128,)})
    with pytest.raises(MpnoError, match=r"darcy_128\.tgz: darcy_train_128\.pt has sha256 2d71.*, expected b0b98f29"):
        zenodo.make_store(spec, tmp_path / "d.h5", cache=cache)


def cars(top: str, mesh: str, press: str) -> dict[str, bytes]:
    lists = {f"{top}train.txt": b"001,004\n", f"{top}test.txt": b"659"}
    data = {f"{top}data/{form.format(one)}": one.encode() for one in ("001", "004", "659") for form in (mesh, press)}
    return lists | data


@pytest.mark.parametrize(
    ("top", "mesh", "press"),
    [
        ("processed-car-pressure-data/", "mesh_{}.ply", "press_{}.npy"),
        ("", "{}/tri_mesh.ply", "{}/press.npy"),
    ],
)
def test_cars_are_fetched_unpacked_and_listed(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, top: str, mesh: str, press: str
) -> None:
    (file,) = zenodo.files("car")
    extra = {f"{top}data/data/mesh_001.ply": b"again", f"{top}data/._mesh_001.ply": b"Apple", f"{top}x.bin": b"x"}
    body = tgz(cars(top, mesh, press) | extra)
    monkeypatch.setitem(registry.PINS, file.key, Pin(md5(body), len(body), "a test"))
    server.hold(file.record, file.name, body)
    with pytest.raises(MpnoError, match=r"holds \{'train': 2, 'test': 1\} cars, expected \{'train': 500"):
        zenodo.fetch_cars(cache)
    monkeypatch.setattr(registry, "CAR_SAMPLES", {"train": 2, "test": 1})
    folder = zenodo.fetch_cars(cache)
    found = zenodo.car_files(folder)
    assert {split: [path.read_text() for path, _ in pairs] for split, pairs in found.items()} == {
        "train": ["001", "004"],
        "test": ["659"],
    }
    assert all(path.suffix == ".npy" and path.read_text() == one.read_text() for one, path in found["train"])
    assert {path.name for path in folder.iterdir()} == {"data", "train.txt", "test.txt", ".unpacked-from"}
    (folder / "kept").touch()
    assert zenodo.fetch_cars(cache) == folder and (folder / "kept").exists()
    assert zenodo.state("car", cache) == zenodo.state("car", cache, 32) == "verified"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"test.txt": b"659,001"}, r"test\.txt: car 001 is listed twice, before in train\.txt"),
        ({"test.txt": b"../../etc"}, r"test\.txt: begins '\.\./\.\./etc'; expected numbers of cars"),
        ({"test.txt": b""}, r"test\.txt: begins ''"),
        ({"test.txt": None}, r"test\.txt: no such file"),
        ({"data/press_004.npy": None}, r"car 004 has no mesh and pressure there \(mesh_004\.ply\)"),
    ],
)
def test_cars_that_are_not_all_there(tmp_path: Path, change: dict[str, bytes | None], word: str) -> None:
    (tmp_path / "data").mkdir()
    for name, content in (cars("", "mesh_{}.ply", "press_{}.npy") | change).items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(MpnoError, match=word):
        zenodo.car_files(tmp_path)


def test_pins_are_of_files_there_are() -> None:
    keys = {file.key for entry in registry.RECORDS.values() for file in entry.files}
    assert set(registry.PINS) <= keys
    assert all(len(pin.md5) == 32 and pin.source for pin in registry.PINS.values())
    assert all(file.record == entry.id for entry in registry.RECORDS.values() for file in entry.files)


def test_an_unknown_set() -> None:
    with pytest.raises(MpnoError, match="'darci' has no public record; did you mean darcy"):
        zenodo.files("darci")
