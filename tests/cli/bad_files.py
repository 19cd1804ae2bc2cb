"""Files that are not what they should be (data, weights, records, downloads), each with what its line must name."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from bad_home import RUN, STORE, Case
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

Spoil = Callable[[Path], object]
EVALUATE, VERIFY = "evaluate run --resolution 8", f"data verify {STORE}"
TRAIN, PREDICT = "train --dataset toy --out out", "predict run in.h5 out.h5"
WEIGHTS = f"{RUN}/model.safetensors"


def written(name: str, content: str | bytes) -> Spoil:
    def apply(home: Path) -> None:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return apply


def cut(name: str, share: float) -> Spoil:
    def apply(home: Path) -> None:
        whole = (home / name).read_bytes()
        (home / name).write_bytes(whole[: int(share * len(whole))])

    return apply


def edited(change: Callable[[Any], object]) -> Spoil:
    def apply(home: Path) -> None:
        with h5py.File(home / STORE, "r+") as file:
            change(file)

    return apply


def attribute(name: str, value: object) -> Spoil:
    return edited(lambda file: file.attrs.__setitem__(name, value))


def without(key: str) -> Spoil:
    return edited(lambda file: file.__delitem__(key))


def replaced(value: object, key: str = "test/8/y", **options: Any) -> Spoil:
    def change(file: Any) -> None:
        del file[key]
        if options:
            file.create_dataset(key, value, "f4", **options)
        else:
            file[key] = value

    return edited(change)


def others(file: Any) -> None:
    """The values of a test in another file, by way of a virtual array."""
    layout = h5py.VirtualLayout((4, 1, 8, 8), "f4")
    layout[:] = h5py.VirtualSource("../../../in.h5", "a", (4, 1, 8, 8))
    del file["test/8/y"]
    file.create_virtual_dataset("test/8/y", layout)


_STORES: list[tuple[str, Spoil, tuple[str, ...]]] = [
    ("empty", written(STORE, b""), ("whole HDF5",)),
    ("text", written(STORE, "hello"), ("whole HDF5",)),
    ("half", cut(STORE, 0.5), ("whole HDF5",)),
    ("newer", attribute("format_version", 9), ("format_version is 9", "update mpno")),
    ("version in words", attribute("format_version", "two"), ("format_version is two",)),
    ("version in a list", attribute("format_version", [2, 2]), ("format_version is [2, 2]",)),
    ("no name", edited(lambda file: file.attrs.__delitem__("name")), ("attribute name is missing",)),
    ("a number as name", attribute("name", 3), ("attribute name is no text",)),
    ("bytes as name", attribute("name", np.bytes_(b"\xff\xfe")), ("name",)),
    ("no x", without("test/8/x"), ()),
    ("integers", replaced(np.zeros((2, 1, 8, 8), "i4")), ()),
    ("a text as array", replaced("text"), ()),
    ("one number", replaced(np.float32(1)), ()),
    ("fewer y", replaced(np.zeros((1, 1, 8, 8), "f4")), ()),
    ("NaN", replaced(np.full((2, 1, 8, 8), np.nan, "f4")), ()),
    ("a claim", replaced((10**12, 1, 8, 8), chunks=(1, 1, 8, 8)), ("are stored; refused",)),
    ("bytes of a file", replaced((2, 1, 8, 8), external=[("/etc/passwd", 0, 512)]), ("another file; refused",)),
    ("a virtual array", edited(others), ("another file; refused",)),
    ("a link to a file", replaced(h5py.ExternalLink("../../../in.h5", "a")), ()),
    ("a ring of links", replaced(h5py.SoftLink("/test/8/y")), ()),
]
CASES = {
    f"store, {name}, {command.split()[0]}": Case(command, ("toy.h5", *parts), spoil)
    for name, spoil, parts in _STORES
    for command in (EVALUATE, VERIFY)
}
_TRAINED: list[tuple[str, Spoil, tuple[str, ...]]] = [
    ("no training samples", without("train"), ("'toy'", "no train samples")),
    ("no tests", without("test"), ("'toy'", "no test samples")),
    ("an array as split", replaced(np.zeros(3), "train"), ("toy",)),
    ("a grid in words", edited(lambda file: file.move("train/8", "train/eight")), ("toy.h5",)),
    ("another grid", replaced(np.zeros((4, 1, 8, 9), "f4"), "train/8/x"), ("train/8/x",)),
    ("a mean in words", edited(lambda f: f["train/8/x"].attrs.__setitem__("mean", "no")), ("toy.h5",)),
    ("a mean too many", edited(lambda f: f["train/8/x"].attrs.__setitem__("mean", np.zeros(7))), ("toy.h5",)),
    ("a number as axes", attribute("axes", 3), ("toy.h5", "axes")),
]
CASES["store, bodies, verify"] = Case(VERIFY, ("toy.h5",), attribute("layout", "meshes"))
CASES["store, another set, evaluate"] = Case(EVALUATE, ("toy.h5", "other"), attribute("name", "other"))
CASES |= {f"store, {name}, train": Case(TRAIN, parts, spoil) for name, spoil, parts in _TRAINED}


def header(*keys: str, value: object) -> Spoil:
    """The header of the weights with something else at `keys`."""

    def change(values: Any) -> None:
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = value

    return resaved(change=change)


def resaved(
    text: str | None = None,
    change: Callable[[Any], object] = lambda values: None,
    tensors: Callable[[dict[str, np.ndarray]], object] = lambda tensors: None,
) -> Spoil:
    def apply(home: Path) -> None:
        found = load_file(home / WEIGHTS)
        with safe_open(home / WEIGHTS, "np") as file:
            values = json.loads(file.metadata()["mpno"])
        change(values)
        tensors(found)
        save_file(found, home / WEIGHTS, metadata={"mpno": json.dumps(values) if text is None else text})

    return apply


_WEIGHTS: list[tuple[str, Spoil, tuple[str, ...]]] = [
    ("empty", written(WEIGHTS, b""), ("safetensors file",)),
    ("a pickle", written(WEIGHTS, pickle.dumps({"a": 1})), ("safetensors file",)),
    ("cut", cut(WEIGHTS, 0.9), ("safetensors file",)),
    ("a head beyond measure", written(WEIGHTS, b"\xff" * 8 + b"{}"), ("safetensors file",)),
    ("gone", lambda home: (home / WEIGHTS).unlink(), ("model.safetensors",)),
    ("no spec", resaved("null"), ()),
    ("no JSON", resaved("{"), ("not JSON",)),
    ("too deep", resaved("[" * 100_000), ("not JSON",)),
    ("no run", header("more", value={}), ("without its run",)),
    ("a number as run", header("more", "run", value=3), ("run: ", "dictionary")),
    ("an unknown key", header("model", "wdth", value=3), ("wdth", "did you mean width")),
    ("an unknown model", header("model", "name", value="gpt"), ("'gpt'",)),
    ("another width", header("model", "width", value=4), ("its spec says",)),
    ("more width than weights", header("model", "width", value=10**8), ("width 100000000",)),
    ("more layers than weights", header("model", "layers", value=900), ("layers 900",)),
    ("more modes than weights", header("model", "modes", value=[10**8] * 2), ("modes",)),
    ("more channels than weights", header("in_channels", value=10**9), ("in_channels 1000000000",)),
    ("a number as scaling", header("more", "scaling", value=3), ("scaling",)),
    ("a word as mean", header("more", "scaling", "input", "mean", value=["a"]), ("scaling",)),
    ("NaN as deviation", header("more", "scaling", "input", "std", value=[float("nan")]), ("scaling",)),
    ("no deviation", header("more", "scaling", "output", "std", value=[0.0]), ("scaling",)),
    ("two means", header("more", "scaling", "input", "mean", value=[0.0, 1.0]), ("scaling",)),
    ("one tensor less", resaved(tensors=lambda found: found.pop(min(found))), ("lacks",)),
    ("one tensor more", resaved(tensors=lambda found: found.update(extra=np.zeros(1, "f4"))), ("extra",)),
]
CASES |= {
    f"weights, {name}, predict": Case(PREDICT, (*(parts or ("model.safetensors",)),), spoil)
    for name, spoil, parts in _WEIGHTS
}
CASES |= {
    f"weights, {name}, describe": Case(f"describe {RUN}", parts, spoil) for name, spoil, parts in _WEIGHTS[:12] if parts
}
CASES |= {
    f"spec, {content}": Case(EVALUATE, ("spec.json", *parts), written(f"{RUN}/spec.json", content))
    for content, parts in (
        ("{", ("not JSON",)),
        ("[]", ("nothing",)),
        ("seed", ("not JSON",)),
        (b"{\xff}", ()),
        ('{"sed": 1}', ("'sed'", "did you mean seed")),
        ('{"data": {"name": "../../x", "source": "import"}}', ("'../../x'",)),
    )
}


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


def fields(name: str, values: Any) -> Spoil:
    """A file of arrays to predict from."""

    def apply(home: Path) -> None:
        if name.endswith(".h5"):
            with h5py.File(home / name, "w") as file:
                file["a"] = values
        elif name.endswith(".npy"):
            np.save(home / name, values, allow_pickle=True)
        elif name.endswith(".npz"):
            np.savez(home / name, a=values)
        else:
            torch.save(values, home / name)

    return apply


_NPY = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 1, 8, 8), }".ljust(117) + b"\n"
_GIVEN: list[tuple[str, str, Spoil, tuple[str, ...]]] = [
    ("empty", "in.h5", written("in.h5", b""), ("whole",)),
    ("strings", "in.h5", fields("in.h5", [b"x", b"y"]), ()),
    ("NaN", "in.h5", fields("in.h5", np.full((1, 1, 8, 8), np.nan)), ("sample 0",)),
    ("too coarse", "in.h5", fields("in.h5", np.zeros((1, 1, 1, 1))), ("at least 4 points",)),
    ("beyond float32", "in.h5", fields("in.h5", np.full((1, 1, 8, 8), 1e300)), ("sample 0",)),
    ("a pickle", "in.npy", fields("in.npy", np.array([{}], object)), ("cannot be read as .npy",)),
    ("a claim", "in.npy", written("in.npy", b"\x93NUMPY\x01\x00v\x00" + _NPY), ("cannot be read as .npy",)),
    ("a pickle inside", "in.npz", fields("in.npz", np.array([{}], object)), ("cannot be read as .npz",)),
    ("not zipped", "in.npz", written("in.npz", b"PK\3\4"), ("cannot be read as .npz",)),
    ("an order to the shell", "in.pt", fields("in.pt", {"a": Evil()}), ("never run",)),
    ("an order, bare", "in.pt", written("in.pt", pickle.dumps(Evil())), ("cannot be read as .pt",)),
    ("zeros", "in.mat", written("in.mat", b"\0" * 10), ("cannot be read as .mat",)),
]
CASES |= {
    f"input, {name}, {file}": Case(f"predict run {file} out.h5", (file, *parts), spoil)
    for name, file, spoil, parts in _GIVEN
}

_CACHE = "results/cache"
_NOTES = f"{_CACHE}/zenodo/12784353/digests.json"
_FETCH = "data make darcy --source fetch --set resolution=64 --set test_resolutions=[64] --set n_train=1 --set n_test=1"
_WHEEL = "neuraloperator-0.3.0-py3-none-any.whl"
_ENTRY = '{"learnt": {"darcy_64.tgz": {"md5": 3}}}'
_CAR = f"{_CACHE}/zenodo/13936501/processed-car-pressure-data.tar.gz"
_KNOWN = '{"item":"x","title":"t","parts":[],"probes":{},"draws":["table"],"scale":"smoke"}'
_COLLECT = f"collect --item '{_KNOWN}' --root . --reference ref.csv --out t"
_ROW = "setting,metric,value,unit,provenance,conditions,place\na,b,1,,rumour,,x\n"
_RECORDS, _CONTEXT = "records a/b/toy/context.json --root . --out r.txt", "a/b/toy/context.json"
_RUNS = '{"item": "toy", "parts": [{"arms": [{"name": "a", "runs": {"0": "gone"}}]}]}'
_OTHER: list[tuple[str, str, Spoil, tuple[str, ...]]] = [
    ("a wheel", "data make darcy", written(f"{_CACHE}/{_WHEEL}", b"PK"), (_WHEEL, "sha256", "delete it")),
    ("an archive", "data make car --source fetch", written(_CAR, b"x"), ("processed-car", "bytes", "delete it")),
    ("notes", _FETCH, written(_NOTES, "{"), ("digests.json", "not JSON", "delete it")),
    ("a list as notes", _FETCH, written(_NOTES, "[]"), ("digests.json", "delete it")),
    ("notes without size", _FETCH, written(_NOTES, _ENTRY), ("digests.json", "darcy_64.tgz", "delete it")),
    ("verified", VERIFY, written(f"{_CACHE}/verified.json", "{"), ("verified.json", "not JSON", "delete it")),
    ("a context", _RECORDS, written(_CONTEXT, "{}"), ("context.json", "delete it")),
    ("a list as context", _RECORDS, written(_CONTEXT, "[]"), ("context.json", "list")),
    ("bytes as context", _RECORDS, written(_CONTEXT, b"\xff"), ("context.json", "not JSON")),
    ("a run that is gone", _RECORDS, written(_CONTEXT, _RUNS), ("gone", "metrics.json")),
    ("a page", "report p.json --out r.html", written("p.json", "{"), ("p.json", "not JSON")),
    ("a list as page", "report p.json --out r.html", written("p.json", "[]"), ("p.json", "list")),
    ("an empty page", "report p.json --out r.html", written("p.json", "{}"), ("p.json", "context")),
    ("a page without facts", "report p.json --out r.html", written("p.json", '{"context": {}}'), ("p.json", "item")),
    ("other columns", _COLLECT, written("ref.csv", "a,b\n1,2\n"), ("ref.csv", "columns are a,b")),
    ("bytes as reference", _COLLECT, written("ref.csv", b"\xff\xfe"), ("ref.csv", "no table")),
    ("an empty reference", _COLLECT, written("ref.csv", b""), ("ref.csv", "no table")),
    ("a ragged reference", _COLLECT, written("ref.csv", "a,b\n1,2\n1,2,3,4\n"), ("ref.csv", "no table")),
    ("a rumour", _COLLECT, written("ref.csv", _ROW), ("ref.csv", "'rumour'", "printed")),
    (
        "a notebook",
        "notebook n.ipynb --tidy t --drawn d --out o.ipynb",
        written("n.ipynb", "{}"),
        ("n.ipynb", "no notebook"),
    ),
    ("tidy tables", "publish --tidy t --out p", lambda home: (home / "t").mkdir(), ("t", "make reproduce")),
]
CASES |= {f"{name} that is none": Case(arguments, parts, spoil) for name, arguments, spoil, parts in _OTHER}
