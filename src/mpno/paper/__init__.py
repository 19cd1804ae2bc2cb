"""Run records to tidy tables, statistics, tables, figures and the report page."""

from mpno.paper.drawing import Drawing, Drawn, Table, draw
from mpno.paper.figure import draw_curves
from mpno.paper.files import save_figure, save_table
from mpno.paper.models_table import format_models, models_table
from mpno.paper.notes import table_notes
from mpno.paper.records import ItemData, ItemTables, collect_item, load_item
from mpno.paper.settings_table import format_settings, settings_table
from mpno.paper.statistics import Change, paired_change, verdict

__all__ = [
    "Change",
    "Drawing",
    "Drawn",
    "ItemData",
    "ItemTables",
    "Table",
    "collect_item",
    "draw",
    "draw_curves",
    "format_models",
    "format_settings",
    "load_item",
    "models_table",
    "paired_change",
    "save_figure",
    "save_table",
    "settings_table",
    "table_notes",
    "verdict",
]
