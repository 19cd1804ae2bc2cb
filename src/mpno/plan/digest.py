"""A digest of the source that a stage runs, blind to what cannot change a result.

Snakemake does not see the modules that ``python -m mpno`` imports, so each rule carries the digest of its rooms as
a parameter. Comments, docstrings, blank lines and white space leave it as it is; every Python version gives the same.
"""

from __future__ import annotations

import ast
import hashlib
import io
import token
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mpno.specs import MpnoError

PACKAGE = Path(__file__).resolve().parent.parent

PROBES = ("measurement/probes", "theory/probes")
"""The folders of the rooms in which a probe's kind is looked for; a kind is a module, and has one of its name."""

_TRAIN = ("specs", "numerics", "spectral", "models", "datasets", "training")
ROOMS: dict[str, tuple[str, ...]] = {
    "data": ("specs", "datasets"),
    "train": _TRAIN,
    "time": (*_TRAIN, "measurement/timing.py"),
    "memory": (*_TRAIN, "measurement/memory.py"),
    "probe": _TRAIN,
    "paper": ("specs", "paper"),
}
"""The rooms or modules whose code each stage runs; a probe also runs the module of its kind and what that imports."""

_DROPPED = {token.COMMENT, token.NL, token.ENCODING, token.ENDMARKER}
_MARKS = {token.NEWLINE: "\n", token.INDENT: ">", token.DEDENT: "<"}
# From Python 3.12 on an f-string is several tokens, from 3.14 on a t-string too; before, it was one.
_OPEN = {getattr(token, name) for name in ("FSTRING_START", "TSTRING_START") if hasattr(token, name)}
_CLOSE = {getattr(token, name) for name in ("FSTRING_END", "TSTRING_END") if hasattr(token, name)}


@cache
def source_digest(source: str) -> str:
    """Return the sha256 of the tokens of `source` that can change what it does."""
    digest = hashlib.sha256()
    for text in _tokens(source):
        data = text.encode()
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


def room_digest(stage: str, package: Path = PACKAGE) -> str:
    """Return a short digest of all that `stage` runs, file by file; of a probe, ``probe:KIND``.

    Raises:
        MpnoError: a room of the stage is not there.
    """
    digest = hashlib.sha256()
    stage, _, kind = stage.partition(":")
    for room in (*ROOMS[stage], *(_with_imports(_probe(kind, package), package) if kind else [])):
        place = package / room
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        if not files or not files[0].is_file():
            raise MpnoError(f"{place}: has no source, but stage {stage} runs it; restore it")
        for path in files:
            line = f"{path.relative_to(package).as_posix()} {source_digest(path.read_text(encoding='utf-8'))}\n"
            digest.update(line.encode())
    return digest.hexdigest()[:16]


def probe_kinds(package: Path = PACKAGE) -> list[str]:
    """The kinds that a probe may have."""
    found = [path.stem for folder in PROBES for path in (package / folder).glob("[a-z]*.py")]
    return sorted(kind for kind in found if kind != "inputs")


def drawers(package: Path = PACKAGE) -> list[str]:
    """The modules that may draw an item."""
    return sorted(path.stem for path in (package / "paper" / "items").glob("[a-z]*.py"))


def _probe(kind: str, package: Path) -> str:
    """The module of a kind; where there is none, the place where it would be looked for first."""
    places = [f"{folder}/{kind}.py" for folder in PROBES]
    return next((place for place in places if (package / place).is_file()), places[0])


def _with_imports(module: str, package: Path) -> list[str]:
    """A module of measurement or theory, and those of these rooms that it imports, in turn."""
    found, waiting = [], [module]
    while waiting:
        name = waiting.pop()
        if name in found or not (package / name).is_file():
            continue
        found.append(name)
        tree = ast.parse((package / name).read_text(encoding="utf-8"))
        said = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        inside = [path for path in said if path.startswith(("mpno.measurement.", "mpno.theory."))]
        waiting += [f"{path.removeprefix('mpno.').replace('.', '/')}.py" for path in inside]
    return sorted({module, *found})


def _tokens(source: str) -> Iterator[str]:
    line: list[tokenize.TokenInfo] = []
    for item in _whole_strings(source):
        if item.type in _DROPPED:
            continue
        if item.type in (token.INDENT, token.DEDENT):
            yield _MARKS[item.type]
            continue
        line.append(item)
        if item.type == token.NEWLINE:
            if not _is_docstring(line):
                yield from (_MARKS.get(part.type, part.string) for part in line)
            line = []


def _is_docstring(line: list[tokenize.TokenInfo]) -> bool:
    """A statement of nothing but plain string literals does nothing, wherever it stands."""
    return all(part.type == token.STRING and "f" not in _prefix(part.string) for part in line[:-1])


def _prefix(literal: str) -> str:
    return literal[: min(literal.find(quote) % len(literal) for quote in "'\"")].lower()


def _whole_strings(source: str) -> Iterator[tokenize.TokenInfo]:
    rows = list(io.StringIO(source))
    depth = 0
    start = (0, 0)
    for item in tokenize.generate_tokens(io.StringIO(source).readline):
        if item.type in _OPEN:
            start = item.start if depth == 0 else start
            depth += 1
        elif item.type in _CLOSE:
            depth -= 1
            if depth == 0:
                text = _cut(rows, start, item.end)
                yield tokenize.TokenInfo(token.STRING, text, start, item.end, item.line)
        elif depth == 0:
            yield item


def _cut(rows: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    block = rows[start[0] - 1 : end[0]]
    block[-1] = block[-1][: end[1]]
    block[0] = block[0][start[1] :]
    return "".join(block)
