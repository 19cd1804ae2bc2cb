"""Kills trainings at random moments, starts them again, and compares every bit of how they end.

    python -m tests.faults.kills --seed 0 --count 200

A kill is SIGKILL or SIGTERM, either after a random share of the processor time that a whole run takes, or right before
or after one of the operations on files: in the middle of a write, before it is synced, before or after a rename, while
old files are removed. One run in four is killed again after it was started again.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from mpno import RunSpec
from mpno.datasets import write_store
from mpno.datasets.meshes import Body, write_bodies
from mpno.specs import build_spec
from mpno.training import train_run

try:
    from .checker import ending, faults_of
except ImportError:  # pytest puts this folder on the path
    from checker import ending, faults_of

ATTRS = {**dict.fromkeys(("title", "units_x", "units_y", "licence", "citation", "origin"), "toy"), "seed": None}
SIZES = {"n_train": 8, "n_test": 2, "test_resolutions": [12], "resolution": 12}
TOY = {"name": "toy", "source": "import", **SIZES}
MODEL = {"modes": [4, 4], "width": 6, "layers": 2}
CP = {"factorization": "cp", "rank": 0.5}
RUNS: dict[str, dict[str, Any]] = {
    "fno": {"data": TOY, "model": {"name": "fno", **MODEL}, "precision": "schedule", "training": {"epochs": 8}},
    "tfno": {
        "data": TOY,
        "model": {"name": "tfno", "contraction": CP, **MODEL},
        "precision": "mixed",
        "training": {"loss_scaling": "dynamic", "grad_clip": 5.0},
    },
    "sfno": {
        "data": {**TOY, "name": "globe", "resolution": "8x16", "test_resolutions": ["8x16"]},
        "model": {"name": "sfno", **MODEL},
        "precision": "mixed-bf16",
        "optimizer": {"name": "adamw", "weight_decay": 0.1},
        "scheduler": {"name": "step", "step_epochs": 2, "gamma": 0.5},
    },
    "gino": {
        "data": {**SIZES, "name": "ahmed", "source": "generate", "resolution": 8, "test_resolutions": [8]},
        "model": {"name": "gino", "modes": [4, 4, 4], "width": 4, "layers": 1, "radius": 0.15, "frequencies": 2},
        "training": {"batch_size": 1, "normalise_output": True, "delayed_updates": 3},
    },
    "unet": {"data": TOY, "model": {"name": "unet", "features": 4, "depth": 2}, "precision": "amp"},
}
OPERATIONS = ("write", "synced", "sync", "rename", "renamed", "unlink", "unlinked")
LONGEST = 300.0
"""Seconds after which a training counts as hung, on however busy a machine."""


def spec_of(model: str) -> RunSpec:
    values = {**RUNS[model]}
    return build_spec({**values, "training": {"epochs": 4, "batch_size": 4, **values.get("training", {})}})


@dataclass(frozen=True)
class Kill:
    """When a training is killed: after `share` of the processor time of a whole run, or at the `nth` `operation`."""

    how: signal.Signals
    share: float = 0.0
    operation: str = ""
    nth: int = 0

    @classmethod
    def drawn(cls, draw: random.Random) -> Kill:
        how = draw.choice([signal.SIGKILL, signal.SIGTERM])
        if draw.random() < 0.5:
            return cls(how, share=draw.random())
        return cls(how, operation=draw.choice(OPERATIONS), nth=draw.randint(1, 12))


def write_data(folder: Path) -> dict[str, Path]:
    """The data file of each model, small and random."""
    rng = np.random.default_rng(0)
    paths = {}
    for name, grid, resolution in (("toy", (12, 12), "12"), ("globe", (8, 16), "8x16")):
        arrays = {}
        for split, count in (("train", 8), ("test", 2)):
            x = rng.standard_normal((count, 1, *grid)).astype(np.float32)
            y = np.mean([np.roll(x, shift, axis) for shift in (-1, 0, 1) for axis in (2, 3)], axis=0) + 0.5
            arrays |= {f"{split}/{resolution}/x": x, f"{split}/{resolution}/y": y.astype(np.float32)}
        paths[name] = folder / f"{name}.h5"
        write_store(paths[name], arrays, {**ATTRS, "name": name, "source": "import"}, {"x": "noise", "y": "smoothed"})
    paths["ahmed"] = folder / "ahmed.h5"
    attrs = {**ATTRS, "name": "ahmed", "source": "generate", "seed": 0, "parameter_names": ["radius"]}
    write_bodies(paths["ahmed"], {"train": _spheres(rng, 8), "test": _spheres(rng, 2)}, attrs)
    return {model: paths[str(run["data"]["name"])] for model, run in RUNS.items()}


def _spheres(rng: np.random.Generator, count: int) -> list[Body]:
    axes = np.meshgrid(*[np.linspace(-1, 1, 8)] * 3, indexing="ij")
    bodies = []
    for _ in range(count):
        normals = rng.standard_normal((60, 3))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        radius = rng.uniform(0.5, 0.8)
        body = Body(
            vertices=radius * normals, triangles=np.arange(3)[None], normals=normals,
            areas=np.full(60, 4 * np.pi * radius**2 / 60), pressure=200 * (1 - normals[:, 0] ** 2),
            parameters=np.array([radius]), inlet_speed=None, sdf=np.linalg.norm(np.stack(axes, -1), axis=-1) - radius,
            box=np.array([[-1.0] * 3, [1.0] * 3]),
        )  # fmt: skip
        bodies.append(body)
    return bodies


def start(spec: RunSpec, data: Path, out: Path, log: Path, kill: Kill | None = None) -> int:
    """Train in a process forked from this one, which has loaded everything; return its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _train(spec, data, out, log, kill)
    return pid


