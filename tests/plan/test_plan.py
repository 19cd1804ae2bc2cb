"""Configuration and experiments become a plan; every mistake is one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from mpno.plan import SCHEMAS, RuleInputs, hand_spec, load_experiments, load_plan, schema_text, seen_gpus
from mpno.plan.files import parse_value
from mpno.plan.rules import narrow
from mpno.specs import SCALES, MpnoError, RunSpec

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "workflow" / "experiments"


def plan(**overrides: Any) -> Any:
    return load_plan(overrides, root=ROOT)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A root with a copy of the config, experiments and recipes, to be edited."""
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    for folder in ("experiments", "recipes"):
        shutil.copytree(ROOT / "workflow" / folder, tmp_path / "workflow" / folder)
    return tmp_path


def arms_of(item: Any) -> dict[str, Any]:
    """The planned arms of an item with one part, by name."""
    (part,) = item.parts
    return {arm.arm.name: arm for arm in part.arms}


def test_items_share_their_runs() -> None:
    both = plan(scale="desk", items="tanh unet")
    tanh, unet = plan(scale="desk", items="tanh"), plan(scale="desk", items="unet")
    assert set(both.runs) == set(tanh.runs) | set(unet.runs)
    assert both.shared == len(set(tanh.runs) & set(unet.runs)) > 0
    assert set(both.times) == set(tanh.times) | set(unet.times)


