"""config.yaml: the one file a user edits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

from mpno.plan.files import parse_setting, read_yaml, validate
from mpno.specs.names import Scale, SourceChoice
from mpno.specs.numbers import Seed

Words = Annotated[
    tuple[str, ...],
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
_SEED = {"type": "integer", "minimum": 0}
Seeds = Annotated[
    tuple[Seed, ...],
    WithJsonSchema({"anyOf": [_SEED, {"type": "string"}, {"type": "array", "items": _SEED, "minItems": 1}]}),
]


class DataConfig(BaseModel):
    """Where the samples come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: SourceChoice | None = Field(
        default=None,
        description="fetch (public data), generate (solved here) or auto (fetch what is here, generate the rest); "
        "null: what the experiment says",
    )


class Config(BaseModel):
    """What to make. Anything that alters a run beside the scale counts as a change and is marked in what it makes."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="config.yaml")

    scale: Scale = Field(default="desk", description="smoke (minutes), desk (two cores), gpu (one card), paper")
    seeds: Seeds | None = Field(
        default=None, min_length=1, description="seeds of every arm; null: those of the experiment at this scale"
    )
    items: Words = Field(default=("all",), min_length=1, description="tables and figures to make, or all")
    item: str | None = Field(default=None, description="make only this one; what `make item ITEM=name` sets")
    data: DataConfig = Field(default=DataConfig(), description="where the samples come from")
    drawn_from: str | None = Field(
        default=None,
        description="draw the tidy tables in this folder, as in results/published/tidy; null: those of runs",
    )
    set: Words = Field(default=(), description="changes to every run, as in optimizer.lr=2e-3")

    @field_validator("items", "set", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        if value is None:
            return ()
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("seeds", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return (value,)
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and len(set(value)) != len(value):
            raise ValueError("names a seed twice; name each once")
        return value

    @field_validator("set")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from mpno.specs import MpnoError

        try:
            keys = [parse_setting(text)[0] for text in value]
        except MpnoError as error:
            raise ValueError(f"cannot be read: {error}") from None
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"sets {key} twice; set it once")
            if key in ("seed", "scale"):
                raise ValueError(f"sets {key}; use {'seeds' if key == 'seed' else 'scale'} instead")
        return value

    @property
    def settings(self) -> dict[str, Any]:
        """The changes as dotted key to value, `data.source` among them."""
        source = {} if self.data.source is None else {"data.source": self.data.source}
        return source | dict(parse_setting(text) for text in self.set)

    @property
    def changes(self) -> tuple[str, ...]:
        """What differs from the experiment files, as a reader would write it."""
        seeds = () if self.seeds is None else (f"seeds={','.join(map(str, self.seeds))}",)
        source = () if self.data.source is None else (f"data.source={self.data.source}",)
        return tuple(sorted({*seeds, *source, *self.set}))


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read `path`, lay `overrides` (from the command line) over it, validate.

    Raises:
        MpnoError: one line with the file, the key, the value and what is allowed.
    """
    values = read_yaml(path)
    where = str(path)
    for key, value in (overrides or {}).items():
        if values.get(key) != value:
            where = f"{path} and the command line"
        values[key] = value
    return validate(Config, values, where=where)
