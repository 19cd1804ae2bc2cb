"""The DAG: which jobs there are, and which a change brings back. Jobs are stood in for, rules and plan are real."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from mpno.paper.report.dag import COLUMNS, NEEDS
from mpno.plan import RuleInputs, load_plan

ROOT = Path(__file__).resolve().parents[2]

# Takes the place of `python -m mpno`: writes the files a command would, at once.
STAND_IN = """
import os
import sys
import time
from pathlib import Path

from mpno.cli_cards import take_card

began = time.time()
held = take_card(sys.argv[1:])
if held:
    time.sleep(0.3)
command, *rest = sys.argv[1:]
given = dict(zip(rest, rest[1:]))
out = Path(given["--out"])
files = {
    "train": [out / name for name in ("spec.json", "history.csv", "range.csv", "metrics.json", "model.safetensors")],
    "collect": [out / "context.json"],
    "claims": [out / f"claims.{ending}" for ending in ("json", "csv", "md", "tex")],
    "notebook": [out, out.with_suffix(".html")],
}.get(command, [out])
if command == "notebook":
    root, name = Path(given["--drawn"]), out.stem
    files.append(root / "drawn" / f"{name}.json")
    files += [root / "tables" / f"{name}.{ending}" for ending in ("csv", "md", "tex")]
    files += [root / "figures" / f"{name}.{ending}" for ending in ("pdf", "png", "svg", "csv")]
for path in files:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("| setting | seeds |\\n|:--|:--|\\n| full | 2 |\\n")
if held:
    with open("cards.txt", "a") as file:
        file.write(f"{began} {time.time()} {os.environ['CUDA_VISIBLE_DEVICES']}\\n")
"""
SCALES = ("smoke", "desk", "gpu", "paper")
PART = {
    "name": "darcy",
    "base": {"optimizer": {"lr": 0.01}},
    "needs": ["time", "memory"],
    "arms": [{"name": "full"}, {"name": "amp", "against": "full", "set": {"precision": "amp"}}],
    "scales": {name: {"seeds": [0]} for name in SCALES},
}
OTHER = {
    "item": "other",
    "title": "Another table",
    "paper": "nothing",
    "draws": ["table"],
    "drawn_by": "settings",
    "parts": [PART],
    "probes": [{"name": "asked", "kind": "ranges", "arms": {"darcy": ["amp"]}}],
    "scales": {name: {"core_seconds": {}} for name in SCALES},
}


def snakemake(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE")}
    environment |= {"PYTHONPATH": str(project / "src"), **variables}
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def own_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What stands on stderr, without the line in which Snakemake names its profile."""
    return [line for line in done.stderr.splitlines() if not line.startswith("Using workflow specific profile")]


def jobs(project: Path, *arguments: str) -> dict[str, int]:
    """How often each rule would run."""
    done = snakemake(project, "--dry-run", *arguments)
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    if "Nothing to be done" in text:
        return {}
    table = text[text.index("Job stats:") :]
    found = re.findall(r"^(\w+) +(\d+)$", table[: table.index("total")], flags=re.MULTILINE)
    return {rule: int(count) for rule, count in found}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project at scale smoke, its commands stood in for."""
    project = tmp_path_factory.mktemp("dag") / "whole"
    project.mkdir()
    for name in ("src", "workflow", "profiles", "notebooks"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", project)
    (project / "config.yaml").write_text("scale: smoke\n")
    (project / "src" / "mpno" / "__main__.py").write_text(STAND_IN)
    return project


@pytest.fixture(scope="module")
def fresh(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the item on Darcy's settings alone, and a table of its own runs with a probe."""
    project = shutil.copytree(whole, tmp_path_factory.mktemp("dag") / "project")
    for path in (project / "workflow" / "experiments").glob("*.yaml"):
        if path.stem != "darcy-settings":
            path.unlink()
    settings = project / "workflow" / "experiments" / "darcy-settings.yaml"
    settings.write_text(settings.read_text().replace("on_demand: true\n", ""))
    (project / "workflow" / "experiments" / "other.yaml").write_text(yaml.safe_dump(OTHER))
    shutil.copy(project / "workflow/reference/darcy-settings.csv", project / "workflow/reference/other.csv")
    shutil.copy(project / "notebooks/darcy-settings.ipynb", project / "notebooks/other.ipynb")
    return project


