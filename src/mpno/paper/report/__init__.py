"""The report: one page that says, claim by claim and item by item, what was found, and the same for sharing."""

from mpno.paper.report.page import write_report
from mpno.paper.report.share import share

__all__ = ["share", "write_report"]
