"""Ask the OSV database about every locked package: `python envs/audit.py`. Standard library only.

Exit status 0: nothing known; 1: what is known is listed; 2: the database could not be asked, so nothing was checked.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from render import pins  # noqa: E402

OSV = "https://api.osv.dev/v1"
SECONDS = 30


def ask(locked: dict[str, str], base: str) -> dict[str, list[str]]:
    """The identifiers of what is known against each package that has something against it.

    Raises:
        OSError, ValueError: no answer, or one that is not OSV's.
    """
    names = list(locked)
    queries = [{"package": {"name": name, "ecosystem": "PyPI"}, "version": locked[name]} for name in names]
    request = urllib.request.Request(
        f"{base}/querybatch",
        data=json.dumps({"queries": queries}).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "mpno (audit)"},
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        reply: Any = json.loads(answer.read())
    results = reply.get("results") if isinstance(reply, dict) else None
    if not isinstance(results, list) or len(results) != len(names):
        raise ValueError(f"it answers nothing to {len(names)} questions")
    known = {
        name: [str(one["id"]) for one in result.get("vulns", [])] for name, result in zip(names, results, strict=True)
    }
    return {name: found for name, found in known.items() if found}


def main(base: str) -> int:
    if not base.startswith(("https://", "http://127.0.0.1:")):
        print(f"audit: MPNO_OSV is {base!r}; allowed: an https address", file=sys.stderr)
        return 2
    locked = pins((HERE / "test.txt").read_text())
    try:
        known = ask(locked, base)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"audit: {base} could not be asked ({error}); nothing was checked: try again online", file=sys.stderr)
        return 2
    for name, found in known.items():
        print(f"{name} {locked[name]}: {', '.join(found)}; see https://osv.dev/vulnerability/{found[0]}")
    print(f"audit: {len(locked)} packages, {len(known)} with something known against them")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main(os.environ.get("MPNO_OSV") or OSV))
