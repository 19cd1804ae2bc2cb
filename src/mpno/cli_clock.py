"""What each job of the workflow took, as lines of a file that the workflow names in the environment."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mpno.specs import MpnoError

VARIABLE = "MPNO_TIMES"
"""The file, in the environment; without it nothing is kept."""
_FILES = (".h5", ".json", ".csv", ".ipynb", ".html")
_loaded = time.time()


def loaded_now() -> None:
    """A job that is forked begins now, not when the modules were loaded."""
    global _loaded
    _loaded = time.time()


@contextmanager
def clock(stage: str, out: Path) -> Iterator[None]:
    """Keep how long `stage` took for `out`, whose name without ending is the job's, from here on and since its start.

    To be opened once the libraries are loaded: what lies before it is start-up.
    """
    path = os.environ.get(VARIABLE)
    if path:
        _check(Path(path))
    started = time.time()
    yield
    if not path:
        return
    name = out.stem if out.suffix in _FILES else out.name
    entry = {"stage": stage, "name": name, "loaded": _loaded, "started": started, "ended": time.time()}
    # One short line in one write: jobs side by side do not mix theirs.
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def _check(path: Path) -> None:
    """Before any work is done for nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError as error:
        raise MpnoError(f"{VARIABLE} is {path}: cannot be written ({error.strerror}); name another file") from None
