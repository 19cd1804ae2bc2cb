"""What is installed can be checked: licences, the bill of materials, and the question what is known against it."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from .paths import ENVS, load_script

inventory = load_script("inventory")
audit = load_script("audit")
LOCK = {group: (ENVS / f"{group}.txt").read_text() for group in ("run", "test")}


def test_the_licences_are_those_of_the_locked_packages() -> None:
    text = (ENVS / "licences.csv").read_text()
    assert text == inventory.licences(LOCK["run"], LOCK["test"]), "envs/licences.csv is stale: call `make inventory`"
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["package"]: row["version"] for row in rows} == inventory.pins(LOCK["test"])
    silent = [row["package"] for row in rows if row["licence"] == "not stated"]
    assert silent == ["cuda-toolkit"], "look up the licence of a package that states none before it is locked"


def test_the_bill_of_materials_is_that_of_the_lock_and_whole() -> None:
    text = (ENVS / "sbom.json").read_text()
    assert text == inventory.sbom(LOCK["run"]), "envs/sbom.json is stale: call `make inventory`"
    bill = json.loads(text)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    refs = {component["bom-ref"] for component in bill["components"]}
    assert {f"pkg:pypi/{name}@{version}" for name, version in inventory.pins(LOCK["run"]).items()} == refs
    own = bill["metadata"]["component"]["bom-ref"]
    assert {entry["ref"] for entry in bill["dependencies"]} == {own, *refs}
    reached, waiting = set(), [own]
    needs = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += needs[ref]
    left = {ref.split("/")[1].split("@")[0] for ref in refs - reached}
    assert len(left) < 25, f"nothing asks for {sorted(left)}"


class Database(HTTPServer):
    """Answers as OSV does, with `reply(queries)`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.known = {"numpy": "GHSA-0000-0000-0000"}
        self.body: bytes | None = None


class Handler(BaseHTTPRequestHandler):
    server: Database  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        names = [query["package"]["name"] for query in asked]
        results = [{"vulns": [{"id": self.server.known[name]}]} if name in self.server.known else {} for name in names]
        body = self.server.body or json.dumps({"results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def database() -> Iterator[Database]:
    with Database() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_audit_lists_what_is_known(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    base = f"http://127.0.0.1:{database.server_port}"
    assert audit.main(base) == 1
    found = capsys.readouterr().out.splitlines()
    assert found[0].startswith("numpy ") and "GHSA-0000-0000-0000" in found[0] and "1 with something known" in found[1]
    database.known = {}
    assert audit.main(base) == 0


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"results": []}', b'{"results": 3}'])
def test_an_audit_that_learns_nothing_says_so(
    database: Database, capsys: pytest.CaptureFixture[str], body: bytes
) -> None:
    database.body = body
    assert audit.main(f"http://127.0.0.1:{database.server_port}") == 2
    error = capsys.readouterr().err
    assert "nothing was checked" in error and error.count("\n") == 1


@pytest.mark.parametrize("base", ["http://127.0.0.1:9", "file:///etc/passwd", "http://example.org"])
def test_an_audit_without_network_or_by_another_scheme_says_so(base: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(base) == 2
    assert capsys.readouterr().err.count("\n") == 1