@pytest.fixture(scope="module")
def finished(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a whole run on four cores and two cards that are none; what the run said is in said.txt."""
    project = shutil.copytree(fresh, tmp_path_factory.mktemp("dag") / "finished")
    locks = tmp_path_factory.mktemp("locks")
    done = snakemake(project, "--cores", "4", "--quiet", "all", CUDA_VISIBLE_DEVICES="0,1", TMPDIR=str(locks))
    assert done.returncode == 0, done.stderr
    (project / "said.txt").write_text(done.stdout + done.stderr)
    return project


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A finished project to be changed."""
    return shutil.copytree(finished, tmp_path / "project")


def test_jobs_of_the_whole_project(whole: Path) -> None:
    plan = load_plan({"scale": "smoke"}, root=ROOT)
    drawn = {kind: len(plan.of_kind(kind)) for kind in ("table", "figure", "table_and_figure")}
    alone = sum(probe.probe.exclusive for probe in plan.probes.values())
    found = jobs(whole)
    assert found == {name: count for name, count in {
        "all": 1, "claims": 1, "report": 1, "records": 1, **drawn, "collect": len(plan.items), "time": len(plan.times),
        "memory": len(plan.memories), "probe_alone": alone, "probe": len(plan.probes) - alone,
        "train": len(plan.runs), "download": 1, "data": len(plan.data) - 1,
    }.items() if count}  # fmt: skip
    counted = json.loads(RuleInputs(plan).jobs(None))
    assert found == {rule: count for rule, count in counted.items() if count}, "what the report says"


def test_jobs_of_two_items(fresh: Path) -> None:
    once = {
        "all": 1,
        "claims": 1,
        "report": 1,
        "records": 1,
        "table": 1,
        "table_and_figure": 1,
        "download": 1,
        "probe": 1,
    }
    assert jobs(fresh) == once | {"train": 14, "time": 2, "memory": 2, "collect": 2}
    assert jobs(fresh, "item", "--config", "item=darcy-settings") == {
        "download": 1, "train": 12, "time": 1, "memory": 1, "collect": 1, "table_and_figure": 1, "item": 1
    }  # fmt: skip


def test_the_gallery_makes_every_set_and_shares_those_of_the_runs(fresh: Path, finished: Path) -> None:
    assert jobs(fresh, "gallery") == {"download": 1, "data": 4, "gallery": 1}
    assert jobs(finished, "gallery") == {"data": 4, "gallery": 1}


def test_the_paper_scale_dry_runs_and_says_its_size_first(fresh: Path) -> None:
    done = snakemake(fresh, "--dry-run", "--quiet", "--config", "scale=paper", "items=darcy-settings")
    assert done.returncode == 0, done.stderr
    assert re.match(r"scale paper: 1 item, 30 runs .* GPU-hours, \d+ MiB of disk", own_lines(done)[0])


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        (["scale=smok"], ["scale", "'smok'", "did you mean smoke"]),
        (["set=data.n_train=-5"], ["data.n_train", "-5", "greater than 0"]),
    ],
)
def test_a_config_mistake_stops_before_any_job(fresh: Path, config: list[str], parts: list[str]) -> None:
    done = snakemake(fresh, "--config", *config)
    assert done.returncode == 2
    (line,) = own_lines(done)
    assert line.startswith("mpno: ")
    for part in parts:
        assert part in line
    assert done.stdout == ""


def test_a_finished_project_has_nothing_to_do(finished: Path) -> None:
    started = time.monotonic()
    assert jobs(finished) == {}
    assert time.monotonic() - started < 10


def test_jobs_side_by_side_have_a_card_each(finished: Path) -> None:
    rows = [line.split() for line in (finished / "cards.txt").read_text().splitlines()]
    assert len(rows) == 14 + 2 + 1
    assert {card for _, _, card in rows} == {"0", "1"}
    for (began, ended, card), (other_began, other_ended, other) in combinations(rows, 2):
        assert card != other or ended <= other_began or other_ended <= began


def test_what_is_fetched_can_be_fetched_first(fresh: Path) -> None:
    assert jobs(fresh, "--until", "download") == {"download": 1}


def test_the_report_and_the_table_are_named_at_the_end(finished: Path) -> None:
    said = (finished / "said.txt").read_text()
    assert "report: results/smoke/report/index.html" in said
    assert re.search(r"^setting$\n^full$", said, flags=re.MULTILINE)


def test_comments_and_docstrings_bring_nothing_back(copy: Path) -> None:
    for room in ("specs", "numerics", "models", "training", "datasets", "paper"):
        path = copy / "src" / "mpno" / room / "__init__.py"
        path.write_text(path.read_text().replace('"""', '"""Said otherwise: ', 1) + "\n\n# and commented\n")
    assert jobs(copy) == {}


