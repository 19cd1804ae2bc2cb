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
from mpno.numerics import refuse_shortcuts
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
        if not (isinstance(kind, str) and isinstance(settings, dict) and isinstance(entries, list)):
            raise TypeError("kind is a text, settings are an object, arms are a list")
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise MpnoError(f"--ask: {error!r}; give JSON with kind, settings and arms") from None
    arms = [_arm(entry) for entry in entries]
    torch.set_num_threads(max((arm.spec.threads for arm in arms), default=1))
    refuse_shortcuts()
    places = [name for name in packages if kind.isidentifier() and importlib.util.find_spec(f"{name}.{kind}")]
    probe = getattr(importlib.import_module(f"{places[0]}.{kind}"), kind, None) if places else None
    if probe is None:
        raise MpnoError(f"--ask: kind is {kind!r}; there is no such probe in {' or '.join(packages)}; choose one")
    rows = probe(arms, settings)
    if not rows:
        raise MpnoError(f"probe {kind}: answers nothing to {len(arms)} arms; ask it arms that have finished runs")
    write_text(out, _csv(rows))
    return rows


def _arm(entry: Any) -> ProbedArm:
    try:
        name, part, data, values = entry["name"], entry["part"], Path(entry["data"]), entry["spec"]
        runs = {int(seed): Path(folder) for seed, folder in entry["runs"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MpnoError(f"--ask: arm {entry!r} ({error!r}); give it part, name, spec, data and runs") from None
    return ProbedArm(part, name, build_spec(values, where=f"--ask, arm {name}"), data, runs)


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
