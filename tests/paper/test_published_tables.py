"""Every table can be made of the published numbers, and is fit to be written."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from mpno.paper import load_item, save_table

ROOT = Path(__file__).resolve().parents[2]
CONTEXTS = sorted((ROOT / "results" / "published" / "tidy").glob("*/context.json"))
ITEMS = [path.parent for path in CONTEXTS if "table" in json.loads(path.read_text())["draws"]]
PAGE = "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n%s\n\\end{document}\n"

LATEX = shutil.which("tectonic") or shutil.which("pdflatex")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.mark.parametrize("folder", ITEMS, ids=lambda folder: folder.name)
def test_a_table_of_published_numbers_is_written(folder: Path, tables: Path) -> None:
    item = load_item(folder)
    table = importlib.import_module(f"mpno.paper.items.{item.context['drawn_by']}").table(item)
    assert len(table.numbers) and len(table.shown) and table.notes
    save_table(folder.name, item.context["title"], table.numbers, table.shown, table.notes, tables)
    assert sorted(path.suffix for path in tables.glob(f"{folder.name}.*")) == [".csv", ".md", ".tex"]


@pytest.mark.skipif(LATEX is None, reason="neither tectonic nor pdflatex is here to compile the tables")
def test_every_table_that_was_written_compiles(tables: Path) -> None:
    assert LATEX is not None
    inputs = "\n\\clearpage\n".join(f"\\input{{{path}}}" for path in sorted(tables.glob("*.tex")))
    document = tables / "all.tex"
    document.write_text(PAGE % inputs)
    options = ["-interaction=nonstopmode", "-halt-on-error"] if LATEX.endswith("pdflatex") else []
    done = subprocess.run([LATEX, *options, document.name], cwd=tables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tables / "all.pdf").stat().st_size > 10_000
