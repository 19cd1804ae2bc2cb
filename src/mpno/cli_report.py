"""`python -m mpno report` and `share`: the page that shows all results, and the file to send to others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mpno.cli_clock import clock
from mpno.specs import MpnoError


def report(
    drawn: Annotated[list[Path], typer.Argument(help="What was drawn of each item, as in results/desk/drawn/*.json.")],
    out: Annotated[Path, typer.Option(help="The HTML page to write, as in results/desk/report/index.html.")],
    tidy: Annotated[Path | None, typer.Option(help="Where the items' tidy tables lie; else beside.")] = None,
    claims: Annotated[Path | None, typer.Option(help="The judged claims, a claims.json.")] = None,
    times: Annotated[Path | None, typer.Option(help="What the jobs said of their times, a times.jsonl.")] = None,
    jobs: Annotated[str, typer.Option(help="How many jobs each rule has, as JSON.")] = "{}",
) -> None:
    """Write the page that judges every claim, shows every table and figure and leads to the records behind them."""
    from mpno.paper.report import write_report

    try:
        counts = {str(rule): int(count) for rule, count in json.loads(jobs).items()}
    except (ValueError, AttributeError, TypeError):
        raise MpnoError(f'--jobs {jobs}: not the number of jobs by rule; give JSON as in {{"train": 2}}') from None
    with clock("report", out):
        write_report(drawn, out=out, tidy=tidy or out.parent.parent / "tidy", claims=claims, times=times, jobs=counts)


def share(
    page: Annotated[Path, typer.Argument(help="The report, as in results/desk/report/index.html.")],
    out: Annotated[Path, typer.Option(help="The zip to write.")],
) -> None:
    """Pack the report with its tables, figures, notebooks and claims into one zip."""
    from mpno.paper.report import share as pack

    print(f"{out}: {pack(page, out)} files")
