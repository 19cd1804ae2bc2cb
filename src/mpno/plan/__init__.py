"""Configuration and experiment files to a plan of runs. Loads neither torch nor numpy."""

from mpno.plan.build import Plan, build_plan, load_plan
from mpno.plan.config import Config, load_config
from mpno.plan.digest import ROOMS, room_digest, source_digest
from mpno.plan.experiment import Arm, Experiment, Part, Probe, Recipe, load_experiments
from mpno.plan.hand import hand_spec
from mpno.plan.needs import JobNeeds
from mpno.plan.planned import Item
from mpno.plan.rules import RuleInputs, load_specs, own_interpreter_first, seen_gpus
from mpno.plan.schemas import SCHEMAS, schema_text, write_schemas
from mpno.plan.source import check_import, settle

__all__ = [
    "ROOMS",
    "SCHEMAS",
    "Arm",
    "Config",
    "Experiment",
    "Item",
    "JobNeeds",
    "Part",
    "Plan",
    "Probe",
    "Recipe",
    "RuleInputs",
    "build_plan",
    "check_import",
    "hand_spec",
    "load_config",
    "load_experiments",
    "load_plan",
    "load_specs",
    "own_interpreter_first",
    "room_digest",
    "schema_text",
    "seen_gpus",
    "settle",
    "source_digest",
    "write_schemas",
]
