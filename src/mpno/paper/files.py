"""Tables and figures as files: csv from the numbers, md and tex as read, each with its notes; pdf, png and svg."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mpno.paper.records import NONE
from mpno.paper.style import look
from mpno.specs import MpnoError
from mpno.specs.files import replacing, write_text

ENDINGS = ("pdf", "png", "svg")
# No dates and no versions: the same numbers give the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "mpno"},
    "png": {"Software": "mpno"},
    "svg": {"Date": None, "Creator": "mpno"},
}


def save_table(
    name: str, title: str, numbers: pd.DataFrame, shown: pd.DataFrame, notes: list[str], out: str | Path
) -> None:
    """Write csv (numbers), md and tex (as read) into the folder `out`, each with the notes.

    Raises:
        MpnoError: a number is infinite, or a cell as read says nan or inf; nothing is written.
    """
    _check_finite(name, numbers, shown)
    folder = Path(out)
    head = "".join(f"# {line}\n" for line in [title, *notes])
    write_text(folder / f"{name}.csv", head + numbers.to_csv(index=False))
    write_text(folder / f"{name}.md", _markdown(title, shown, notes))
    write_text(folder / f"{name}.tex", _latex(name, title, shown, notes))


def _check_finite(name: str, numbers: pd.DataFrame, shown: pd.DataFrame) -> None:
    for frame, looks in ((numbers, _is_infinite), (shown, _reads_not_finite)):
        for column in frame:
            if wrong := [cell for cell in frame[column] if looks(cell)]:
                raise MpnoError(
                    f"table {name}: column {column} has {wrong[0]!r} for a number; leave the number out and say in "
                    "words what became of it, as in 'diverged at epoch 4'"
                )


def _is_infinite(cell: object) -> bool:
    return isinstance(cell, float) and math.isinf(cell)


def _reads_not_finite(cell: object) -> bool:
    return re.search(r"(?<![a-z])(nan|inf)(?![a-z])", str(cell), re.IGNORECASE) is not None


def save_figure(figure: Figure, name: str, out: str | Path) -> list[Path]:
    """Write pdf, png and svg into the folder `out`, with fixed metadata."""
    paths = [Path(out) / f"{name}.{ending}" for ending in ENDINGS]
    with look():
        for path, ending in zip(paths, ENDINGS, strict=True):
            with replacing(path) as temporary:
                figure.savefig(temporary, format=ending, dpi=300, metadata=_METADATA[ending])
    return paths


def _markdown(title: str, shown: pd.DataFrame, notes: list[str]) -> str:
    table = shown.to_markdown(index=False, disable_numparse=True)
    return f"**{title}**\n\n{table}\n\n" + "\n".join(f"- {note}" for note in notes) + "\n"


def _latex(name: str, title: str, shown: pd.DataFrame, notes: list[str]) -> str:
    body = (
        shown.rename(columns=escape)
        .map(escape)
        .to_latex(index=False, escape=False, column_format="l" * len(shown.columns))
    )
    caption = escape(f"{title}. " + " ".join(f"{note[0].upper()}{note[1:]}." for note in notes))
    head = "".join(f"% {line}\n" for line in [title, *notes]) + "% needs the packages booktabs and graphicx\n"
    return (
        f"{head}\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n\\label{{tab:{name}}}\n"
        f"\\resizebox{{\\textwidth}}{{!}}{{%\n{body.rstrip()}}}\n\\end{{table}}\n"
    )


def escape(text: str) -> str:
    """Make `text` safe in LaTeX."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        NONE: "--",
    }
    special |= {char: f"\\{char}" for char in "&%$#_{}"}
    return "".join(special.get(char, char) for char in text)
