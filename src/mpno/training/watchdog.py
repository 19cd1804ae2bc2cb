"""An end to a training that hangs: an epoch may take so long and no longer."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType

from mpno.specs import MpnoError

VARIABLE = "MPNO_EPOCH_LIMIT"
"""Seconds that any epoch may take, in the environment; without it the limits below hold."""
FIRST = 4 * 3600.0
"""Seconds for the first epoch of a process, of which nothing is known: as long as a cluster grants a whole training."""
FACTOR, LEAST = 20.0, 600.0
"""Each later epoch may take so many times as long as the slowest before it, and at least so many seconds."""
TICKS = 50
"""How often it looks in the time of one limit."""
STATUS = 1
"""The exit status: not 2, for the user has made no mistake."""


class Watchdog:
    """Ends the process with one line once an epoch takes longer than it may; the next call goes on from the checkpoint.

    It is a thread that counts as long as the process runs: time in which the process is stopped, or the machine asleep,
    is not the epoch's. A call that never returns and never lets another thread run is beyond it.

    Args:
        name: the run, for the line.

    Raises:
        MpnoError: the environment has a limit that is no number of seconds.
    """

    def __init__(self, name: str) -> None:
        self._name, self._given, self._slowest = name, _given(), 0.0
        self._fed, self._epoch, self._begun = threading.Condition(), 0, time.monotonic()

    def __enter__(self) -> Watchdog:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._fed:
            self._epoch = -1
            self._fed.notify()

    def begin(self, epoch: int) -> None:
        """From now on `epoch`, counted from 1, runs."""
        now = time.monotonic()
        with self._fed:
            if self._epoch:
                self._slowest = max(self._slowest, now - self._begun)
            self._epoch, self._begun = epoch, now
            self._fed.notify()

    @property
    def limit(self) -> float:
        """Seconds that the running epoch may take."""
        return self._given or (max(LEAST, FACTOR * self._slowest) if self._slowest else FIRST)

    def _watch(self) -> None:
        epoch, ticks = 0, 0
        with self._fed:
            while self._epoch >= 0:
                # A wait in which the process was stopped is one tick, however long.
                self._fed.wait(self.limit / TICKS)
                epoch, ticks = self._epoch, ticks + 1 if self._epoch == epoch else 0
                if ticks == TICKS:
                    self._end()

    def _end(self) -> None:
        print(
            f"mpno: {self._name}: epoch {self._epoch} has run for {self.limit:.4g} s, longer than an epoch should; the "
            f"training was ended; call again to go on from its last checkpoint, with {VARIABLE}=SECONDS to wait longer",
            file=sys.stderr,
            flush=True,
        )
        os._exit(STATUS)


def _given() -> float | None:
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise MpnoError(f"{VARIABLE} is {text!r}; give a number of seconds above 0, or leave it out")
    return value
