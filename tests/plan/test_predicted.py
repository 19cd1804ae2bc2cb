"""What jobs ask of a scheduler: from committed predictions, and without them."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mpno.plan import JobNeeds, Plan, load_plan
from mpno.plan.predicted import Need, read_predicted
from mpno.specs import MpnoError

ROOT = Path(__file__).resolve().parents[2]
HEADER = "# made by nobody\nscale,run,key,mib,seconds,gpu_hours\n"


def write(folder: Path, *rows: str) -> Path:
    path = folder / "predicted" / "paper.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text("scale: paper\nitems: unet\n")
    for folder in ("experiments", "recipes"):
        shutil.copytree(ROOT / "workflow" / folder, tmp_path / "workflow" / folder)
    return tmp_path


def needs(project: Path) -> tuple[Plan, JobNeeds]:
    plan = load_plan({}, root=project)
    return plan, JobNeeds(plan)


def test_a_run_asks_for_what_is_predicted_of_its_arm(project: Path) -> None:
    plan, bare = needs(project)
    run = next(run for run in plan.runs.values() if run.seed == 1)
    job = SimpleNamespace(run=run.id)
    write(project / "workflow", f"paper,x,{run.arm.id},40000,7200,2")
    _, told = needs(project)
    # 1.5 times the prediction, beside what every training takes.
    assert told.train_minutes(job, 1) == 15 + 180
    assert told.train_mib(job, 1) - bare.train_mib(job, 1) == 60000 - 4000
    other = next(other for other in plan.runs.values() if other.arm.id != run.arm.id)
    assert told.train_mib(SimpleNamespace(run=other.id), 1) == bare.train_mib(SimpleNamespace(run=other.id), 1)


def test_what_an_item_costs_alone_is_what_is_predicted(project: Path) -> None:
    plan, _ = needs(project)
    (item,) = plan.items.values()
    cost = item.experiment.scales["paper"].core_seconds
    assert plan.alone(item) == cost.run * len(item.runs) + cost.measure + cost.probe + cost.draw
    arms = {run.arm.id for run in item.runs.values()}
    write(project / "workflow", *(f"paper,x,{arm},,3600," for arm in arms))
    told, _ = needs(project)
    rest = cost.measure + cost.probe + cost.draw
    assert told.alone(told.items["unet"]) == 3600 * len(item.runs) + rest
    assert f"{len(item.runs)} runs, about {len(item.runs) + rest / 3600:.0f} GPU-hours alone" in told.describe()


def test_without_predictions_a_run_asks_for_what_its_experiment_states(project: Path) -> None:
    plan, bare = needs(project)
    job = SimpleNamespace(run=next(iter(plan.runs)))
    stated = plan.items["unet"].experiment.scales["paper"].core_seconds.run
    assert bare.train_minutes(job, 1) * 60 >= 2 * stated


def test_every_kind_of_job_asks_for_more_on_a_retry(project: Path) -> None:
    (project / "config.yaml").write_text("scale: paper\nitems: modes schedule\n")
    plan, needed = needs(project)
    jobs = {
        "data": SimpleNamespace(slug=next(iter(plan.data))),
        "train": SimpleNamespace(run=next(iter(plan.runs))),
        "time": SimpleNamespace(arms=next(iter(plan.times))),
        "memory": SimpleNamespace(arms=next(iter(plan.memories))),
        "probe": SimpleNamespace(probe=next(iter(plan.probes))),
    }
    for kind, job in jobs.items():
        for what in ("mib", "minutes"):
            first, second = (getattr(needed, f"{kind}_{what}")(job, attempt) for attempt in (1, 2))
            assert 1.9 * first < second, (kind, what)


def test_what_is_larger_asks_for_more(project: Path) -> None:
    (project / "config.yaml").write_text("scale: paper\nitems: all\n")
    plan, needed = needs(project)
    by_size = sorted(plan.runs.values(), key=lambda run: run.data.n_train * run.data.resolution)
    small, large = by_size[0], by_size[-1]
    assert needed.train_mib(SimpleNamespace(run=small.id), 1) < needed.train_mib(SimpleNamespace(run=large.id), 1)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("scale,key,mib\n", ["no column seconds", "scale, key, mib, seconds"]),
        (f"{HEADER}desk,x,a,1,1,1\n", ["a is of scale 'desk'", "paper"]),
        (f"{HEADER}paper,x,a,many,1,1\n", ["a has mib 'many'", "positive"]),
        (f"{HEADER}paper,x,a,1,-1,1\n", ["a has seconds '-1'", "positive"]),
        (f"{HEADER}paper,x,a,nan,1,1\n", ["a has mib 'nan'"]),
        (f"{HEADER}paper,x,a,1,1,1\npaper,y,a,1,1,1\n", ["a stands twice"]),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "paper.csv"
    path.write_text(text)
    with pytest.raises(MpnoError) as caught:
        read_predicted(path, "paper")
    for part in (str(path), *parts):
        assert part in str(caught.value)


def test_an_empty_number_is_one_that_nobody_knows(tmp_path: Path) -> None:
    path = write(tmp_path, "paper,x,a,,30,")
    assert read_predicted(path, "paper") == {"a": Need(None, 30.0)}
    assert read_predicted(tmp_path / "nowhere.csv", "paper") == {}
