"""A training interrupted at any epoch ends in the same bits; what cannot be trusted is not used."""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from analytic_store import write_analytic

from mpno import MpnoError, RunSpec
from mpno.specs import build_spec
from mpno.training import train_run
from mpno.training.checkpoint import Checkpoints, State, scratch
from mpno.training.data import load_samples
from mpno.training.state import Progress

BASE: dict[str, Any] = {
    "data": {"name": "toy", "source": "import", "resolution": 16, "test_resolutions": [16], "n_train": 12, "n_test": 2},
    "model": {"name": "fno", "modes": [4, 4], "width": 6, "layers": 2},
    "training": {"epochs": 4, "batch_size": 4},
}


def spec_with(**changes: Any) -> RunSpec:
    return build_spec({**BASE, **changes})


SPECS = {
    "full": spec_with(),
    "mixed, loss scaled": spec_with(
        precision="mixed", training={"epochs": 3, "batch_size": 4, "loss_scaling": "dynamic", "grad_clip": 1.0}
    ),
    "schedule": spec_with(precision="schedule", training={"epochs": 8, "batch_size": 12}, scheduler={"name": "none"}),
    # Mixed in the first epoch and in the last, which what was measured before the last stop decides.
    "measured": spec_with(
        precision="mixed, full above 99.6", training={"epochs": 6, "batch_size": 4}, scheduler={"name": "none"}
    ),
    "delayed, step": spec_with(
        training={"epochs": 4, "batch_size": 4, "delayed_updates": 2},
        scheduler={"name": "step", "step_epochs": 1, "gamma": 0.5},
        optimizer={"name": "adamw", "weight_decay": 0.1},
    ),
    "unet": spec_with(model={"name": "unet", "features": 4, "depth": 2}, training={"epochs": 2, "batch_size": 4}),
}


class Interrupted(BaseException):
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_analytic(tmp_path_factory.mktemp("data") / "toy.h5", n_train=12, grids=(16,))


def train(spec: RunSpec, data: Path, out: Path, **given: Any) -> dict[str, Any]:
    return train_run(spec, data=data, out=out, progress=False, **given)


def interrupt(spec: RunSpec, data: Path, out: Path, epochs: int) -> Path:
    """Train and stop right after the checkpoint of one epoch; return the folder of the checkpoints."""
    write = Checkpoints.write

    def stopping(self: Checkpoints, epoch: int, state: State) -> None:
        write(self, epoch, state)
        if epoch == epochs:
            raise Interrupted

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Checkpoints, "write", stopping)
        train(spec, data, out)
    return out.parent / f".{out.name}.resume"


def ending(out: Path) -> dict[str, Any]:
    """All that a run leaves, times apart."""
    record = json.loads((out / "metrics.json").read_text())
    rows = [{**row, "seconds": None} for row in csv.DictReader((out / "history.csv").open())]
    bits = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    varying = {"seconds", "peak_rss_bytes", "resumed"}
    kept = {key: value for key, value in record.items() if key not in varying}
    return {"weights": bits, "history": rows, "range": (out / "range.csv").read_text(), "record": kept}