def test_a_constant_of_the_training_brings_back_the_trainings(copy: Path) -> None:
    path = copy / "src" / "mpno" / "training" / "__init__.py"
    path.write_text(path.read_text() + "\nX = 1\n")
    changed = jobs(copy)
    assert (changed["train"], changed["time"], changed["memory"], changed["probe"]) == (14, 2, 2, 1)
    assert not {"data", "download"} & set(changed)


def test_a_constant_of_the_paper_room_brings_back_no_training(copy: Path) -> None:
    path = copy / "src" / "mpno" / "paper" / "__init__.py"
    path.write_text(path.read_text() + "\nX = 1\n")
    assert jobs(copy) == {
        "collect": 2,
        "table": 1,
        "table_and_figure": 1,
        "claims": 1,
        "report": 1,
        "records": 1,
        "all": 1,
    }


def test_a_probe_brings_back_what_it_answers_alone(copy: Path) -> None:
    path = copy / "src" / "mpno" / "measurement" / "probes" / "ranges.py"
    path.write_text(path.read_text() + "\nX = 1\n")
    assert jobs(copy) == {"probe": 1, "collect": 1, "table": 1, "claims": 1, "report": 1, "records": 1, "all": 1}
    other = path.with_name("samples.py")
    other.write_text(other.read_text() + "\nX = 1\n")
    assert jobs(copy)["probe"] == 1


def test_a_hyper_parameter_of_one_item_brings_back_its_runs_alone(copy: Path) -> None:
    changed = {**OTHER, "parts": [{**PART, "base": {"optimizer": {"lr": 0.02}}}]}
    (copy / "workflow" / "experiments" / "other.yaml").write_text(yaml.safe_dump(changed))
    again = {"train": 2, "time": 1, "memory": 1, "probe": 1, "collect": 1, "table": 1}
    assert jobs(copy) == again | {"claims": 1, "report": 1, "records": 1, "all": 1}


def test_a_record_that_is_gone_brings_back_its_run_and_what_hangs_on_it(copy: Path) -> None:
    (run,) = (path for path in (copy / "results/smoke/runs").iterdir() if "_amp_" in path.name)
    (run / "metrics.json").unlink()
    # The probe asks the arm that is trained again; the other table does not.
    again = {"train": 1, "probe": 1, "collect": 1, "table": 1}
    assert jobs(copy) == again | {"claims": 1, "report": 1, "records": 1, "all": 1}


def test_a_caption_brings_back_its_item_and_no_training(copy: Path) -> None:
    changed = {**OTHER, "title": "Another title"}
    (copy / "workflow" / "experiments" / "other.yaml").write_text(yaml.safe_dump(changed))
    assert jobs(copy) == {"collect": 1, "table": 1, "claims": 1, "report": 1, "records": 1, "all": 1}


def test_a_set_makes_its_own_outputs(copy: Path) -> None:
    change = ["--config", "item=other", "set=optimizer.lr=2e-3"]
    before = {path: path.stat().st_mtime_ns for path in copy.glob("results/smoke/*s/*.*")}
    assert snakemake(copy, "item", *change, "--quiet", "all").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (copy / "results/smoke/changed/optimizer.lr=2e-3/tables/other.csv").is_file()
    assert len(list(copy.glob("results/smoke/runs/*"))) == 14 + 2
    assert jobs(copy) == {}


def test_pictures_need_no_data_file(copy: Path) -> None:
    shutil.rmtree(copy / "results/smoke/data")
    shutil.rmtree(copy / "results/smoke/figures")
    assert jobs(copy, "figures") == {"table_and_figure": 1, "figures": 1}


def test_rules_are_clean(fresh: Path) -> None:
    done = snakemake(fresh, "--lint")
    assert done.returncode == 0, done.stderr


def test_the_report_draws_the_rules_that_there_are(whole: Path) -> None:
    graph = snakemake(whole, "--rulegraph", "--config", "scale=desk").stdout
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', graph, flags=re.MULTILINE))
    found = {(names[need], names[rule]) for need, rule in re.findall(r"^\s*(\d+) -> (\d+)", graph, flags=re.MULTILINE)}
    assert set(names.values()) == {rule for rules in COLUMNS for rule in rules}
    assert found == {(need, rule) for rule, needs in NEEDS.items() for need in needs}


def test_snakemakes_own_report_holds_the_page_tables_and_figures(finished: Path, tmp_path: Path) -> None:
    done = snakemake(finished, "--report", str(tmp_path / "out.zip"), https_proxy="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {"report.html", "index.html", "claims.csv", "darcy-settings.csv", "darcy-settings.png", "other.csv"} <= names
