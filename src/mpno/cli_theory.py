"""`python -m mpno theory`: what theory says of a data set, a grid and a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mpno import cli_data
from mpno.cli_clock import clock
from mpno.specs import MpnoError, PrecisionSetting, RunSpec, build_spec
from mpno.specs.files import write_text
from mpno.specs.grid import grid_of, parse_resolution, resolution_of
from mpno.specs.names import MODELS

app = typer.Typer(
    help="What theory says of a data set, a grid and a model.", no_args_is_help=True, rich_markup_mode=None
)

FEW = 8
"""Training samples of a set that is solved for advice alone: the normalisation rests on them."""


@app.callback()
def group() -> None:
    """Keep `theory` a group, however many commands it has."""


@app.command(short_help="Say which number formats are safe for your data.")
def advise(
    dataset: Annotated[str | None, typer.Option(help="A set of the paper, or the name of an imported one.")] = None,
    resolution: Annotated[str | None, typer.Option(help="Grid points along each axis, as in 128 or 60x100.")] = None,
    model: Annotated[str | None, typer.Option(help=f"{', '.join(MODELS)}; else that of the recipe.")] = None,
    transform: Annotated[str | None, typer.Option(help="fft or matmul; of spherical models sht or matmul.")] = None,
    run: Annotated[Path | None, typer.Option(help="A trained run's folder; else the model is untrained.")] = None,
    format_: Annotated[list[str] | None, typer.Option("--format", help="A number format; may be repeated.")] = None,
    precision: Annotated[str, typer.Option(help="Where: mixed, half or compact, and a stabiliser.")] = "mixed",
    fraction: Annotated[float, typer.Option(help="Share of the discretization error to stay below.")] = 0.3,
    tolerance: Annotated[float, typer.Option(help="Relative error that is allowed in any case.")] = 1e-3,
    samples: Annotated[int, typer.Option(help="Test samples to look at.")] = 4,
    finer: Annotated[bool, typer.Option("--finer", help="Take the samples on a grid twice as fine too.")] = False,
    data: Annotated[
        Path | None, typer.Option("--data", help="The data file; else the workflow's, made if need be.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A change, as in model.width=32; repeatable.")] = None,
    scale: Annotated[str, typer.Option("--scale", help="smoke, desk, gpu or paper: whose recipe.")] = "desk",
    out: Annotated[Path | None, typer.Option(help="A CSV file for all numbers.")] = None,
) -> None:
    """Say, layer by layer, which number formats stay below the discretization error of your data, and fit its range."""
    from mpno.theory.advice import advise as ask
    from mpno.theory.advice_inputs import after_training, before_training
    from mpno.theory.advice_layers import COST
    from mpno.theory.advice_saved import advise_saved

    grid = _resolution(resolution)
    given = {"data.name": None if dataset is None else dataset.replace("_", "-"), "model.name": model}
    by_hand = {**given, "transform": transform}
    if run is not None:
        if set_ or any(by_hand.values()):
            raise MpnoError(
                "theory advise: --run is model and data; leave out --dataset, --model, --transform and --set"
            )
        spec = _run_spec(run)
        wanted = spec if grid is None and not finer else _with_grid(spec, grid, samples, finer)
        asked = after_training(run, data or _file(wanted), resolution=grid, samples=samples)
    else:
        wanted = _spec({key: value for key, value in by_hand.items() if value}, set_ or [], scale, grid, samples, finer)
        asked = before_training(wanted, data or _file(wanted), samples=samples)
    with clock("theory", out or Path("advise")):
        found = ask(
            asked.model,
            asked.batch,
            formats=format_ or COST,
            setting=precision,
            fraction=fraction,
            tolerance=tolerance,
            finer=asked.finer,
        )
    print(f"{asked.what}, on {wanted.data.name} at {wanted.data.resolution}")
    print(found)
    setting = PrecisionSetting.of(precision, where="theory advise")
    if setting.saved:
        print()
        print(advise_saved(asked.model, asked.batch, setting, batch_size=wanted.training.batch_size, fraction=fraction))
    if out:
        write_text(out, found.frame().to_csv(index=False))


def _resolution(text: str | None) -> int | str | None:
    try:
        return None if text is None else parse_resolution(text)
    except ValueError as error:
        raise MpnoError(f"--resolution {text}: {error}") from None


def _spec(
    given: dict[str, Any], changes: list[str], scale: str, grid: int | str | None, samples: int, finer: bool
) -> RunSpec:
    """The recipe's run on the data set, with as few samples as advice needs where they would have to be solved here."""
    from mpno.plan import hand_spec, load_experiments

    experiments = load_experiments(Path("workflow/experiments"))
    if grid is not None:
        given = {**given, "data.resolution": grid, "data.test_resolutions": [grid]}
        if not any(change.startswith(("data.source=", "data=")) for change in changes):
            given["data.source"] = "auto"
    spec = hand_spec(experiments, None, scale, given, changes, look=cli_data.look, say=print)
    if not finer and (grid is None and spec.data.file(Path("results", spec.scale)).is_file()):
        return spec
    return _with_grid(spec, grid, samples, finer)


def _with_grid(spec: RunSpec, grid: int | str | None, samples: int, finer: bool) -> RunSpec:
    """The run with its tests on one grid, or on it and the one twice as fine, and few samples if solved here."""
    data = spec.data
    home = data.resolution if grid is None else grid
    tests = [home, resolution_of(2 * n for n in grid_of(home))] if isinstance(home, str) else [home, 2 * home]
    values: dict[str, Any] = {**data.model_dump(), "resolution": home, "test_resolutions": tests if finer else [home]}
    if data.source == "generate":
        values |= {"n_train": min(data.n_train, FEW), "n_test": min(data.n_test, samples), "n_test_finer": None}
    return build_spec({**spec.model_dump(), "data": values}, where="theory advise")


def _run_spec(run: Path) -> RunSpec:
    from mpno.models.saving import read_header

    header = read_header(run)
    if "run" not in header.more:
        raise MpnoError(f"{run}: holds a model without its run; name the folder of a run, as in results/desk/runs/NAME")
    return build_spec(header.more["run"], where=str(run))


def _file(spec: RunSpec) -> Path:
    """The data file: the workflow's, made where it is missing."""
    path = spec.data.file(Path("results", spec.scale))
    if not path.is_file():
        cli_data.make_data(spec.data, path)
    return path
