"""An item's table and figure, from its tidy tables to files and to what the report shows of it."""

from __future__ import annotations

import html
import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mpno.paper.files import save_figure, save_table
from mpno.paper.records import ItemTables
from mpno.specs import MpnoError
from mpno.specs.files import write_text


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        numbers: in full precision, for the csv.
        shown: the cells as a reader sees them.
        notes: what a copied table must keep: scale, data, the evidence class of each column, what was fixed beforehand.
        roles: of each row; a rule is drawn where it changes.
        beside: the paper's values beside ours, where they do not stand in the table itself.
    """

    numbers: pd.DataFrame
    shown: pd.DataFrame
    notes: list[str]
    roles: list[str] | None = None
    beside: pd.DataFrame | None = None


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes:
        figure: as matplotlib has it.
        points: every number that it shows.
        caption: a sentence or two, with the evidence class and how it is marked.
        alt: what is to be seen, for those who do not see it.
    """

    figure: Figure
    points: pd.DataFrame
    caption: str
    alt: str


@dataclass(frozen=True)
class Drawn:
    """What a notebook shows of an item; None for what the item does not draw."""

    table: Table | None
    drawing: Drawing | None

    @property
    def notes(self) -> list[str]:
        """For Markdown, which would take what looks like a tag in a name or a change for one."""
        notes = self.table.notes if self.table else [self.drawing.caption] if self.drawing else []
        return [html.escape(note, quote=False) for note in notes]

    @property
    def shown(self) -> pd.DataFrame | None:
        return self.table.shown if self.table else None

    @property
    def figure(self) -> Figure | None:
        return self.drawing.figure if self.drawing else None


def draw(item: ItemTables, out: str | Path) -> Drawn:
    """Make the item's table and figure with its module, and write all their files below the folder `out`.

    Tables go to ``tables``, figures with their numbers to ``figures``, what the report shows to ``drawn``.

    Raises:
        MpnoError: the item has no module, or the module does not make what the item draws.
    """
    _show_figures()
    context, folder = item.context, Path(out)
    name, module = context["item"], f"mpno.paper.items.{context['drawn_by']}"
    try:
        makers = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise MpnoError(f"item {name}: there is no module {module}; write it, or name another in drawn_by") from None
    for kind in context["draws"]:
        if not hasattr(makers, kind):
            raise MpnoError(f"item {name}: draws a {kind}, {module} has no function {kind}; write it")
    table = makers.table(item) if "table" in context["draws"] else None
    drawing = makers.figure(item) if "figure" in context["draws"] else None
    changed = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    page: dict[str, Any] = {"context": context, "changed": changed}
    if table:
        notes = [*changed, *(note for note in table.notes if note not in changed)]
        save_table(name, context["title"], table.numbers, table.shown, notes, folder / "tables")
        page["table"] = {
            "columns": list(table.shown.columns),
            "rows": table.shown.to_numpy().tolist(),
            "roles": table.roles or [""] * len(table.shown),
            "notes": notes,
            "beside": table.beside.to_dict("split") if table.beside is not None else None,
        }
    if drawing:
        save_figure(drawing.figure, name, folder / "figures")
        head = "".join(f"# {line}\n" for line in [context["title"], *changed, drawing.caption])
        write_text(folder / "figures" / f"{name}.csv", head + drawing.points.to_csv(index=False))
        page["figure"] = {"caption": drawing.caption, "alt": drawing.alt}
    page["reference"] = item.reference.to_dict("records")
    write_text(folder / "drawn" / f"{name}.json", json.dumps(page, indent=1, default=_plain) + "\n")
    return Drawn(table, drawing)


def _show_figures() -> None:
    """Let a notebook show figures: IPython knows those of pyplot alone, and nothing here needs pyplot."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"png"}, dpi=200)


def _plain(value: Any) -> Any:
    """Numbers of numpy as JSON has them."""
    return value.item()
