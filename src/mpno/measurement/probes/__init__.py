"""What is asked of finished runs, of shapes, or of nothing. A kind is a module here with a function of its name.

The function takes the arms asked and the settings, and answers with rows of plain numbers and strings. Modules whose
name begins with an underscore are shared.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mpno.measurement.probes.inputs import ProbedArm
from mpno.numerics import refuse_tf32
from mpno.specs import MpnoError, build_spec
from mpno.specs.files import write_text


def answer(question: str, *, out: Path, packages: Sequence[str] = (__name__,)) -> list[dict[str, Any]]:
    """Ask a probe and write its table.

    Args:
        question: JSON with ``kind``, ``settings`` and ``arms``, each with ``part``, ``name``, ``spec``, ``data`` and
            ``runs``.
        out: the CSV file.
        packages: where the module of the kind is looked for; rooms above this one know of others beside it.

    Raises:
        MpnoError: the question is not JSON, there is no such kind, or the probe has nothing to say.
    """
    try:
        asked = json.loads(question)
        kind, settings, entries = (asked[key] for key in ("kind", "settings", "arms"))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise MpnoError(f"--ask: {error!r}; give JSON with kind, settings and arms") from None
    arms = [_arm(entry) for entry in entries]
    torch.set_num_threads(max((arm.spec.threads for arm in arms), default=1))
    refuse_tf32()
    places = [name for name in packages if importlib.util.find_spec(f"{name}.{kind}")]
    if not places:
        raise MpnoError(f"--ask: kind is {kind!r}; there is no such module in {' or '.join(packages)}")
    module = importlib.import_module(f"{places[0]}.{kind}")
    rows = getattr(module, kind)(arms, settings)
    if not rows:
        raise MpnoError(f"probe {kind}: answers nothing to {len(arms)} arms; ask it arms that have finished runs")
    write_text(out, _csv(rows))
    return rows


def _arm(entry: Mapping[str, Any]) -> ProbedArm:
    spec = build_spec(entry["spec"], where=f"--ask, arm {entry['name']}")
    runs = {int(seed): Path(folder) for seed, folder in entry["runs"].items()}
    return ProbedArm(entry["part"], entry["name"], spec, Path(entry["data"]), runs)


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
