"""`python -m mpno`: what the workflow's rules call, and a person can."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from mpno import cli_cite, cli_claims, cli_data, cli_measure, cli_report, cli_theory
from mpno.cli_clock import clock
from mpno.specs import MpnoError, RunSpec, build_spec
from mpno.specs.grid import parse_resolution, shown
from mpno.specs.names import MODELS
from mpno.specs.sets import BODIES

app = typer.Typer(
    help="Mixed-precision neural operators: the steps of the reproduction, one by one.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

PUBLISHED = Path("results/published/tidy")
app.add_typer(cli_data.app, name="data")
app.add_typer(cli_measure.app, name="measure")
app.add_typer(cli_theory.app, name="theory")
app.command(short_help="Judge the paper's claims by a run's tables.")(cli_claims.claims)
app.command(short_help="Print what to cite, in words and as BibTeX.")(cli_cite.cite)
app.command(short_help="Write the page that shows and links all results.")(cli_report.report)
app.command(short_help="Pack the report and its files to send to others.")(cli_report.share)

Spec = Annotated[str | None, typer.Option("--spec", help="A spec as JSON, or the path of a JSON file.")]
Data = Annotated[Path | None, typer.Option("--data", help="The data file; made where it is missing and not named.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="A change, as in optimizer.lr=2e-3; may be repeated.")]
Dataset = Annotated[str | None, typer.Option(help="A set of the paper, or the name of an imported one.")]
Model = Annotated[str | None, typer.Option(help=f"{', '.join(MODELS)}; else that of the recipe.")]
Precision = Annotated[str | None, typer.Option(help="full, amp, half, mixed, compact, mixed-bf16, full+tanh ...")]
Transform = Annotated[str | None, typer.Option(help="fft or matmul; of spherical models sht or matmul.")]
Recipe = Annotated[str | None, typer.Option("--item", help="Whose recipe to take, in place of the data set's.")]
ScaleName = Annotated[str, typer.Option("--scale", help="smoke, desk, gpu or paper.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. A mistake of the user's is one line on stderr and exit status 2."""
    try:
        status = app(args=arguments, prog_name="python -m mpno", standalone_mode=False)
    except MpnoError as error:
        _stop(str(error))
    except (KeyboardInterrupt, typer.Abort):
        print("mpno: interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _stop(f"{place}{error.strerror or error}; make room, or choose a place that can be read and written")
    except Exception as error:
        if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate" in str(error)):
            _stop(f"not enough memory ({error}); choose a smaller model, grid or batch")
        # typer's usage errors; their class is private to typer, or click's, depending on its version.
        usage = getattr(error, "format_message", None)
        if usage is None:
            raise
        context = getattr(error, "ctx", None)
        _stop(f"{usage()} (see {context.command_path if context else 'python -m mpno'} --help)")
    sys.exit(status if isinstance(status, int) else 0)


def _stop(message: str) -> NoReturn:
    print("mpno:", MpnoError(message), file=sys.stderr)
    sys.exit(2)


@app.command(short_help="Train one run, from a spec or by hand.")
def train(
    spec: Spec = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.")] = None,
    dataset: Dataset = None,
    model: Model = None,
    precision: Precision = None,
    transform: Transform = None,
    seed: Annotated[str | None, typer.Option(help="A number; fixes weights and data order.")] = None,
    set_: Sets = None,
    item: Recipe = None,
    scale: ScaleName = "desk",
    tensorboard: Annotated[Path | None, typer.Option(help="A folder for TensorBoard, beside history.csv.")] = None,
) -> None:
    """Train one run: from --spec, or by hand from the recipe of a data set and a model."""
    by_hand = {
        "data.name": dataset, "model.name": model, "precision": precision, "transform": transform, "seed": seed,
    }  # fmt: skip
    run = _run("train", spec, item, scale, by_hand, set_)
    folder = out or Path("results", run.scale, "by-hand", run.id)
    _check_folder("--out", folder)
    if tensorboard:
        _check_folder("--tensorboard", tensorboard)
    print(cli_data.describe(run.data, run.axes))
    data = data or _default_data(run)

    from mpno.training import train_run

    about = _provenance("train", set_ or [])
    with clock("train", folder):
        metrics = train_run(run, data=data, out=folder, provenance=about, tensorboard=tensorboard, end_if_hung=True)
    print(f"{metrics['status']}: {folder}")
    for grid, errors in (metrics.get("metrics") or {}).items():
        shown_grid, mean = shown(parse_resolution(grid), run.axes, name=run.data.name), metrics["baseline"][grid]
        beside = (f"{key} {value:.5f} (mean predictor {mean[key]:.5f})" for key, value in errors.items())
        print(f"  test {shown_grid}: " + ", ".join(beside))


@app.command(short_help="Test a trained run at a resolution, in any setting.")
def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    resolution: Annotated[str, typer.Option(help="Grid points along each axis, as in 32 or 60x100.")],
    data: Data = None,
    precision: Precision = None,
    transform: Transform = None,
) -> None:
    """Test a trained run at a resolution, its own or a higher one, in its own setting or another."""
    path = run / "spec.json"
    if not path.is_file():
        raise MpnoError(f"{run}: holds no spec.json; name the folder of a run, as in results/desk/runs/NAME")
    spec = build_spec(_specs(str(path))[0], where=str(path))

    from mpno.training import evaluate_run

    try:
        grid = parse_resolution(resolution)
    except ValueError as error:
        raise MpnoError(f"--resolution {resolution}: {error}") from None
    if isinstance(grid, str):
        # A grid as train prints it: 16x32 on the sphere is resolution 16.
        first = parse_resolution(grid.split("x")[0])
        grid = first if shown(first, spec.axes, name=spec.data.name) == grid else grid
    setting: dict[str, Any] = {"precision": precision, "transform": transform}
    found = evaluate_run(run, data=data or _default_data(spec), resolution=grid, **setting)
    print(json.dumps(found))
    if found.get("advice"):
        print("mpno:", found["advice"], file=sys.stderr)


