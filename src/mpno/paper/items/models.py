"""What every model of a data set has learned in each precision setting."""

from __future__ import annotations

from mpno.paper.drawing import Table
from mpno.paper.models_table import format_models, models_table
from mpno.paper.notes import table_notes
from mpno.paper.records import ItemTables


def table(item: ItemTables) -> Table:
    numbers = models_table(item.only)
    return Table(numbers, format_models(numbers), table_notes(item.only, models=True), list(numbers["role"]))
