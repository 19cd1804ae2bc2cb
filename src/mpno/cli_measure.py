"""`python -m mpno measure`: times, predicted memory, and what is asked of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mpno.cli_clock import clock
from mpno.specs import MpnoError, RunSpec, allowed, build_spec

CARD_SCALES = ("gpu", "paper")

app = typer.Typer(help="Measure times, predict memory, probe finished runs.", no_args_is_help=True)

Specs = Annotated[str, typer.Option("--spec", help="A list of specs as JSON, or the path of a JSON file.")]
Root = Annotated[Path, typer.Option(help="Where the folder of data files lies, as in results/desk.")]
Out = Annotated[Path, typer.Option(help="The JSON file to write.")]
PROBES = ("mpno.measurement.probes", "mpno.theory.probes")
"""Where a probe's kind is looked for: neither room knows of the other."""


@app.command(name="time")
def time_(spec: Specs, root: Root, out: Out) -> None:
    """Time one epoch of each run, interleaved. Run it with nothing else beside it."""
    from mpno.measurement import measure_arms

    with clock("time", out):
        measure_arms(_runs(spec), root=root, out=out, provenance=provenance("time"))


@app.command()
def memory(spec: Specs, root: Root, out: Out) -> None:
    """Predict the device memory of a training step of each run, from shapes and dtypes."""
    from mpno.measurement import predict_arms

    with clock("memory", out):
        predict_arms(_runs(spec), root=root, out=out, provenance=provenance("memory"))


@app.command()
def probe(
    ask: Annotated[str, typer.Option(help="The question as JSON: kind, settings, arms.")],
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
) -> None:
    """Ask finished runs, or shapes, what a table needs beyond the records."""
    from mpno.measurement.probes import answer

    with clock("probe", out):
        answer(ask, out=out, packages=PROBES)


@app.command()
def predict(
    scale: Annotated[str, typer.Option(help="gpu or paper: the scales that run on cards.")] = "paper",
    out: Annotated[Path | None, typer.Option(help="The CSV file; by default workflow/predicted/SCALE.csv.")] = None,
) -> None:
    """Predict memory and time of every training at a scale, for the jobs' requests. Takes minutes."""
    from mpno.measurement.predicted import predict_table
    from mpno.plan import load_plan

    if scale not in CARD_SCALES:
        raise MpnoError(f"--scale {scale!r}; {allowed(scale, CARD_SCALES)}")
    planned = load_plan({"scale": scale, "items": "all"}, root=Path.cwd())
    path = out or Path("workflow", "predicted", f"{scale}.csv")
    with clock("predict", path):
        count = predict_table(scale, planned.runs.values(), path)
    print(f"{path}: {count} trainings")


@app.command()
def plan(
    dataset: Annotated[str, typer.Option(help="As data list names it.")] = "navier-stokes",
    model: Annotated[str | None, typer.Option(help="fno, tfno, sfno, gino or unet; by default the recipe's.")] = None,
    setting: Annotated[str, typer.Option(help="A precision setting, as mixed.")] = "mixed",
    transform: Annotated[str | None, typer.Option(help="fft or matmul; by default the recipe's.")] = None,
    gpu: Annotated[str, typer.Option(help="v100, rtx3090ti, a100 or h100.")] = "v100",
    scale: Annotated[str, typer.Option(help="Whose recipe: smoke, desk, gpu or paper.")] = "paper",
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, as training.batch_size=16.")] = None,
) -> None:
    """Say what one training needs on a card, before it is queued."""
    from mpno.measurement.cards import CARDS
    from mpno.measurement.predicted import answer
    from mpno.plan import hand_spec, load_experiments

    if gpu not in CARDS:
        raise MpnoError(f"--gpu {gpu!r}; {allowed(gpu, CARDS)}")
    given = {"data.name": dataset.replace("_", "-"), "precision": setting}
    given |= {key: value for key, value in {"model.name": model, "transform": transform}.items() if value}
    experiments = load_experiments(Path("workflow/experiments"))
    print(answer(hand_spec(experiments, None, scale, given, set_ or [], say=print), CARDS[gpu]))


@app.command(name="cuda-check")
def cuda_check(
    out: Annotated[Path, typer.Option(help="The JSON file to write.")] = Path("results/cuda-check.json"),
    dry: Annotated[
        bool, typer.Option("--dry", help="Without a GPU: run on shapes, and decide what shapes can.")
    ] = False,
) -> None:
    """Verify on one GPU, in under eight minutes, what no CPU can. Exit status 1 where a check fails."""
    from mpno.measurement.cuda_check import cuda_check as check

    with clock("cuda-check", out):
        record = check(out, dry=dry, source_digest=provenance("memory")["source_digest"])
    print(out)
    if record.passed is False:
        raise typer.Exit(1)


def provenance(stage: str) -> dict[str, Any]:
    """What a record says of the code that made it."""
    from mpno.plan import room_digest

    return {"source_digest": room_digest(stage)}


def _runs(text: str) -> list[RunSpec]:
    from mpno.plan import load_specs

    return [build_spec(values, where="--spec") for values in load_specs(text)]
