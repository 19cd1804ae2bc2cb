"""Mistakes in config.yaml, in an experiment file and in its recipe, each with what its one line must name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bad_home import Case

CONFIG = "config.yaml"
TOY, DARCY = "workflow/experiments/toy.yaml", "workflow/recipes/darcy.yaml"
Spoil = Callable[[Path], object]


def text(file: str, content: str | bytes) -> Spoil:
    return lambda home: (home / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def changed(file: str, old: str, new: str) -> Spoil:
    def apply(home: Path) -> None:
        before = (home / file).read_text()
        assert old in before, old
        (home / file).write_text(before.replace(old, new, 1))

    return apply


def gone(file: str, *, then: Callable[[Path], object] = lambda path: None) -> Spoil:
    def apply(home: Path) -> None:
        (home / file).unlink()
        then(home / file)

    return apply


_CONFIGS: list[tuple[str | bytes, tuple[str, ...]]] = [
    ("- scale: smoke", ("list",)),
    ("smoke", ("str",)),
    ("3", ("int",)),
    ("scal: smoke", ("'scal'", "did you mean scale")),
    ("scale: huge", ("scale is 'huge'", "smoke, desk, gpu, paper")),
    ("scale: null", ("scale is None",)),
    ("scale: [smoke]", ("scale is ['smoke']",)),
    ("scale: smoke\nscale: desk", ("line 2", "'scale' stands twice")),
    ("scale: smoke\n\tx: 1", ("line 2", "not YAML")),
    ("scale: [smoke", ("not YAML",)),
    ("scale: *nowhere", ("line 1", "alias")),
    ("scale: !!python/object/apply:os.system ['touch pwned']", ("line 1", "python/object/apply:os.system")),
    ("scale: smoke\n---\nscale: desk", ("not YAML",)),
    ("<<: 3\nscale: smoke", ("not YAML",)),
    ("3: 4", ("3 is 3; it should be a text",)),
    ("[a, b]: 4", ("not YAML",)),
    ("scale: " + "[" * 100, ("nested",)),
    (b"scale: \xff", ("byte 7 is no UTF-8",)),
    ("scale: smoke".encode("utf-16"), ("byte 0 is no UTF-8",)),
    (b"scale: sm\0ke", ("not YAML",)),
    ("seeds: one", ("seeds", "'one'")),
    ("seeds: 0.5", ("seeds is 0.5",)),
    ("seeds: [-1]", ("seeds.0 is -1",)),
    ("seeds: []", ("seeds",)),
    ("seeds: [1, 1]", ("seeds", "twice")),
    ("seeds: true", ("seeds is True",)),
    ("seeds: 2020-01-01", ("seeds",)),
    ("seeds: 2020-13-45", ("not YAML",)),
    ("seeds: [1000000000000000000000000000000]", ("seeds.0", "less than")),
    ("items: [toyy]", ("'toyy'", "did you mean toy")),
    ("items: 3", ("items is 3",)),
    ("items: [[toy]]", ("items.0",)),
    ("item: ../../etc", ("'../../etc'", "allowed: toy")),
    ("data: fetch", ("data is 'fetch'",)),
    ("data: {source: download}", ("data.source is 'download'", "fetch")),
    ("data: {sauce: fetch}", ("'data.sauce'", "did you mean source")),
    ("drawn_from: nowhere", ("drawn_from", "nowhere")),
    ("set: [optimizer.lr]", ("'optimizer.lr'", "key=value")),
    ("set: [optimizer.lr=1, optimizer.lr=2]", ("optimizer.lr twice",)),
    ("set: [seed=1]", ("use seeds",)),
    ("set: [optimizer.rate=1]", ("'optimizer.rate'", "lr")),
    ("set: [optimizer.lr=-1]", ("optimizer.lr is -1",)),
    ("set: [optimizer.lr=.nan]", ("optimizer.lr is nan",)),
    ("set: [optimizer.lr=1e999]", ("optimizer.lr is inf", "finite")),
    ("set: [data.n_train=1000000000000]", ("data.n_train is 1000000000000",)),
    ("set: [model.width=1000000000000]", ("model.width is 1000000000000",)),
    ("set: [seed.a=1]", ("config.yaml", "seed.a")),
    ("set: ['=1']", ("'=1'", "key=value")),
    ("set: ['precision=!!python/object:os.system x']", ("precision", "python/object")),
    ("set: [model=fno]", ("model", "'fno'")),
    ("set: [data=darcy]", ("data", "'darcy'")),
    ("set: ['data.name=[1]']", ("data.name",)),
]
CASES = {
    f"config {number} {str(content)[:30]}": Case("plan", (CONFIG, *parts), text(CONFIG, content))
    for number, (content, parts) in enumerate(_CONFIGS)
}
CASES |= {
    "no config": Case("plan", (CONFIG, "no such file"), gone(CONFIG)),
    "a folder as config": Case("plan", (CONFIG, "cannot be read"), gone(CONFIG, then=Path.mkdir)),
    "a ring as config": Case("plan", (CONFIG, "cannot be read"), gone(CONFIG, then=lambda p: p.symlink_to(p.name))),
    "a book as config": Case("plan", (CONFIG, "2000001 bytes"), text(CONFIG, "#" * 2_000_000 + "\n")),
}

_EXPERIMENTS: list[tuple[str, str, tuple[str, ...]]] = [
    ("item: toy", "item: other", ("'other'", "'toy'")),
    ("item: toy", "item: [toy]", ("item",)),
    ("title: A toy\n", "", ("title is missing",)),
    ("title: A toy", "title: ''", ("title",)),
    ("draws: [table]", "draws: [plot]", ("'plot'", "table")),
    ("draws: [table]", "draws: []", ("draws",)),
    ("draws: [table]", "draws: [table", ("not YAML",)),
    ("drawn_by: settings", "drawn_by: ../x", ("drawn_by", "'../x'")),
    ("drawn_by: settings", "drawn_by: nobody", ("'nobody'", "settings")),
    ("paper: no table", "paper: no table\nplace: 0", ("place is 0",)),
    ("paper: no table", "paper: no table\ncolour: red", ("'colour'", "'red'")),
    ("recipe: darcy", "recipe: darci", ("'darci'", "did you mean darcy")),
    ("recipe: darcy", "recipe: darcy\n    base: {seed: 1}", ("both", "give one")),
    ("    recipe: darcy\n", "", ("neither", "give one")),
    ("recipe: darcy", "base: [1]", ("base",)),
    ("needs: [memory]", "needs: [disk]", ("'disk'", "memory")),
    ("{name: mixed, against", "{name: full, against", ("'full' stands twice",)),
    ("{name: mixed, against", "{name: 'Mixed !', against", ("'Mixed !'",)),
    ("against: full", "against: fool", ("'fool'", "allowed: full, mixed")),
    ("against: full", "agianst: full", ("agianst", "did you mean against")),
    ("against: full", "against: full, seeds: 0", ("seeds is 0",)),
    ("precision: mixed", "precision: mixd", ("'mixd'", "arm mixed", "did you mean mixed")),
    ("set: {precision: mixed}", "set: {precision: full}", ("same run",)),
    ("set: {precision: mixed}", "set: {data.source: generate}", ("differ in their data",)),
    ("set: {precision: mixed}", "set: precision", ("set is 'precision'",)),
    ("set: {precision: mixed}", "set: {3: mixed}", ("set",)),
    ("set: {precision: mixed}", "set: {seed.x: 1}", ("seed", "integer")),
    ("margin: 0.05", "margin: 5", ("margin is 5",)),
    ("margin: 0.05", "margin: .nan", ("margin",)),
    ("control: mixed", "control: mixxed", ("'mixxed'", "did you mean mixed")),
    ("smoke: {illustrations", "smok: {illustrations", ("smok",)),
    ("illustrations: [mixed]", "illustrations: [amp]", ("'amp'",)),
    ("illustrations: [mixed]", "seeds: [a]", ("seeds.0 is 'a'",)),
    ("kind: ranges", "kind: rangs", ("'rangs'", "did you mean ranges")),
    ("kind: ranges", "kind: ../ranges", ("kind", "'../ranges'")),
    ("arms: {darcy: [mixed]}", "arms: {darci: [mixed]}", ("'darci'",)),
    ("arms: {darcy: [mixed]}", "arms: {darcy: [amp]}", ("'amp'",)),
    ("kind: ranges,", "kind: ranges, data: {n_tran: 3},", ("n_tran", "did you mean n_train")),
    ("kind: ranges,", "kind: ranges, settings: 3,", ("settings is 3",)),
    ("  paper: {core_seconds: {run: 1}}\n", "", ("lacks paper",)),
    ("smoke: {core_seconds: {run: 1}}", "smoke: {core_seconds: {run: -1}}", ("run is -1",)),
    ("smoke: {core_seconds: {run: 1}}", "smoke: {core_seconds: {runs: 1}}", ("runs", "did you mean run")),
    ("needs: [memory]", "set: {training.epoch: 3}", ("training.epoch", "did you mean epochs")),
    ("needs: [memory]", "set: {model.modes: [99, 99]}", ("modes", "99")),
    ("needs: [memory]", "set: {model: {name: sfno, modes: [4, 4]}}", ("sfno", "shallow-water")),
    ("needs: [memory]", "set: {data.name: burgers}", ("'burgers'", "part darcy")),
    ("needs: [memory]", "set: {optimizer: 3}", ("optimizer is 3",)),
    ("needs: [memory]", "set: {data: 3}", ("data is 3",)),
    ("needs: [memory]", "set: {model: 3}", ("model",)),
]
CASES |= {
    f"experiment {number} {new[:30]}": Case("plan", ("toy.yaml", *parts), changed(TOY, old, new))
    for number, (old, new, parts) in enumerate(_EXPERIMENTS)
}
CASES |= {
    "an experiment in bytes": Case("plan", ("toy.yaml", "UTF-8"), text(TOY, b"\xff\xfe\x00")),
    "an empty experiment": Case("plan", ("toy.yaml", "item is missing"), text(TOY, b"")),
    "no experiment": Case("plan", ("experiments", "no experiment file"), gone(TOY)),
    "a folder as experiment": Case("plan", ("toy.yaml", "cannot be read"), gone(TOY, then=Path.mkdir)),
    "a recipe in bytes": Case("plan", ("darcy.yaml", "UTF-8"), text(DARCY, b"recipe: \xe9")),
    "no recipe": Case("plan", ("toy.yaml", "'darcy'"), gone(DARCY)),
}

_RECIPES: list[tuple[str, str, tuple[str, ...]]] = [
    ("recipe: darcy", "recipe: darci", ("darcy.yaml", "'darci'")),
    ("base:", "bass:", ("darcy.yaml", "base is missing")),
    ("smoke: {seeds: [0]", "smoke: {seeds: []", ("darcy.yaml", "seeds")),
    ("smoke: {seeds: [0]", "smoke: {seeds: [x]", ("darcy.yaml", "'x'")),
    ("  desk: {seeds", "  dusk: {seeds", ("darcy.yaml", "dusk")),
    # What a recipe says of a run is checked where a run is made of it.
    ("epochs: 5", "epoch: 5", ("recipe darcy", "training.epoch")),
    ("batch_size: 20", "batch_size: 0", ("recipe darcy", "training.batch_size is 0")),
    ("loss: h1", "loss: h2", ("recipe darcy", "'h2'")),
    ("name: fno", "name: fnoo", ("recipe darcy", "'fnoo'")),
    ("modes: [12, 12]", "modes: 12", ("recipe darcy", "modes")),
    ("modes: [12, 12]", "modes: [12, 12, 12]", ("recipe darcy", "modes")),
    ("modes: [12, 12]", "modes: [0, 12]", ("recipe darcy", "modes")),
    ("scheduler: {name: step, step_epochs: 1, gamma: 0.5}", "scheduler: {name: step}", ("recipe darcy", "gamma")),
    ("scheduler: {name: step, step_epochs: 1, gamma: 0.5}", "scheduler: step", ("recipe darcy", "scheduler")),
]
CASES |= {
    f"recipe {number} {new[:30]}": Case("plan", parts, changed(DARCY, old, new))
    for number, (old, new, parts) in enumerate(_RECIPES)
}
