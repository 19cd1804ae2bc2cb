"""What is meant for others: nothing in it runs, and nothing in it tells of this machine."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbconvert import HTMLExporter

from mpno.paper import draw, load_item
from mpno.paper.drawing import Drawn, Table
from mpno.paper.execute import _for_others
from mpno.paper.report import write_report

EVIL = "<script>alert(1)</script>\" onload='x' & <img src=x onerror=y>"


def test_a_notebook_shows_what_came_from_data_as_text() -> None:
    shown = pd.DataFrame({EVIL: [EVIL]})
    drawn = Drawn(Table(shown, shown, [EVIL]), None)
    table: Any = drawn.shown
    outputs = [
        nbformat.v4.new_output("execute_result", {"text/markdown": "\n".join(f"- {note}" for note in drawn.notes)}),
        nbformat.v4.new_output("execute_result", {"text/html": table._repr_html_()}),
        nbformat.v4.new_output("stream", text=EVIL),
    ]
    cells = [nbformat.v4.new_code_cell(repr(EVIL), outputs=outputs)]
    text, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=cells))
    body = text[text.index("<body") :]
    assert "<script>alert" not in body and "<img src=x" not in body
    assert body.count("&lt;script&gt;alert(1)") >= 4


def test_an_executed_notebook_does_not_say_where_it_ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.chdir(tmp_path)
    here, places = tmp_path / "results", [str(tmp_path), sys.prefix, "/me/"]
    outputs = [
        nbformat.v4.new_output("stream", text=f"{here}/x.csv\n{tmp_path}/me/.config\n{sys.prefix}/a.py:3: UserWarning"),
        nbformat.v4.new_output("execute_result", {"text/plain": f"'{here}'", "image/png": "aGVyZQ=="}),
    ]  # fmt: skip
    parameters = {"tidy": f"{here}/tidy", "data": [f"{here}/a.h5"]}
    cell = nbformat.v4.new_code_cell(f"tidy = '{here}/tidy'", outputs=outputs)
    book = nbformat.v4.new_notebook(cells=[cell])
    book.metadata["papermill"] = {"input_path": "/a", "output_path": "/b", "parameters": parameters, "version": "2"}
    text = nbformat.writes(_for_others(book))
    assert not [place for place in places if place in text]
    assert '"input_path"' not in text and "tidy = 'results/tidy'" in text and "aGVyZQ==" in text


def test_tables_pages_and_the_report_tell_nothing_of_this_machine(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "s3cret-value")
    draw(load_item(toy), tmp_path)
    write_report([tmp_path / "drawn" / "toy.json"], out=tmp_path / "report" / "index.html", tidy=toy.parent)
    files = [path for folder in (toy, tmp_path) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 12
    secret = [b"s3cret-value", str(tmp_path).encode(), str(toy.parent).encode(), f"/{getpass.getuser()}/".encode()]
    found = [(path.name, word) for path in files for word in secret if word in path.read_bytes()]
    assert found == []
