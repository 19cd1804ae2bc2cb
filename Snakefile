"""Reproduces the tables and figures. config.yaml says what; workflow/experiments/ says with which runs."""

import os
import sys
import time
from pathlib import Path

from mpno import cli_cards
from mpno.cli_clock import VARIABLE
from mpno.cli_cluster import start_clean
from mpno.cli_data import look
from mpno.cli_warm import keep_warm
from mpno.plan import JobNeeds, RuleInputs, load_plan, own_interpreter_first, seen_gpus
from mpno.specs import MpnoError

own_interpreter_first()
STARTED = time.time()

HERE = Path(os.path.relpath(workflow.basedir))

try:
    PLAN = load_plan(config, root=HERE, look=look)
    OF = RuleInputs(PLAN)
    NEEDS = JobNeeds(PLAN)
except MpnoError as error:
    print(f"mpno: {error}", file=sys.stderr)
    sys.exit(2)

NOTEBOOKS = HERE / "notebooks"
REFERENCE = HERE / "workflow" / "reference"
ROOT = PLAN.root
OUT = PLAN.out
TIDY = PLAN.tidy
os.environ[VARIABLE] = os.path.abspath(OF.times_file)
CARDS = seen_gpus()
GPUS = min(len(CARDS), 1)

# On this machine as many jobs with `gpu: 1` run as it has cards; where jobs go to nodes, their scheduler sees to that.
if CARDS and workflow.nodes is None and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", len(CARDS))

if workflow.is_main_process:
    print(PLAN.describe(), file=sys.stderr)


# Made from the recipe in envs/; used only where --software-deployment-method apptainer asks for it.
container: "envs/mpno.sif"


localrules:
    all,
    download,
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


# The records stand here by themselves: one that is gone comes back, though the report made of it is there.
rule all:
    default_target: True
    input:
        report=f"{OUT}/report/index.html",
        claims=OF.claims(),
        checked=f"{OUT}/records.txt",
        records=OF.all_records(),


rule figures:
    input:
        OF.drawn(),


rule item:
    input:
        drawn=OF.drawn(),
        records=OF.all_records(),


# Jobs that run on this machine need not each load torch. On a cluster, a workflow that was killed has left its jobs.
onstart:
    if workflow.local_exec:
        if len(CARDS) > 1:
            os.environ[cli_cards.VARIABLE] = ",".join(CARDS)
        keep_warm()
    elif workflow.executor_plugin.name == "slurm":
        start_clean(OF.cluster_jobs())


onsuccess:
    print(OF.farewell(since=STARTED, cores=workflow.cores if workflow.local_exec else None))
