"""The one kind of error a user of mpno sees, and how other errors become one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from mpno.specs.names import MODELS

_MESSAGES = {
    "tuple_type": "should be a list, as in [12, 12]",
    "int_parsing": "should be an integer",
    "int_from_float": "should be an integer",
    "float_parsing": "should be a number",
    "invalid_key": "should be a text",
}
"""Where pydantic speaks of Python's types to someone who wrote text."""
_LONGEST = 200
"""Characters of a value in a message: enough to find it by."""
_TRIED = {("model", name) for name in MODELS}


class MpnoError(Exception):
    """A mistake the user can mend: one line that says what, where, what is allowed, what to do.

    The command line prints it and exits with status 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(secretless(" ".join(message.split()))))


def secretless(text: str) -> str:
    """`text` without the names, passwords and tokens that addresses in it may carry."""
    return re.sub(r"([?&](?:\w*token|\w*key|password)=)[^&\s'\"]+", r"\1***", re.sub(r"//[^/\s@'\"]+@", "//***@", text))


def printable(text: str) -> str:
    """`text` with control characters written out: what comes from a file must not steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shortened(value: object) -> str:
    """``repr(value)``, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


@contextmanager
def inside(where: str) -> Iterator[None]:
    """Put `where` before the message of an :class:`MpnoError` raised within."""
    try:
        yield
    except MpnoError as error:
        raise MpnoError(f"{where}: {error}") from None


def allowed(value: object, choices: Iterable[str]) -> str:
    """Return ``"allowed: a, b, c"``, with the nearest choice first where `value` looks misspelt."""
    names = list(choices)
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}allowed: {', '.join(names)}"


def one_line(
    error: ValidationError, *, where: str, fields: dict[str, list[str]], within: tuple[str, ...] = ()
) -> MpnoError:
    """Turn the first finding of a pydantic validation into an :class:`MpnoError`.

    `where` names the file; `fields` maps a dotted prefix (``""`` for the top) to its allowed keys;
    `within` is the place of what was validated, where it is a part.
    """
    found = error.errors()[0]
    place = [*within, *(str(part) for part in found["loc"])]
    value: Any = found.get("input")
    if found["type"] == "model_name":
        value = value.get("name") if isinstance(value, dict) else value
        return MpnoError(f"{where}: {'.'.join(place)}.name is {shortened(value)}; {allowed(value, MODELS)}")
    prefix = ".".join(place[:-1])
    # The name of the architecture says which fields were tried; nobody writes it.
    path = ".".join(part for before, part in zip(["", *place], place, strict=False) if (before, part) not in _TRIED)
    if found["type"] == "extra_forbidden":
        return MpnoError(
            f"{where}: unknown key {path!r} (value {shortened(value)}); {allowed(place[-1], fields.get(prefix, []))}"
        )
    if found["type"] == "literal_error":
        expected = [
            part.strip(" '") for part in str(found.get("ctx", {}).get("expected", "")).replace(" or ", ",").split(",")
        ]
        return MpnoError(f"{where}: {path} is {shortened(value)}; {allowed(value, expected)}")
    if found["type"] == "missing":
        return MpnoError(f"{where}: {path} is missing; add it")
    message = _MESSAGES.get(found["type"], str(found["msg"]))
    message = re.sub("^(Value error, |Input |String |Tuple )", "", message)
    if not path:
        return MpnoError(f"{where}: {message}")
    # A finding about several parts together speaks for itself; the whole mapping would only hide it.
    return MpnoError(
        f"{where}: {path}: {message}"
        if isinstance(value, dict)
        else f"{where}: {path} is {shortened(value)}; it {message}"
    )
