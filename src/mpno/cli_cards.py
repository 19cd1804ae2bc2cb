"""One card for each job, where the workflow runs on a machine with several.

The workflow lets no more jobs run than there are cards and names the cards in the environment. Each job that needs one
takes the first that nobody holds and sees no other. The hold is a lock on a file: it ends with the job, however that
ends. A cluster's scheduler hands cards out itself; there the workflow names none.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

VARIABLE = "MPNO_CARDS"
"""The cards, separated by commas, in the environment."""
COMPUTES = {"train", "time", "probe"}
"""The commands that use a card."""


def take_card(arguments: Sequence[str]) -> TextIO | None:
    """Let this process and its children see one card alone, and return what holds it; None where there is no choice.

    The card is free again once what was returned is closed. Waits where every card is held.
    """
    cards = os.environ.get(VARIABLE)
    if not cards or not COMPUTES & set(arguments[:2]):
        return None
    folder = Path(tempfile.gettempdir(), f"mpno-cards-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        for card in cards.split(","):
            lock = (folder / re.sub(r"\W", "-", card)).open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            os.environ["CUDA_VISIBLE_DEVICES"] = card
            return lock
        time.sleep(1)
