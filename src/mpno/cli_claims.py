"""`python -m mpno claims`: the paper's claims, judged by the records of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpno.cli_clock import clock


def claims(
    contexts: Annotated[list[Path], typer.Argument(help="The context.json of each item, of one scale.")],
    out: Annotated[Path, typer.Option(help="The folder for claims.json, claims.csv, claims.md and claims.tex.")],
    file: Annotated[Path, typer.Option("--claims", help="The file of claims.")] = Path("workflow/claims.yaml"),
    source: Annotated[
        str | None, typer.Option(help="The digest of the code of trainings; runs of another are refused.")
    ] = None,
) -> None:
    """Judge every claim by the tidy tables, and write the verdicts."""
    from mpno.paper.claims import evaluate_claims, load_claims, write_claims
    from mpno.paper.claims.exports import summary

    with clock("claims", out):
        judged = evaluate_claims(load_claims(file), contexts, source=source)
        write_claims(judged, out)
    print(summary(judged))
