"""A small working folder with everything a command reads, and how a command that is given something wrong must end."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from mpno import RunSpec, cli
from mpno.datasets import write_store
from mpno.specs import DataSpec, FNOSpec, TrainingSpec
from mpno.training import train_run

ROOT = Path(__file__).resolve().parents[2]
SPEC = RunSpec(
    data=DataSpec(name="toy", source="import", resolution=8, test_resolutions=(8,), n_train=4, n_test=2),
    model=FNOSpec(modes=(2, 2), width=2, layers=1),
    training=TrainingSpec(epochs=1, batch_size=2),
)
CONFIG = "scale: smoke\nitems: all\n"
EXPERIMENT = """\
item: toy
title: A toy
paper: no table
draws: [table]
drawn_by: settings
parts:
  - name: darcy
    recipe: darcy
    needs: [memory]
    arms:
      - {name: full, set: {precision: full}}
      - {name: mixed, against: full, set: {precision: mixed}}
    compare: {margin: 0.05, power: {control: mixed, told_from: [full]}}
    scales:
      smoke: {illustrations: [mixed]}
probes:
  - {name: range, kind: ranges, arms: {darcy: [mixed]}}
scales:
  smoke: {core_seconds: {run: 1}}
  desk: {core_seconds: {run: 1}}
  gpu: {core_seconds: {run: 1}}
  paper: {core_seconds: {run: 1}}
"""
RUN, STORE = "run", "results/data/imported/toy.h5"


@dataclass(frozen=True)
class Case:
    """A command line in a working folder where something was spoilt, and what its one line must name."""

    arguments: str
    parts: tuple[str, ...]
    spoil: Callable[[Path], object] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def make_home(home: Path) -> Path:
    """A folder with a config, an experiment and its recipe, an imported set, a finished run and fields to predict."""
    (home / "workflow" / "experiments").mkdir(parents=True)
    (home / "config.yaml").write_text(CONFIG)
    (home / "workflow" / "experiments" / "toy.yaml").write_text(EXPERIMENT)
    (home / "workflow" / "recipes").mkdir()
    shutil.copy(ROOT / "workflow" / "recipes" / "darcy.yaml", home / "workflow" / "recipes")
    rng = np.random.default_rng(0)
    arrays = {
        f"{split}/8/{kind}": rng.standard_normal((n, 1, 8, 8)).astype("f4")
        for split, n in (("train", 4), ("test", 2))
        for kind in "xy"
    }
    attrs = {
        "name": "toy", "title": "toy", "source": "import", "units_x": "1", "units_y": "1", "licence": "MIT",
        "citation": "none", "origin": "{}", "seed": 0, "periodic": False, "axes": ["y", "x"],
    }  # fmt: skip
    (home / STORE).parent.mkdir(parents=True)
    write_store(home / STORE, arrays, attrs, {"x": "noise", "y": "noise"})
    train_run(SPEC, data=home / STORE, out=home / RUN, progress=False)
    with h5py.File(home / "in.h5", "w") as file:
        file["a"] = arrays["train/8/x"]
    return home


def contents(folder: Path) -> dict[str, str]:
    """Every file, folder and link below `folder`, with a digest of its bytes; locks hold nothing."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
        if path.suffix != ".lock"
    }


def ended(arguments: str) -> tuple[int, str]:
    """The exit status and the stderr of a command line, run in this process."""
    said, status = io.StringIO(), 0
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.main(shlex.split(arguments))
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    return status, said.getvalue()
