"""YAML files to validated models, with one line for whatever is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mpno.specs import MpnoError, one_line, spec_fields

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in `path`.

    Raises:
        MpnoError: there is no such file, it is not YAML, or it is not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MpnoError(f"{path}: there is no such file; run from the repository's root") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise MpnoError(f"{path}{line}: not YAML ({getattr(error, 'problem', error)}); mend that line") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise MpnoError(f"{path}: holds a {type(values).__name__}; it must hold keys with values")
    return values


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
    try:
        return float(text) if "e" in text.lower() else yaml.safe_load(text)
    except ValueError:
        return yaml.safe_load(text)
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
