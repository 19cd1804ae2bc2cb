from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_server import Server

from mpno.datasets import download
from mpno.datasets.download import Patience
from mpno.datasets.fetch import DARCY, fetch_darcy
from mpno.specs import MpnoError

KEPT = Path(__file__).parents[2] / "results" / "cache"
"""Where the workflow keeps the wheel: taken from there when it is, else downloaded once per run."""


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public Darcy set as a store."""
    folder = tmp_path_factory.mktemp("public")
    cache = KEPT if (KEPT / DARCY.file).is_file() else folder / "cache"
    try:
        fetch_darcy(folder / "darcy.h5", cache)
    except MpnoError as error:
        if "could not download" in str(error):
            pytest.skip(f"the public Darcy set cannot be had here: {error}")
        raise
    return folder / "darcy.h5"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Zenodo on the loopback, named by the variable, with a client that is soon out of patience."""
    served = Server()
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("MPNO_ZENODO", served.base)
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")
    monkeypatch.setattr(download, "PATIENCE", Patience(connect=5, silence=5, wait=0.01, tries=4))
    yield served
    served.ended.set()
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