@app.command(short_help="Apply a trained run to inputs of your own.")
def predict(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    file: Annotated[Path, typer.Argument(metavar="IN", help="Fields in h5, npy, npz, pt or mat; a store of bodies.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The HDF5 file to write.")],
    input_: Annotated[str | None, typer.Option("--input", help="The array of IN; of bodies train or test.")] = None,
    layout: Annotated[str | None, typer.Option(help='The axes, as in "n y x c"; else samples, channels, grid.')] = None,
    precision: Precision = None,
    transform: Transform = None,
) -> None:
    """Apply a trained run to inputs of your own; the outputs are in the data's own units."""
    from mpno.training import predict_run

    setting: dict[str, Any] = {"precision": precision, "transform": transform}
    used = predict_run(run, file, out, key=input_, layout=layout, **setting)
    print(f"{out}: y by {used.run.id} in {used.setting.label}, {used.spec.transform} ({used.evidence})")


@app.command(short_help="Say how large a model is, and its memory per setting.")
def describe(
    run: Annotated[Path | None, typer.Argument(help="The folder of a run; without one, what train would take.")] = None,
    spec: Spec = None,
    dataset: Dataset = None,
    model: Model = None,
    transform: Transform = None,
    set_: Sets = None,
    item: Recipe = None,
    scale: ScaleName = "desk",
) -> None:
    """Say how large a model is and what memory a training step takes in each precision setting."""
    by_hand = {"data.name": dataset, "model.name": model, "transform": transform}
    if run and (spec or set_ or item or any(by_hand.values())):
        raise MpnoError("describe: RUN is the whole run; leave out the options")
    if run:
        from mpno.models.saving import read_header

        header = read_header(run)
        if "run" not in header.more:
            raise MpnoError(f"{run}: holds a model without its run; name the folder of a run, or give --spec")
        wanted = build_spec(header.more["run"], where=str(run))
        channels = header.in_channels, header.out_channels, header.latent_channels
    else:
        wanted = _run("describe", spec, item, scale, by_hand, set_)
        channels = cli_data.channels(wanted.data)
    data = _data_file(wanted)

    from mpno.measurement import describe as described

    found = described(wanted, *channels, data=data if data.is_file() else None)
    print(found)
    if wanted.data.name in BODIES and found.points is None:
        print(f"  make it first: {cli_data.make_command(wanted.data, data)}")


@app.command()
def collect(
    item: Annotated[str, typer.Option(help="The item as JSON, or the path of a JSON file.")],
    root: Annotated[Path, typer.Option(help="Where runs, times and predictions lie, as in results/desk.")],
    reference: Annotated[Path, typer.Option(help="The paper's values.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
) -> None:
    """Turn the records of an item into tidy tables."""
    from mpno.paper import collect_item

    with clock("collect", out):
        collect_item(_specs(item, "--item")[0], root=root, reference=reference, out=out)


@app.command()
def notebook(
    path: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="A notebook of notebooks/.")],
    drawn: Annotated[Path, typer.Option(help="Where the folders of tables and figures, or the pictures, go.")],
    out: Annotated[Path, typer.Option(help="The executed notebook; its HTML page goes beside it.")],
    data: Annotated[list[Path] | None, typer.Argument(help="The data files it draws, for the gallery.")] = None,
    tidy: Annotated[Path | None, typer.Option(help="The tidy tables it draws, for a table or figure.")] = None,
) -> None:
    """Execute a notebook with papermill and keep it as ipynb and HTML."""
    from mpno.paper.execute import run_notebook

    if (tidy is None) == (not data):
        raise MpnoError(f"notebook {path}: give --tidy FOLDER for a table or figure, or data files for the gallery")
    draws: dict[str, Any] = {"tidy": str(tidy)} if tidy else {"data": [str(file) for file in data or []]}
    with clock("draw", out):
        run_notebook(path, parameters={**draws, "out": str(drawn)}, out=out)


