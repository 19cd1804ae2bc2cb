"""A run's folder, its records and its predictions tell nothing of the machine and the account that made them."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path

import pytest
from bad_home import RUN, SPEC, STORE, ended, make_home

from mpno.specs.errors import secretless
from mpno.training import predict_run

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "s3cret-one",
    "MPNO_ZENODO": "https://me:s3cret-two@mirror.example/api?token=s3cret-three",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return make_home(tmp_path / "home")


def test_nothing_that_is_written_names_a_folder_a_person_or_a_secret(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_run(home / RUN, home / "in.h5", home / "out.h5", progress=False)
    monkeypatch.chdir(home)
    specs = f"'[{SPEC.canonical()}]'"
    for command in ("memory", "time"):
        status, error = ended(f"measure {command} --spec {specs} --root . --out {command}.json")
        assert status == 0, error
    files = [home / STORE, home / "out.h5", home / "time.json", home / "memory.json", *(home / RUN).iterdir()]
    assert {"metrics.json", "spec.json", "model.safetensors", "history.csv"} <= {path.name for path in files}
    words = [*(f"s3cret-{number}" for number in ("one", "two", "three")), str(home), str(Path.home()) + "/"]
    words += [word for word in (getpass.getuser(), socket.gethostname(), os.uname().nodename) if len(word) > 5]
    found = [(path.name, word) for path in files for word in words if word.encode() in path.read_bytes()]
    assert found == []


def test_what_is_said_of_an_address_leaves_its_secrets_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    fetch = "data make navier-stokes --source fetch --set resolution=128 --set test_resolutions=[128]"
    status, error = ended(f"{fetch} --set n_train=1 --set n_test=1")
    assert status == 2 and "MPNO_ZENODO" in error and "s3cret" not in error


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at https://me:pw@host/x: no", "at https://***@host/x: no"),
        ("https://tok@host", "https://***@host"),
        ("https://host/x?access_token=abc&size=3", "https://host/x?access_token=***&size=3"),
        ("'http://host/?api_key=abc'", "'http://host/?api_key=***'"),
        ("mail me@host, see a//b", "mail me@host, see a//b"),
    ],
)
def test_secrets_are_cut_out_of_addresses_alone(text: str, shown: str) -> None:
    assert secretless(text) == shown
