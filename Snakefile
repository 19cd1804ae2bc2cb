"""Reproduces the tables and figures. config.yaml says what; workflow/experiments/ says with which runs."""

import os
import sys
from pathlib import Path

from mpno.cli_data import look
from mpno.plan import RuleInputs, load_plan, own_interpreter_first, seen_gpus
from mpno.specs import MpnoError

own_interpreter_first()

HERE = Path(os.path.relpath(workflow.basedir))

try:
    PLAN = load_plan(config, root=HERE, look=look)
    OF = RuleInputs(PLAN)
except MpnoError as error:
    print(f"mpno: {error}", file=sys.stderr)
    sys.exit(2)

NOTEBOOKS = HERE / "notebooks"
REFERENCE = HERE / "workflow" / "reference"
ROOT = PLAN.root
OUT = PLAN.out
TIDY = f"{OUT}/tidy"
GPUS = min(seen_gpus(), 1)

if workflow.is_main_process:
    print(PLAN.describe(), file=sys.stderr)


# Made from the recipe in envs/; used only where --software-deployment-method apptainer asks for it.
container: "envs/mpno.sif"


localrules:
    all,
    figures,
    item,


wildcard_constraints:
    run=r"[^/]+",
    slug=r"[^/]+",
    arms=r"[^/]+",
    probe=r"[^/]+",
    item=r"[^/]+",


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/paper.smk"


rule all:
    default_target: True
    input:
        f"{OUT}/report/index.html",


rule figures:
    input:
        OF.drawn(),


rule item:
    input:
        OF.drawn(),


onsuccess:
    print(OF.farewell())