def test_no_id_is_hashed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan may have thousands of runs, and Snakemake asks for their files again and again."""
    made = plan(scale="desk", items="schedule modes")
    inputs = RuleInputs(made)

    def ask() -> list[list[str]]:
        return [inputs.all_records(), *(inputs.asked(SimpleNamespace(probe=name)) for name in made.probes)]

    before = ask()
    monkeypatch.setattr(RunSpec, "canonical", lambda run: pytest.fail(f"hashed again: {run}"))
    assert ask() == before


def test_what_is_made_on_demand_is_made_where_it_is_named() -> None:
    assert "darcy-settings" not in plan(scale="desk").items
    assert list(plan(scale="desk", item="darcy-settings").items) == ["darcy-settings"]


def test_an_arm_takes_the_first_seeds_of_its_part() -> None:
    curves = plan(scale="desk").items["error-curves"]
    (part,) = (part for part in curves.parts if part.part.name == "navier-stokes")
    seeds = {arm.arm.name: list(arm.runs) for arm in part.arms}
    assert seeds["full"] == [0, 1, 2, 3, 4] and seeds["mixed-e5m2"] == [0, 1, 2]


def test_a_part_alters_its_recipe_and_a_scale_both(project: Path) -> None:
    path = project / "workflow" / "experiments" / "tanh.yaml"
    values = yaml.safe_load(path.read_text())
    (part,) = (part for part in values["parts"] if part["name"] == "darcy")
    part["set"] = {"optimizer.lr": 0.5, "model.width": 7}
    part.setdefault("scales", {})["smoke"] = {"seeds": [3], "set": {"model.width": 5}}
    path.write_text(yaml.safe_dump(values))
    found = load_plan({"scale": "smoke", "item": "tanh"}, root=project).items["tanh"]
    spec = next(part for part in found.parts if part.part.name == "darcy").arms[0]
    model = spec.spec.model.model_dump()
    assert (spec.spec.optimizer.lr, model["width"], list(spec.runs)) == (0.5, 5, [3])
    part["recipe"] = "darcie"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(MpnoError, match="recipe 'darcie'; did you mean darcy"):
        load_plan({"scale": "smoke"}, root=project)


def test_a_probe_gets_its_own_data_and_runs() -> None:
    made = plan(scale="desk", item="super-resolution")
    probe = next(probe for probe in made.probes.values() if probe.probe.name == "finer")
    question = json.loads(probe.question("results/desk"))
    assert question["kind"] == "superresolution"
    arm = next(arm for arm in question["arms"] if arm["name"] == "mixed")
    assert "32-64-128-256" in arm["data"] and sorted(arm["runs"]) == list("01234")
    assert set(arm["runs"].values()) <= {f"results/desk/runs/{run}" for run in made.runs}
    assert any("32-64-128-256" in slug for slug in made.data)
    asked = RuleInputs(made).asked(SimpleNamespace(probe=probe.id))
    assert {f"{folder}/model.safetensors" for folder in arm["runs"].values()} < set(asked)


def test_claims_are_judged_by_all_items_unchanged() -> None:
    assert RuleInputs(plan(scale="smoke")).claims() == ["results/smoke/claims/claims.json"]
    for given in ({"items": "memory"}, {"item": "memory"}, {"set": "optimizer.lr=2e-3"}):
        assert RuleInputs(plan(scale="smoke", **given)).claims() == []


def test_the_gallery_takes_the_data_of_the_runs_and_solves_the_other_sets() -> None:
    desk, smoke = (plan(scale=scale, items="darcy-settings").gallery for scale in ("desk", "smoke"))
    names = ["darcy", "navier-stokes", "shallow-water", "car", "ahmed"]
    assert [spec.name for spec in desk.values()] == [spec.name for spec in smoke.values()] == names
    assert next(iter(desk)) == next(iter(smoke)) == "darcy-fetch"
    assert {spec.source for spec in list(desk.values())[1:]} == {"generate"}
    assert desk["car-generate-32-n100-20-s0"].n_train == 100 and smoke["car-generate-32-n8-4-s0"].n_test == 4


def test_the_gallery_shows_an_imported_set_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPNO_IMPORTED", "elsewhere")
    given = {"items": "darcy-settings", "set": ["data={name: mine, source: import}"]}
    rules = RuleInputs(plan(scale="smoke", **given))
    assert rules.gallery()[0] == "elsewhere/mine.h5" and len(rules.gallery()) == 1 + 5
    assert rules.pictures()[0].endswith("/gallery/mine.png") and rules.pictures()[-1].endswith("/overview.png")


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_resolves(scale: str) -> None:
    made = plan(scale=scale)
    assert made.summary().startswith(f"scale {scale}: ")
    assert made.root == made.out == f"results/{scale}"
    assert all(run.scale == scale for run in made.runs.values())


def test_the_recipe_is_the_stated_one() -> None:
    desk = plan(scale="desk", items="darcy-settings")
    run = next(run for run in desk.runs.values() if run.id.startswith("darcy16_fno_mixed_fft_s2"))
    assert (run.optimizer.name, run.optimizer.lr, run.optimizer.weight_decay) == ("adamw", 5e-3, 1e-4)
    assert (run.model.modes, run.model.width, run.model.layers) == ((12, 12), 32, 4)
    assert (run.training.epochs, run.training.batch_size, run.scheduler.name) == (60, 32, "one-cycle")
    assert (run.data.source, run.data.n_train, run.data.test_resolutions) == ("fetch", 1000, (16, 32))


def test_authors_recipe_decays_five_times() -> None:
    made = plan(scale="desk", items="darcy-settings").items["darcy-settings"]
    arms = {name: arm.spec for name, arm in arms_of(made).items()}
    for name in ("full-authors", "mixed-authors"):
        spec = arms[name]
        assert (spec.optimizer.name, spec.training.loss, spec.training.batch_size) == ("adam", "h1", 64)
        assert spec.scheduler.step_epochs == spec.training.epochs // 5
        assert not spec.training.normalise_output
    assert arms["mixed-authors"].precision.setting == "mixed"


def test_paired_arms_differ_in_precision_alone() -> None:
    for scale in SCALES:
        arms = arms_of(plan(scale=scale, items="darcy-settings").items["darcy-settings"])
        for arm in arms.values():
            if arm.arm.against:
                other = arms[arm.arm.against]
                assert arm.spec.model_copy(update={"precision": other.spec.precision}) == other.spec
                assert arm.runs.keys() <= other.runs.keys()


def test_illustrations_have_the_first_seed_alone() -> None:
    desk = load_experiments(EXPERIMENTS)["darcy-settings"].parts[0].at("desk")
    assert desk.seeds
    for arm in arms_of(plan(scale="desk", items="darcy-settings").items["darcy-settings"]).values():
        assert list(arm.runs) == ([desk.seeds[0]] if arm.arm.name in desk.illustrations else list(desk.seeds))


def test_a_change_moves_every_run_and_the_outputs() -> None:
    items = {"scale": "smoke", "items": "darcy-settings models-car"}
    plain, changed = plan(**items), plan(**items, set="optimizer.lr=2e-3")
    assert not set(plain.runs) & set(changed.runs)
    assert {run.optimizer.lr for run in changed.runs.values()} == {2e-3}
    assert changed.out == "results/smoke/changed/optimizer.lr=2e-3"
    assert changed.root == plain.root
    assert not set(RuleInputs(plain).drawn()) & set(RuleInputs(changed).drawn())
    assert '"changes":["optimizer.lr=2e-3"]' in changed.items["darcy-settings"].context()


def test_fewer_seeds_are_a_change_that_shares_runs() -> None:
    items = {"items": "darcy-settings"}
    plain, changed = plan(scale="smoke", **items), plan(scale="smoke", seeds=1, **items)
    assert set(changed.runs) < set(plain.runs)
    assert changed.out != plain.out


def test_a_part_of_a_precision_can_be_set() -> None:
    experiments = load_experiments(EXPERIMENTS)
    spec = hand_spec(experiments, "darcy-settings", "smoke", {"precision": "mixed"}, ["precision.stabiliser=none"])
    assert spec.precision.label == "mixed, stabiliser none"


def test_a_fetched_file_does_not_hang_on_the_share_a_run_takes() -> None:
    smoke, desk = (plan(scale=scale, items="darcy-settings models-darcy") for scale in ("smoke", "desk"))
    assert smoke.data == desk.data


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"scale": "smok"}, ["scale", "'smok'", "did you mean smoke", "paper"]),
        ({"colour": "red"}, ["unknown key", "'colour'", "'red'", "scale", "seeds"]),
        ({"data": {"sauce": "fetch"}}, ["data.sauce", "did you mean source"]),
        ({"data": {"source": "steal"}}, ["data.source", "'steal'", "fetch", "generate"]),
        ({"seeds": [0, -1]}, ["seeds", "-1", "greater than or equal to 0"]),
        ({"seeds": [0, 0]}, ["seeds", "twice"]),
        ({"items": ["darcy-setings"]}, ["'darcy-setings'", "did you mean darcy-settings"]),
        ({"item": "nothing"}, ["item", "'nothing'", "darcy-settings"]),
        ({"set": "optimizer.lr"}, ["optimizer.lr", "key=value"]),
        ({"set": "optimizer.lrr=1"}, ["optimizer.lrr", "did you mean lr"]),
        ({"set": "data.name=burgers"}, ["data.name", "'burgers'", "darcy"]),
        ({"set": "data.n_train=-5"}, ["data.n_train", "-5", "greater than 0"]),
        ({"set": "seed=3"}, ["seed", "use seeds instead"]),
        ({"set": "training.epochs=3 training.epochs=4"}, ["training.epochs", "twice"]),
        ({"set": "precision=full"}, ["full-tanh", "same run", "precision=full"]),
        ({"set": "model.modes=[64,64]"}, ["modes", "grid"]),
    ],
)
def test_a_mistake_is_one_line(overrides: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(MpnoError) as caught:
        plan(**({"scale": "smoke", "items": "darcy-settings"} | overrides))
    message = str(caught.value)
    assert "\n" not in message
    assert "config.yaml" in message or "experiments" in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("draws: [table, figure]", "draws: [tabel]", ["draws.0", "'tabel'", "did you mean table"]),
        ("margin: 0.05", "margin: 0.05\n      bound: 1", ["compare.bound", "margin"]),
        ("against: full-matmul", "against: full-matmull", ["full-matmull", "did you mean full-matmul"]),
        ("name: darcy, source: fetch", "name: darcey, source: fetch", ["data.name", "'darcey'", "darcy"]),
        ("n_train: 1000, n_test: 50}", "n_train: -1, n_test: 50}", ["data.n_train", "-1"]),
        ("control: mixed-e5m2,", "control: mixed-e5m1,", ["mixed-e5m1"]),
        ("item: darcy-settings", "item: darcy-setting", ["file's name"]),
        ("title: Precision", "title: [", ["line", "not YAML"]),
    ],
)
def test_a_mistake_in_an_experiment_is_one_line(project: Path, old: str, new: str, parts: list[str]) -> None:
    path = project / "workflow" / "experiments" / "darcy-settings.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(MpnoError) as caught:
        load_plan({"scale": "desk", "items": "darcy-settings"}, root=project)
    message = str(caught.value)
    assert "\n" not in message
    assert "darcy-settings.yaml" in message
    for part in parts:
        assert part in message, message


def test_an_empty_config_is_the_desk_plan(project: Path) -> None:
    (project / "config.yaml").write_text("")
    assert load_plan({}, root=project).runs.keys() == plan(scale="desk").runs.keys()


def test_no_config_is_an_error(project: Path) -> None:
    (project / "config.yaml").unlink()
    with pytest.raises(MpnoError, match=r"config\.yaml.*no such file"):
        load_plan({}, root=project)


def test_a_run_by_hand_is_the_run_of_the_table() -> None:
    given = {"precision": "mixed", "transform": "fft", "seed": 1}
    spec = hand_spec(load_experiments(EXPERIMENTS), "darcy-settings", "smoke", given, [])
    assert spec.id in plan(scale="smoke", items="darcy-settings").runs
    changed = hand_spec(load_experiments(EXPERIMENTS), "darcy-settings", "smoke", given, ["optimizer.lr=2e-3"])
    assert changed.optimizer.lr == 2e-3


@pytest.mark.parametrize(
    ("text", "value"),
    [("2e-3", 0.002), ("3", 3), ("true", True), ("mixed", "mixed"), ("[8, 8]", [8, 8]), ("step", "step")],
)
def test_values_are_read_as_a_person_means_them(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_fresh(name: str) -> None:
    path = ROOT / "workflow" / "schemas" / name
    assert path.read_text() == schema_text(name), "run `python -m mpno plan --write-schemas`"


def test_committed_files_pass_their_schemas() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    import json

    for path, schema in [
        (ROOT / "config.yaml", "config.schema.json"),
        *((path, "experiment.schema.json") for path in EXPERIMENTS.glob("*.yaml")),
        *((path, "recipe.schema.json") for path in (ROOT / "workflow" / "recipes").glob("*.yaml")),
    ]:
        checker = json.loads((ROOT / "workflow" / "schemas" / schema).read_text())
        jsonschema.validate(json.loads(json.dumps(yaml.safe_load(path.read_text()))), checker)


def test_gpus_are_those_that_jobs_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert seen_gpus(tmp_path) == ("0", "1")
    for named, seen in (("", ()), ("3", ("3",)), ("GPU-5,GPU-7", ("GPU-5", "GPU-7"))):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert seen_gpus(tmp_path) == seen


def test_a_table_is_narrowed_for_the_terminal() -> None:
    table = "**T**\n\n| setting | seeds | L2@16 | H1@16 |\n|:---|:---|:---|:---|\n| full | 3 | 0.09 | 0.3 |\n\n- note\n"
    assert narrow(table) == ["setting  L2@16", "full     0.09"]


def test_items_stand_in_the_order_of_the_report(project: Path) -> None:
    names = list(plan(scale="smoke").items)
    assert names[0] == "overview"
    # What the theory says comes after the paper's tables and figures, then what is predicted of other machines, then
    # what goes past the paper.
    rest = [name for name in names[names.index("recipes") + 1 :] if not name.startswith("theory-")]
    past = [f"past-{name}" for name in ("fp8", "saved", "grids", "transforms", "schedules")]
    assert rest == ["predicted-memory", "predicted-time", "capacity", *past] == names[-8:]
    path = project / "workflow/experiments/overview.yaml"
    path.write_text(path.read_text().replace("\nplace: 1\n", "\n"))
    names = list(load_plan({"scale": "smoke"}, root=project).items)
    assert names[-1] == "overview"
