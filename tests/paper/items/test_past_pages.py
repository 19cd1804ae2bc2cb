"""Every row of the tables in docs/past-*.md stands in the item's published table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mpno.paper import load_item
from mpno.paper.items import past_fp8, past_saved

ROOT = Path(__file__).resolve().parents[3]


def rows(page: str) -> list[dict[str, str]]:
    """Of all tables, each row by its heading."""
    found: list[dict[str, str]] = []
    for table in re.findall(r"(?:^\|.*\n)+", page, flags=re.MULTILINE):
        cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.splitlines()]
        found += [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]
    return found


@pytest.mark.parametrize(("name", "module"), [("past-fp8", past_fp8), ("past-saved", past_saved)])
def test_the_page_quotes_the_published_table(name: str, module: object) -> None:
    shown = module.table(load_item(ROOT / "results" / "published" / "tidy" / name)).shown  # type: ignore[attr-defined]
    published = [{key: str(value) for key, value in row.items()} for row in shown.to_dict("records")]
    quoted = rows((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))
    assert len(quoted) >= 8
    for row in quoted:
        assert any(row.items() <= known.items() for known in published), row
