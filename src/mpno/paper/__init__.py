"""Run records to tidy tables, statistics, tables, figures and the report page."""

from mpno.paper.figure import draw_curves, save_figure
from mpno.paper.models_table import format_models, models_table
from mpno.paper.records import ItemData, collect_item, load_item
from mpno.paper.settings_table import format_settings, settings_table
from mpno.paper.statistics import Change, paired_change, verdict
from mpno.paper.table import build_table, save_table, table_notes

__all__ = [
    "Change",
    "ItemData",
    "build_table",
    "collect_item",
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