def _train(spec: RunSpec, data: Path, out: Path, log: Path, kill: Kill | None) -> NoReturn:
    status = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        if kill and kill.operation:
            _arm(kill)
        train_run(spec, data=data, out=out, progress=False)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _arm(kill: Kill) -> None:
    """Let this process kill itself at the `nth` `operation` on files."""
    seen = Counter[str]()

    def at(operation: str) -> None:
        seen[operation] += 1
        if (operation, seen[operation]) == (kill.operation, kill.nth):
            os.kill(os.getpid(), kill.how)
            time.sleep(LONGEST)

    def around(before: str, call: Callable[..., Any], after: str) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            at(before)
            result = call(*given, **named)
            at(after)
            return result

        return wrapped

    write = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        if (kill.operation, kill.nth) == ("write", seen["write"] + 1):
            write(path, content[: len(content) // 2])
        at("write")
        return write(path, content)

    patched: Any = Path
    patched.write_bytes = half
    os.fsync = around("sync", os.fsync, "synced")
    os.replace = around("rename", os.replace, "renamed")
    os.unlink = around("unlink", os.unlink, "unlinked")


def wait(pid: int, kill: Kill | None = None, whole: float = 0.0) -> int:
    """Wait for a training, killing it where `kill` says, and return its wait status."""
    until = time.monotonic() + LONGEST
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if kill and not kill.operation and _used(pid) >= kill.share * whole:
            os.kill(pid, kill.how)
            return os.waitpid(pid, 0)[1]
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"a training has not ended after {LONGEST:.0f} s")
        time.sleep(0.0005)


def _used(pid: int) -> float:
    """Seconds of the processor that a process has used."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def logged(log: Path) -> int:
    """The last epoch that a training says it has done."""
    lines = [line for line in log.read_text().splitlines() if line.startswith("epoch ")] if log.exists() else []
    return int(lines[-1].split()[1]) if lines else 0


def end_whole(spec: RunSpec, data: Path, out: Path, log: Path) -> None:
    status = wait(start(spec, data, out, log))
    assert status == 0, f"{out}: ended with {status}: {log.read_text()}"


def trial(draw: random.Random, model: str, data: Path, folder: Path, reference: dict[str, Any], whole: float) -> int:
    """Kill a training, start it again and compare how it ends; return how often it was killed.

    Raises:
        AssertionError: it ends in other bits, repeats more than an epoch, or leaves anything half-written.
    """
    spec, out, kills = spec_of(model), folder / "run", 0
    wanted = 1 + (draw.random() < 0.25)
    last = folder / "log"
    while kills < wanted:
        kill, log = Kill.drawn(draw), folder / f"log{kills}"
        status = wait(start(spec, data, out, log, kill), kill, whole)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == kill.how
            kills += 1
        elif kills:
            last = log  # it got to its end, before the second kill was due
            break
        else:
            assert status == 0, f"{model}: {kill}: {log.read_text()}"
            shutil.rmtree(out)
            log.unlink()
    told = max(logged(folder / f"log{index}") for index in range(kills))
    had_ended = (out / "metrics.json").exists()
    if had_ended:
        assert ending(out) == reference, f"{model}: a record stands beside files of an unfinished run"
    if not last.exists():
        end_whole(spec, data, out, last)
    assert faults_of(out, data) == []
    assert ending(out) == reference, f"{model}: ended in other bits; see {folder}"
    text = last.read_text()
    first = next(int(line.split()[1]) for line in (text + "\nepoch 999").splitlines() if line.startswith("epoch "))
    # A checkpoint follows its epoch's line, so the epoch of the last line may be the one that is repeated. A run whose
    # record stood had ended: called again, it is made anew.
    assert had_ended or first >= min(told, spec.training.epochs), f"{model}: epoch {first} again, {told} were done"
    return kills


def run(seed: int, count: int, say: Callable[[str], None] = print) -> int:
    """Let `count` killed trainings end; return how many kills that took."""
    torch.set_num_threads(1)
    draw, kills = random.Random(seed), 0
    with tempfile.TemporaryDirectory(prefix="mpno-kills-") as name:
        folder = Path(name)
        data, references, costs = write_data(folder), {}, {}
        for number in range(count):
            model = list(RUNS)[number % len(RUNS)]
            if model not in references:
                # Here first, so that the processes forked from this one need load nothing more.
                out = folder / model
                with redirect_stdout(io.StringIO()):
                    train_run(spec_of(model), data=data[model], out=out, progress=False)
                references[model] = ending(out)
                before = os.times()
                end_whole(spec_of(model), data[model], folder / f"{model} again", folder / f"{model}.log")
                after = os.times()
                assert ending(folder / f"{model} again") == references[model], f"{model}: other bits, never killed"
                costs[model] = after.children_user + after.children_system
                costs[model] -= before.children_user + before.children_system
            place = folder / str(number)
            place.mkdir()
            kills += trial(draw, model, data[model], place, references[model], costs[model])
            shutil.rmtree(place)
            if (number + 1) % 20 == 0:
                say(f"{number + 1} endings after {kills} kills, all with the bits of a whole run")
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200, help="trainings to kill")
    given = parser.parse_args()
    started = time.monotonic()
    kills = run(given.seed, given.count, lambda line: print(line, flush=True))
    print(f"{given.count} endings after {kills} kills in {time.monotonic() - started:.0f} s, every one bit-identical")


if __name__ == "__main__":
    main()