@app.command(short_help="Check what must hold of all records.")
def records(
    contexts: Annotated[list[Path], typer.Argument(help="The context.json of each item.")],
    root: Annotated[Path, typer.Option(help="Where the runs lie, as in results/desk.")],
    out: Annotated[Path, typer.Option(help="The file that says how many hold.")],
) -> None:
    """Check every record behind the items: finite or diverged, seeds complete, no run twice, every item drawn."""
    from mpno.paper.invariants import check_records

    print(f"{check_records(contexts, root=root, out=out)} runs hold")


@app.command(short_help="Compare a run's tables with the published ones.")
def check(
    tidy: Annotated[Path, typer.Option(help="The tidy tables of a run.")] = Path("results/desk/tidy"),
    published: Annotated[Path, typer.Option(help="Those to compare with.")] = PUBLISHED,
) -> None:
    """Compare a run's tidy tables with those the project ships, cell by cell; exit status 1 where one is outside."""
    from mpno.paper.published import compare

    found = compare(tidy, published)
    print(found)
    if found.outside:
        sys.exit(1)


@app.command(short_help="Keep a run's tables as the published ones.")
def publish(
    tidy: Annotated[Path, typer.Option(help="The tidy tables of a run.")] = Path("results/desk/tidy"),
    out: Annotated[Path, typer.Option(help="Where they go.")] = PUBLISHED,
) -> None:
    """Keep a run's tidy tables as those that the project ships."""
    from mpno.paper.published import publish as keep

    print(f"{keep(tidy, out)} items into {out}")


@app.command()
def plan(
    scale: Annotated[str | None, typer.Option("--scale", help="smoke, desk, gpu or paper.")] = None,
    set_: Sets = None,
    items: Annotated[str | None, typer.Option(help="Tables and figures, separated by spaces.")] = None,
    write_schemas: Annotated[bool, typer.Option("--write-schemas", help="Write workflow/schemas and stop.")] = False,
) -> None:
    """Say what config.yaml amounts to: runs, shared runs, time, disk."""
    from mpno import plan as planning

    if write_schemas:
        for path in planning.write_schemas(Path("workflow/schemas")):
            print(path)
        return
    given: dict[str, Any] = {"scale": scale, "set": set_, "items": items}
    overrides = {key: value for key, value in given.items() if value is not None}
    print(planning.load_plan(overrides, root=Path.cwd(), look=cli_data.look).describe())


def _check_folder(option: str, folder: Path) -> None:
    """Refuse, before hours of training, a folder that cannot be made."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise MpnoError(f"{option} {folder}: {place} is no folder that can be written to; choose another")


def _provenance(stage: str, changed: Sequence[str] = ()) -> dict[str, Any]:
    return {**cli_measure.provenance(stage), "changed": list(changed)}


def _specs(text: str, option: str = "--spec") -> list[dict[str, Any]]:
    from mpno.plan import load_specs

    return load_specs(text, option)


def _run(
    command: str, spec: str | None, item: str | None, scale: str, by_hand: dict[str, str | None], set_: list[str] | None
) -> RunSpec:
    """The run of --spec, or else of what the user has said by hand."""
    given = {key: value for key, value in by_hand.items() if value is not None}
    if spec is None:
        return _hand_spec(item, scale, given, set_ or [])
    if given or set_:
        options = ", ".join(f"--{key.removesuffix('.name').replace('data', 'dataset')}" for key in by_hand)
        raise MpnoError(f"{command}: --spec is the whole run; leave out --set, {options}")
    return build_spec(_specs(spec)[0], where="--spec")


def _hand_spec(item: str | None, scale: str, given: dict[str, Any], changes: list[str]) -> RunSpec:
    from mpno.plan import hand_spec, load_experiments

    experiments = load_experiments(Path("workflow/experiments"))
    return hand_spec(experiments, item, scale, given, changes, look=cli_data.look, say=print)


def _default_data(spec: RunSpec) -> Path:
    """The data file of a run by hand: the workflow's, made where it is missing."""
    path = _data_file(spec)
    if not path.is_file():
        cli_data.make_data(spec.data, path)
    return path


def _data_file(spec: RunSpec) -> Path:
    return spec.data.file(Path("results", spec.scale))