@pytest.mark.parametrize("name", SPECS)
def test_a_training_interrupted_after_every_epoch_ends_in_the_same_bits(data: Path, tmp_path: Path, name: str) -> None:
    spec = SPECS[name]
    assert train(spec, data, tmp_path / "whole")["resumed"] == []
    last = spec.training.epochs - 1
    stops = sorted({1, last // 2 or 1, last})
    for epoch in stops:
        interrupt(spec, data, tmp_path / "parts", epoch)
        assert not (tmp_path / "parts").exists(), "a training that has not ended has no files"
    torch.rand(3)  # a process started anew has not drawn the numbers of the one before
    assert train(spec, data, tmp_path / "parts")["resumed"] == stops
    assert ending(tmp_path / "parts") == ending(tmp_path / "whole")
    settings = [row["precision"] for row in ending(tmp_path / "whole")["history"]]
    assert len(set(settings)) == {"schedule": 3, "measured": 2}.get(name, 1)
    assert name != "measured" or (settings[0], settings[-2:]) == ("mixed", ["full+tanh", "mixed"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts", "whole"]


def test_every_random_number_goes_on_where_it_was(data: Path) -> None:
    samples = load_samples(SPECS["full"], data, torch.device("cpu"))
    one = Progress.begin(SPECS["full"], samples)
    for generator in (None, one.order):
        torch.rand(7, generator=generator)
    state = one.state()
    drawn = torch.rand(9), torch.rand(9, generator=one.order)
    other = Progress.begin(SPECS["full"], samples)
    other.restore(state)
    assert torch.equal(torch.rand(9), drawn[0]) and torch.equal(torch.rand(9, generator=other.order), drawn[1])


def test_what_loss_scaling_has_learnt_goes_on(data: Path, tmp_path: Path) -> None:
    spec = SPECS["mixed, loss scaled"]
    samples = load_samples(spec, data, torch.device("cpu"))
    one, other = Progress.begin(spec, samples), Progress.begin(spec, samples)
    for _ in range(3):
        one.updater.backward(one.model(samples.x[:2]).sum() * torch.inf)
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.write(1, one.state())
    found = checkpoints.latest()
    assert found is not None
    other.restore(found)
    assert other.updater.state_dict() == one.updater.state_dict()
    assert (other.updater.skipped, other.updater.state_dict()["scaler"]["scale"]) == (3, 2.0**13)


def test_seconds_go_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a thousand seconds had passed before; the wall clock, set back by a year meanwhile, is not asked."""
    write = Checkpoints.write
    monkeypatch.setattr(
        Checkpoints,
        "write",
        lambda self, epoch, state: write(self, epoch, State(state.tensors, {**state.plain, "seconds": 1000.0})),
    )
    interrupt(SPECS["full"], data, tmp_path / "run", 2)
    monkeypatch.setattr("time.time", lambda: 0.0)
    record = train(SPECS["full"], data, tmp_path / "run")
    seconds = [float(row["seconds"]) for row in csv.DictReader((tmp_path / "run" / "history.csv").open())]
    assert seconds[1] < 900 < 1000 < seconds[2] < seconds[3] < record["seconds"] < 1900


def test_the_last_two_are_kept_and_what_was_cut_off_goes(data: Path, tmp_path: Path) -> None:
    folder = interrupt(SPECS["full"], data, tmp_path / "run", 1)
    (folder / ".000002-x.safetensors").write_bytes(b"half")
    interrupt(SPECS["full"], data, tmp_path / "run", 3)
    assert [path.name[:6] for path in sorted(folder.iterdir())] == ["000002", "000003", "lock"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".metrics.json.abc.json").write_text("{")
    train(SPECS["full"], data, tmp_path / "run")
    assert not folder.exists() and len(list((tmp_path / "run").iterdir())) == 5


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_checkpoint_is_seen_and_the_one_before_is_used(
    data: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train(SPECS["full"], data, tmp_path / "whole")
    last = max(interrupt(SPECS["full"], data, tmp_path / "run", 3).glob("*.safetensors"))
    found = bytearray(last.read_bytes())
    found[-9] ^= 1
    last.write_bytes({"flipped": bytes(found), "cut": bytes(found[:5000]), "empty": b""}[damage])
    assert train(SPECS["full"], data, tmp_path / "run")["resumed"] == [2]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith(f"mpno: {last}: this checkpoint is damaged")
    assert ending(tmp_path / "run") == ending(tmp_path / "whole")


def test_what_is_no_checkpoint_is_never_unpickled(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even under a name with the right digest."""

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    folder = interrupt(SPECS["full"], data, tmp_path / "run", 1)
    for epoch, text in ((7, pickle.dumps(Trap())), (8, b"[]"), (9, (2).to_bytes(8, "little") + b"{}")):
        (folder / f"{epoch:06}-{hashlib.sha256(text).hexdigest()}.safetensors").write_bytes(text)
    assert train(SPECS["full"], data, tmp_path / "run")["resumed"] == [1]
    assert not (tmp_path / "sprung").exists()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3 and all("is no checkpoint of mpno" in line for line in said)


@pytest.mark.parametrize("changed", ["spec", "code", "data", "versions", "processor"])
def test_a_checkpoint_of_something_else_is_not_used(
    data: Path, tmp_path: Path, changed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(SPECS["full"], data, tmp_path / "run", 2)
    spec, code = SPECS["full"], {}
    if changed == "spec":
        spec = spec_with(seed=1)
    elif changed == "code":
        code = {"source_digest": "of other code"}
    elif changed == "data":
        found = {"digest": "of other data", "source": "import"}
        monkeypatch.setattr("mpno.training.checkpoint.read_attrs", lambda _: found)
    elif changed == "versions":
        monkeypatch.setattr("mpno.training.checkpoint.versions", dict)
    else:
        monkeypatch.setattr("mpno.training.checkpoint.processor_name", lambda _: "another")
    record = train(spec, data, tmp_path / "run", provenance=code)
    said = capsys.readouterr().err.splitlines()
    assert record["resumed"] == [] and record["spec"]["seed"] == spec.seed
    assert len(said) == 2 and all(f"is of another {changed};" in line for line in said)


def test_two_processes_never_train_one_run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second gives up with one line; the first, killed, leaves no lock behind."""
    monkeypatch.setattr("mpno.training.checkpoint.PATIENCE", 0.0)
    hold = f"""
from pathlib import Path
from mpno.training.checkpoint import scratch
with scratch(Path({str(tmp_path / "run")!r})):
    print("held", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(MpnoError, match=rf"run: process {other.pid} trains this run; wait"):
            train(SPECS["full"], data, tmp_path / "run")
        other.kill()
    assert not (tmp_path / "run").exists()
    assert train(SPECS["full"], data, tmp_path / "run")["status"] == "finished"


def test_a_lock_on_a_folder_that_was_removed_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another process ends, and removes its folder, between our opening the lock and taking it."""
    flock, folder = fcntl.flock, tmp_path / ".run.resume"
    taken: list[int] = []

    def late(handle: int, how: int) -> None:
        taken.append(handle)
        if len(taken) == 1:
            (folder / "lock").unlink()
            folder.rmdir()
        flock(handle, how)

    monkeypatch.setattr("fcntl.flock", late)
    with scratch(tmp_path / "run") as given:
        assert given == folder and (folder / "lock").read_text() == str(os.getpid())
    assert len(taken) == 2


def test_where_nothing_can_be_locked_a_training_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", without)
    with scratch(tmp_path / "run") as folder:
        assert folder.is_dir()
    assert capsys.readouterr().err == f"mpno: {folder}: has no locks; see that nothing else trains {tmp_path / 'run'}\n"


def test_every_rename_is_between_a_synced_file_and_a_synced_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut leaves: of each file the old or the new, never a name without content."""
    did: list[tuple[str, str]] = []
    sync, rename, unlink = os.fsync, os.replace, os.unlink

    def synced(handle: int) -> None:
        did.append(("sync", str(Path(f"/proc/self/fd/{handle}").readlink())))
        sync(handle)

    def renamed(old: Path, new: Path) -> None:
        did.extend([("from", str(old)), ("to", str(new))])
        rename(old, new)

    def removed(path: Any, **given: Any) -> None:
        did.append(("gone", str(path)))
        unlink(path, **given)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr("os.replace", renamed)
    monkeypatch.setattr("os.unlink", removed)
    train(SPECS["full"], data, tmp_path / "deep" / "run")
    names = [Path(path).name for kind, path in did if kind == "to"]
    assert len([name for name in names if name.startswith("0")]) == 3 and names[3:] == [
        "spec.json", "history.csv", "range.csv", "model.safetensors", "metrics.json"
    ]  # fmt: skip
    for index, (kind, path) in enumerate(did):
        if kind == "from":
            assert did[index - 1] == ("sync", path)
        if kind == "to":
            assert did[index + 1] == ("sync", str(Path(path).parent))
    made = [tmp_path, tmp_path / "deep"]
    assert {("sync", str(folder)) for folder in made} <= set(did), "where a new folder's name stands"
    did.clear()
    train(SPECS["full"], data, tmp_path / "deep" / "run")
    record = ("gone", str(tmp_path / "deep" / "run" / "metrics.json"))
    at = did.index(record)
    assert did[at + 1] == ("sync", str(tmp_path / "deep" / "run")), "the old record is gone before a file changes"
    assert at < next(index for index, (kind, path) in enumerate(did) if kind == "to" and path.endswith("spec.json"))
