"""Run records to tidy tables, statistics, tables, figures and the report page."""

from mpno.paper.figure import draw_curves, save_figure
from mpno.paper.records import ItemData, collect_item, load_item
from mpno.paper.statistics import Change, paired_change, verdict
from mpno.paper.table import format_settings, save_table, settings_table, table_notes

__all__ = [
    "Change",
    "ItemData",
    "collect_item",
    "draw_curves",
    "format_settings",
    "load_item",
    "paired_change",
    "save_figure",
    "save_table",
    "settings_table",
    "table_notes",
    "verdict",
]
