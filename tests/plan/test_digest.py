"""The source digest sees what can change a result, and nothing else, on every Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mpno.plan import digest
from mpno.plan.digest import PACKAGE, ROOMS, room_digest, source_digest

SNIPPET = '''\
"""A module."""

import math


def area(r: float) -> str:
    """Say the area."""
    value = math.pi * r**2  # of the disc
    return f"{value:.{2}f} {'m' + "2"!r:>3}" + rf"\\d{r}" f"""
{value}"""
'''
# Chosen so that 3.11 can read it: no quote of an f-string stands inside it.
PORTABLE = SNIPPET.replace("""{'m' + "2"!r:>3}""", "{'m2'!r:>3}")
PINNED = "6a00194ec114cca851308757650a1566b81930067504b1cc134bb2d269b0da9e"


def test_pinned_value() -> None:
    assert source_digest(PORTABLE) == PINNED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # of the disc", ""),
        ("  # of the disc", "  # of a circle"),
        ('    """Say the area."""\n', ""),
        ('"""A module."""', '"""Another."""'),
        ("import math\n\n\n", "import math\n"),
        ("math.pi * r**2", "math.pi  *  r ** 2"),
        ("    value", "  value"),
        ("area(r: float)", "area(\n    r: float\n)"),
    ],
)
def test_blind_to_what_changes_nothing(old: str, new: str) -> None:
    changed = PORTABLE.replace(old, new)
    if old == "    value":
        changed = changed.replace("    return", "  return").replace('    """Say', '  """Say')
    assert changed != PORTABLE
    assert source_digest(changed) == source_digest(PORTABLE)


@pytest.mark.parametrize(
    ("old", "new"),
    [("r**2", "r**3"), ("math.pi", "math.tau"), (".{2}f", ".{3}f"), ("'m2'", "'m3'"), ("\n{value}", "\n {value}")],
)
def test_sees_what_changes_a_result(old: str, new: str) -> None:
    assert source_digest(PORTABLE.replace(old, new)) != source_digest(PORTABLE)


def test_a_string_that_is_used_is_no_docstring() -> None:
    assert source_digest('x = "a"\n') != source_digest('x = "b"\n')
    assert source_digest('"fa"\nx = 1\n') == source_digest("x = 1\n")
    assert source_digest('f"{y()}"\nx = 1\n') != source_digest("x = 1\n")


def test_indentation_counts_as_structure() -> None:
    assert source_digest("if a:\n    b()\n    c()\n") != source_digest("if a:\n    b()\nc()\n")


def test_every_room_is_there() -> None:
    digests = {stage: room_digest(stage) for stage in ROOMS}
    # Before its kind is named, a probe runs what a training runs.
    assert digests.pop("probe") == digests["train"]
    assert len(set(digests.values())) == len(digests)


def test_a_room_moves_only_the_stages_that_run_it(tmp_path: Path) -> None:
    copy = tmp_path / "mpno"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = {stage: room_digest(stage, copy) for stage in ROOMS}
    assert before == {stage: room_digest(stage) for stage in ROOMS}
    with (copy / "paper" / "table.py").open("a") as file:
        file.write("\nX = 1\n")
    after = {stage: room_digest(stage, copy) for stage in ROOMS}
    assert [stage for stage in ROOMS if before[stage] != after[stage]] == ["paper"]


def test_a_missing_room_is_an_error(tmp_path: Path) -> None:
    from mpno.specs import MpnoError

    with pytest.raises(MpnoError, match="has no source"):
        room_digest("data", tmp_path)


def _other_pythons() -> list[str]:
    """Interpreters from 3.11 on, other than this version, on PATH or kept by pyenv."""
    names = [f"python3.{minor}" for minor in range(11, 16)]
    found = [shutil.which(name) for name in names]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found += [str(path) for path in sorted(root.glob("versions/3.*/bin/python3"))]
    pythons: dict[tuple[int, int], str] = {}
    for path in filter(None, found):
        asked = subprocess.run(
            [path, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0:
            major, minor = map(int, asked.stdout.split())
            pythons[major, minor] = path
    return [path for version, path in pythons.items() if (3, 11) <= version != sys.version_info[:2]]


LOADER = """
import importlib.util, json, sys, types
specs = types.ModuleType("mpno.specs")
specs.MpnoError = Exception
sys.modules |= {"mpno": types.ModuleType("mpno"), "mpno.specs": specs}
spec = importlib.util.spec_from_file_location("digest", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(json.dumps([module.source_digest(text) for text in json.load(sys.stdin)]))
"""


def test_equal_on_every_python() -> None:
    pythons = _other_pythons()
    if not pythons:
        pytest.skip("no other Python from 3.11 on is installed")
    sources = [PORTABLE, *(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py")))]
    ours = [source_digest(text) for text in sources]
    for python in pythons:
        theirs = subprocess.run(
            [python, "-c", LOADER, digest.__file__],
            input=json.dumps(sources),
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(theirs.stdout) == ours, python


def test_a_probe_s_digest_follows_its_imports_within_measurement_and_theory(tmp_path: Path) -> None:
    copy = tmp_path / "mpno"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "theory" / "probes" / "toy.py").write_text("from mpno.theory.bounds import crossing\n")
    before = {kind: room_digest(f"probe:{kind}", copy) for kind in ("toy", "frequency")}
    with (copy / "theory" / "functions.py").open("a") as file:  # which bounds imports
        file.write("\nX = 1\n")
    after = {kind: room_digest(f"probe:{kind}", copy) for kind in ("toy", "frequency")}
    assert before["toy"] != after["toy"] and before["frequency"] == after["frequency"]


def test_a_kind_of_probe_is_in_one_room_alone() -> None:
    kinds = digest.probe_kinds()
    assert len(kinds) == len(set(kinds)) and "frequency" in kinds and "inputs" not in kinds
