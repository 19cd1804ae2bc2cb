"""JSON schemas of the files a person writes, made from the models that check them."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from mpno.plan.config import Config
from mpno.plan.experiment import Experiment, Recipe
from mpno.specs import RunSpec
from mpno.specs.files import write_text

SCHEMAS: dict[str, type[BaseModel]] = {
    "config.schema.json": Config,
    "experiment.schema.json": Experiment,
    "recipe.schema.json": Recipe,
    "run.schema.json": RunSpec,
}


def schema_text(name: str) -> str:
    """Return the schema called `name` (a key of :data:`SCHEMAS`) as it stands in the file."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | SCHEMAS[name].model_json_schema()
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema into `folder` and return the paths."""
    for name in SCHEMAS:
        write_text(folder / name, schema_text(name))
    return [folder / name for name in SCHEMAS]
