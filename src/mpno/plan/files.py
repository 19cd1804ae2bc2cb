"""YAML files to validated models, with one line for whatever is wrong."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mpno.plan.yaml_text import load
from mpno.specs import MpnoError, one_line, spec_fields

Model = TypeVar("Model", bound=BaseModel)
LARGEST = 2**20
"""Bytes of a file that a person writes."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in `path`.

    Raises:
        MpnoError: there is no such file, it is not plain YAML in UTF-8, or it is not a mapping.
    """
    text = _read(path)
    try:
        values = load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise MpnoError(f"{path}{line}: not YAML ({getattr(error, 'problem', error)}); mend that line") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise MpnoError(f"{path}: holds a {type(values).__name__}; it must hold keys with values")
    return values


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise MpnoError(f"{path}: has {path.stat().st_size} bytes; allowed: {LARGEST}; write a shorter file")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MpnoError(f"{path}: there is no such file; run from the repository's root") from None
    except OSError as error:
        raise MpnoError(f"{path}: cannot be read ({error.strerror}); put a YAML file there") from None
    except UnicodeDecodeError as error:
        raise MpnoError(f"{path}: byte {error.start} is no UTF-8; save the file as UTF-8") from None


def validate(
    model: type[Model], values: dict[str, Any], *, where: str, nested: dict[str, list[str]] | None = None
) -> Model:
    """Validate `values`, or raise one line that names `where`, the key, the value and what is allowed.

    `nested` adds the keys allowed below places that :func:`mpno.specs.spec_fields` cannot see, such as list entries.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise one_line(error, where=where, fields=spec_fields(model) | (nested or {})) from None


def parse_value(text: str) -> Any:
    """Read the value of ``key=value`` as YAML does, but with numbers such as 2e-3 as numbers."""
    if "e" in text.lower():
        with suppress(ValueError):
            return float(text)
    try:
        return load(text)
    except yaml.YAMLError:
        return text


def parse_setting(text: str) -> tuple[str, Any]:
    """Split ``a.b=value``.

    Raises:
        MpnoError: there is no key or no value.
    """
    key, sign, value = text.partition("=")
    if not sign or not key.strip() or not value.strip():
        raise MpnoError(f"set {text!r}: write key=value, as in optimizer.lr=2e-3")
    return key.strip(), parse_value(value.strip())
