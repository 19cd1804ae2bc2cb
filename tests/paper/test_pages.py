"""The report page and the notebooks that make the table and the figure."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from mpno.paper import draw, load_item, save_table
from mpno.paper.execute import run_notebook
from mpno.paper.report import write_report
from mpno.specs import MpnoError

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_a_change_is_visible(toy: Path, tmp_path: Path) -> None:
    item = load_item(toy)
    changed = dataclasses.replace(item, context=item.context | {"changes": ["optimizer.lr=2e-3"]})
    draw(changed, tmp_path)
    out = tmp_path / "report" / "index.html"
    write_report([tmp_path / "drawn" / "toy.json"], out=out, tidy=toy.parent)
    assert "changed: optimizer.lr=2e-3" in out.read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_thin_and_hold_no_outputs(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    # The talk-through asks questions; all others call what draws.
    assert sum(len(cell.source.splitlines()) for cell in code) < (50 if path.stem == "start_here" else 20)
    assert "What it does not show" in book.cells[-1].source


def test_a_notebook_draws_from_its_parameters(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A kernel of the same name in the user's home must not be taken for this environment's.
    home = tmp_path / "home"
    kernel = home / ".local" / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = ["/bin/false", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "x", "language": "python"}))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")  # as where the environment is not a virtual one
    monkeypatch.delenv("JUPYTER_DATA_DIR", raising=False)
    out = tmp_path / "notebooks" / "toy.ipynb"
    parameters = {"tidy": str(toy), "out": str(tmp_path)}
    run_notebook(ROOT / "notebooks" / "darcy-settings.ipynb", parameters=parameters, out=out)
    assert (tmp_path / "tables" / "toy.csv").is_file()
    page = out.with_suffix(".html").read_text()
    assert "equivalent within 5 %" in page
    pictures = [output.data["image/png"] for cell in nbformat.read(out, as_version=4).cells for output in
                cell.get("outputs", []) if "image/png" in output.get("data", {})]  # fmt: skip
    assert len(pictures) == 1 and pictures[0].strip() in page.replace("\n", ""), "the figure is shown"
    with pytest.raises(MpnoError, match="make item ITEM=nowhere"):
        parameters["tidy"] = str(tmp_path / "nowhere")
        run_notebook(ROOT / "notebooks" / "models-car.ipynb", parameters=parameters, out=tmp_path / "b.ipynb")
    assert not (tmp_path / "b.ipynb").exists()


def test_a_notebook_without_parameters_is_refused(tmp_path: Path) -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("tidy = 1")])
    nbformat.write(book, tmp_path / "x.ipynb")
    with pytest.raises(MpnoError, match="no cell tagged 'parameters'"):
        run_notebook(tmp_path / "x.ipynb", parameters={"tidy": "y"}, out=tmp_path / "y.ipynb")


@pytest.mark.parametrize(
    ("number", "cell"), [(math.inf, "1.0"), (-math.inf, "1.0"), (1.0, "nan"), (1.0, "-inf [nan, nan]"), (1.0, math.nan)]
)
def test_no_table_says_a_number_that_is_none(number: float, cell: str | float, tmp_path: Path) -> None:
    numbers = pd.DataFrame({"setting": ["full", "info"], "L2": [0.1, number]})
    shown = pd.DataFrame({"setting": ["full", "info"], "L2": ["0.1", cell]})
    with pytest.raises(MpnoError, match=r"table toy: column L2 has .*; leave the number out and say in words"):
        save_table("toy", "A toy", numbers, shown, [], tmp_path)
    assert list(tmp_path.iterdir()) == []
    save_table("toy", "A toy", numbers.head(1).assign(L2=math.nan), shown.head(1), [], tmp_path)
    assert (tmp_path / "toy.csv").read_text().endswith("full,\n"), "a number that is missing is an empty cell"
