"""Where a run's data come from: auto settled without network, imported sets looked up, nothing mixed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mpno.plan import hand_spec, load_experiments, load_plan
from mpno.plan.source import fitted_modes, settle
from mpno.specs import MpnoError
from mpno.specs.public import Pairs

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "workflow" / "experiments"

ITEMS, MINE = "darcy-settings", "data={name: mine, source: import}"


class Shelf:
    """A machine with one imported set, and checked downloads of Navier-Stokes at 128."""

    def downloaded(self, name: str, resolutions: Sequence[int | str]) -> str | None:
        return "cache" if name == "navier-stokes" and set(resolutions) == {128} else None

    def imported(self, name: str) -> tuple[Pairs, int] | None:
        pairs: Pairs = {("train", "60x100"): 80, ("test", "60x100"): 20, ("test", "120x200"): 8}
        return (pairs, 2) if name == "mine" else None

    def imports(self) -> list[str]:
        return ["mine"]


@pytest.mark.parametrize(
    ("data", "source", "why"),
    [
        ({"name": "darcy"}, "fetch", "ship in a small package"),
        ({"name": "darcy", "resolution": 32, "test_resolutions": [32]}, "generate", "no checked downloads"),
        ({"name": "darcy", "resolution": 256, "test_resolutions": [256]}, "generate", "no checked downloads"),
        (
            {"name": "navier-stokes", "resolution": 128, "test_resolutions": [128]},
            "fetch",
            "checked downloads lie in cache",
        ),
        ({"name": "navier-stokes", "resolution": 64, "test_resolutions": [64]}, "generate", "no checked downloads"),
        (
            {"name": "navier-stokes", "resolution": 128, "test_resolutions": [128], "n_train": 10_001},
            "generate",
            "no checked downloads",
        ),
        ({"name": "ahmed", "resolution": 32, "test_resolutions": [32]}, "generate", "not published"),
    ],
)
def test_auto_takes_what_is_here_and_says_why(data: dict, source: str, why: str) -> None:
    values, said = settle({"data": {**data, "source": "auto"}}, (), Shelf, home=data["name"])
    assert values["data"]["source"] == source
    assert said is not None and f"auto took {source}" in said and why in said


def test_auto_in_the_config_is_settled_before_there_are_runs() -> None:
    darcy = {"items": "darcy-settings", "data": {"source": "auto"}}
    plan = load_plan({"scale": "smoke", **darcy}, root=ROOT, look=Shelf)
    assert {run.data.source for run in plan.runs.values()} == {"fetch"}
    assert plan.runs.keys() == load_plan({"scale": "smoke", "items": "darcy-settings"}, root=ROOT).runs.keys()
    assert "auto took fetch" in plan.describe()
    gpu = load_plan({"scale": "gpu", **darcy}, root=ROOT)
    assert {run.data.source for run in gpu.runs.values()} == {"generate"}
    assert "auto took generate" in gpu.describe()


def test_an_imported_set_brings_its_sizes_and_a_model_that_fits() -> None:
    plan = load_plan({"items": ITEMS, "scale": "smoke", "set": [MINE]}, root=ROOT, look=Shelf)
    for run in plan.runs.values():
        assert (run.data.resolution, run.data.test_resolutions) == ("60x100", ("60x100", "120x200"))
        assert (run.data.n_train, run.data.n_test, run.model.model_dump()["modes"]) == (80, 8, (30, 32))
        assert run.training.normalise_output and run.training.epochs == 3
        assert run.data.file(Path("x")).name == "mine.h5"
    assert not plan.data  # nothing to make
    assert '"source":"import"' in next(iter(plan.items.values())).context()


def test_an_imported_set_and_a_model_of_bodies_do_not_go_together() -> None:
    with pytest.raises(MpnoError, match=r"\(models-ahmed, arm full\): model gino takes bodies, data set mine holds"):
        load_plan({"items": "models-ahmed", "scale": "smoke", "set": [MINE]}, root=ROOT, look=Shelf)


def test_what_the_user_says_of_an_imported_set_stands() -> None:
    changes = ["data.name=mine", "data.source=import", "data.n_train=10", "data.test_resolutions=[60x100]"]
    changes += ["model.modes=[8,8]", "training.normalise_output=false"]
    spec = hand_spec(load_experiments(EXPERIMENTS), "darcy-settings", "desk", {}, changes, look=Shelf)
    assert (spec.data.n_train, spec.data.n_test, spec.data.test_resolutions) == (10, 20, ("60x100",))
    assert (spec.model.model_dump()["modes"], spec.training.normalise_output) == ((8, 8), False)


def test_a_name_alone_is_enough_by_hand() -> None:
    def hand(name: str) -> object:
        given = {"data.name": name, "precision": "mixed"}
        return hand_spec(load_experiments(EXPERIMENTS), "darcy-settings", "desk", given, [], look=Shelf).data

    assert (hand("mine").source, hand("mine").n_train) == ("import", 80)  # pyright: ignore[reportAttributeAccessIssue]
    plain = hand_spec(load_experiments(EXPERIMENTS), "darcy-settings", "desk", {"precision": "mixed"}, [])
    assert hand("darcy") == plain.data
    sphere = hand("shallow-water")
    assert (sphere.source, sphere.resolution) == ("generate", 32)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data={name: yours, source: import}"], "no imported set 'yours'; imported: mine; import it: python -m mpno"),
        (["data.name=mien"], "data.name is 'mien'; did you mean mine\\? allowed: darcy, .*mine"),
        (["data.name=mine", "data.n_train=81"], "n_train is 81; the imported set mine has 1 to 80"),
        (
            ["data.name=mine", "data.test_resolutions=[60]"],
            "mine has test pairs at resolution 60x100 and 120x200, not 60",
        ),
        (["data.name=mine", "model.modes=[64,64]"], "exceed the smallest grid, 60x100"),
    ],
)
def test_what_is_not_there_is_one_line(changes: list[str], message: str) -> None:
    with pytest.raises(MpnoError, match=message):
        load_plan({"scale": "smoke", "set": changes}, root=ROOT, look=Shelf)


def test_arms_on_other_sources_are_refused(tmp_path: Path) -> None:
    (tmp_path / "workflow" / "experiments").mkdir(parents=True)
    (tmp_path / "config.yaml").write_text("items: darcy-settings\n")
    text = (EXPERIMENTS / "darcy-settings.yaml").read_text()
    arm = "{name: amp, against: full, set: {precision: amp"
    assert arm in text
    text = text.replace(arm, arm + ", data.source: generate")
    (tmp_path / "workflow" / "experiments" / "darcy-settings.yaml").write_text(text)
    with pytest.raises(MpnoError, match=r"arms differ in their data \(darcy-fetch, darcy-generate"):
        load_plan({"scale": "desk"}, root=tmp_path)


def test_modes_are_half_the_points_and_no_more_than_a_desk_bears() -> None:
    assert fitted_modes((60, 100)) == [30, 32]
    assert fitted_modes((7, 200)) == [3, 32]
    assert fitted_modes((500,)) == [64]
    assert fitted_modes((16, 64, 64)) == [8, 12, 12]


@pytest.mark.parametrize("name", ["car", "ahmed"])
def test_a_model_of_fields_is_not_planned_on_bodies(name: str) -> None:
    experiments = load_experiments(EXPERIMENTS)
    given = {"data": {"name": name, "source": "generate"}}
    with pytest.raises(
        MpnoError, match=rf"data set {name} holds bodies, which model fno does not take; choose model gino"
    ):
        hand_spec(experiments, "darcy-settings", "smoke", given, [])
    with pytest.raises(MpnoError, match=rf"data set {name} holds bodies"):
        load_plan({"scale": "smoke", "set": [f"data={{name: {name}, source: generate}}"]}, root=ROOT)
