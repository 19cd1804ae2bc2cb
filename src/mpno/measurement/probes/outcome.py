"""How the training behind a finished run ended."""

from __future__ import annotations

import json
from pathlib import Path

from mpno.specs import MpnoError


def diverged(run: Path) -> bool:
    """Whether the training in this folder diverged, so that its weights are not those of a finished one.

    Raises:
        MpnoError: there is no record of it.
    """
    try:
        return json.loads((run / "metrics.json").read_text(encoding="utf-8"))["diverged"] is not None
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise MpnoError(f"{run}/metrics.json: no record of a run ({error!r}); delete the folder, run again") from None
