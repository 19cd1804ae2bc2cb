"""`python -m mpno data`: the data sets of this machine."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mpno.cli_clock import clock
from mpno.specs import DataSpec, MpnoError, allowed, build_spec
from mpno.specs.grid import shown
from mpno.specs.names import DATASETS
from mpno.specs.sets import BODIES, SETS

if TYPE_CHECKING:
    from mpno.datasets.catalogue import Stock

CACHE = Path("results/cache")
app = typer.Typer(help="List, make, verify and import data sets.", no_args_is_help=True, rich_markup_mode=None)
Sets = Annotated[list[str] | None, typer.Option("--set", help="A change, as in n_train=200; may be repeated.")]
Cache = Annotated[Path, typer.Option(help="Where downloads are kept.")]


def look() -> Stock:
    """What lies on this machine; see :class:`mpno.plan.source.Stock`."""
    from mpno.datasets.catalogue import Stock

    return Stock(CACHE)


def make_data(spec: DataSpec, out: Path, cache: Path = CACHE) -> None:
    """Make the file of a spec and say how large it is."""
    from mpno.datasets import make

    out.parent.mkdir(parents=True, exist_ok=True)
    with clock("data", out):
        make(spec, out, cache=cache, progress=sys.stderr.isatty())
    print(f"{out}: {out.stat().st_size} bytes")


def make_command(spec: DataSpec, out: Path) -> str:
    """The command that makes the file of a spec, for a shell."""
    wanted = spec.model_dump_json(exclude_defaults=True)
    return f"python -m mpno data make --spec {shlex.quote(wanted)} --out {shlex.quote(str(out))}"


@app.command("list")
def list_() -> None:
    """Show every set: sizes, source, licence, state, disk use, place."""
    from mpno.datasets.catalogue import catalogue

    rows = [("set", "source", "state", "disk", "licence", "samples", "where")]
    for entry in catalogue():
        disk = f"{entry.bytes / 2**20:.1f} MiB" if entry.bytes else ""
        rows.append((entry.name, entry.source, entry.state, disk, entry.licence, entry.sizes, entry.where))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command("make")
def make_(
    name: Annotated[str | None, typer.Argument(help=f"{', '.join(DATASETS)}.")] = None,
    source: Annotated[str | None, typer.Option(help="auto, fetch (public files) or generate (solved here).")] = None,
    set_: Sets = None,
    spec: Annotated[str | None, typer.Option("--spec", help="A data spec as JSON, or the path of a JSON file.")] = None,
    out: Annotated[Path | None, typer.Option(help="The HDF5 file to write.")] = None,
    cache: Cache = CACHE,
) -> None:
    """Fetch or generate a data set as one HDF5 file."""
    from mpno.plan import load_specs

    if (spec is None) == (name is None) or (spec and (source or set_)):
        raise MpnoError("data make: give a NAME, with --source and --set as you like, or --spec alone")
    if spec:
        wanted = _data_spec(load_specs(spec)[0], "--spec")
    else:
        wanted = _asked(str(name), source or "auto", set_ or [], cache)
    make_data(wanted, out or wanted.file(Path("results")), cache)


@app.command()
def verify(
    what: Annotated[str, typer.Argument(metavar="NAME|PATH", help="A set with all its files here, or one file.")],
    cache: Cache = CACHE,
) -> None:
    """Read data files again and compare them with the digests they carry."""
    from mpno.datasets.catalogue import check, files_of

    path = Path(what)
    paths = [path] if path.suffix == ".h5" or path.exists() else files_of(what)
    if not paths:
        raise MpnoError(f"data verify: no file of a set {what!r} here; see python -m mpno data list")
    for path in paths:
        print(f"{path}: verified, digest {check(path, cache, progress=sys.stderr.isatty())}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="h5, npy, npz, pt or mat.")],
    name: Annotated[str, typer.Option(help="What to call the set: lower-case letters, digits, hyphens.")],
    target: Annotated[str, typer.Option(help="The outputs: a key of FILE, another file, or another FILE:KEY.")],
    input_: Annotated[str | None, typer.Option("--input", help="The inputs, likewise; else FILE itself.")] = None,
    test: Annotated[list[Path] | None, typer.Option(help="A file of tests, same keys, any grid; repeatable.")] = None,
    test_input: Annotated[str | None, typer.Option(help="Test inputs: a key of FILE, a file, or FILE:KEY.")] = None,
    test_target: Annotated[str | None, typer.Option(help="Test outputs, likewise.")] = None,
    test_fraction: Annotated[float, typer.Option(help="Share set aside for tests where no test set is given.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Draws the share.")] = 0,
    layout: Annotated[str | None, typer.Option(help='The axes, as in "n c y x": n samples, c channels.')] = None,
    periodic: Annotated[bool, typer.Option("--periodic", help="The fields are periodic along every axis.")] = False,
    coordinates: Annotated[str | None, typer.Option(help="Points along the axes: keys, as in y,x.")] = None,
    units: Annotated[str, typer.Option(help="Units of input and target, with a comma between.")] = ",",
    licence: Annotated[str, typer.Option(help="Whose data these are, and what one may do with them.")] = "not stated",
    citation: Annotated[str, typer.Option(help="What to cite.")] = "not stated",
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite an import of the same name.")] = False,
) -> None:
    """Check data of your own and keep them as a set that --dataset NAME takes."""
    from mpno.datasets.imported import Request, import_set

    request = Request(
        file=file, name=name, input=input_, target=target, tests=tuple(test or ()), test_input=test_input,
        test_target=test_target, test_fraction=test_fraction, seed=seed, layout=layout, periodic=periodic,
        coordinates=coordinates, units=units, licence=licence, citation=citation,
    )  # fmt: skip
    out, said = import_set(request, replace=replace, progress=sys.stderr.isatty())
    for line in said:
        print(line)
    print(f"{out}: {out.stat().st_size} bytes; train on it: python -m mpno train --dataset {name}")


def describe(spec: DataSpec, axes: int) -> str:
    """One line: which samples a run takes."""
    grid = shown(spec.resolution, axes, name=spec.name)
    return f"data: {spec.name} ({spec.source}), {spec.n_train} training samples at {grid}, {spec.n_test} test samples"


def channels(spec: DataSpec) -> tuple[int, int]:
    """Channels of inputs and outputs: those of a set of the paper, of an imported one what its file has."""
    if spec.name in SETS:
        return SETS[spec.name].channels
    from mpno.datasets import open_split

    with open_split(spec.file(Path("results")), "train", spec.resolution) as train:
        return train.x.shape[1], train.y.shape[1]


def _asked(name: str, source: str, changes: list[str], cache: Path) -> DataSpec:
    """The spec of a set made by hand: its own sizes but for the changes, and the source settled."""
    from mpno.datasets.catalogue import Stock
    from mpno.plan import settle
    from mpno.plan.files import parse_setting

    if name not in DATASETS:
        raise MpnoError(f"data set {name!r}; {allowed(name, DATASETS)}; your own comes by python -m mpno data import")
    said = {key.removeprefix("data."): value for key, value in map(parse_setting, changes)}
    data: dict[str, Any] = {**SETS[name].defaults, "name": name, "source": source, **said}
    values, why = settle({"data": data}, ["data"], lambda: Stock(cache), home=name)
    if why:
        print(why)
    return _data_spec(values["data"], f"data make {name}")


def _data_spec(data: dict[str, Any], where: str) -> DataSpec:
    """Check the data alone: whether a model's modes fit them is no matter here."""
    bodies = {"model": {"name": "gino", "modes": [1, 1, 1]}, "training": {"batch_size": 1}}
    fields = {"model": {"modes": [1, 1]}}
    return build_spec({"data": data, **(bodies if data.get("name") in BODIES else fields)}, where=where).data
