"""What the repository says about itself: its own words only, citations that agree, small modules, empty notebooks."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from .paths import ROOT, kept_files, load_script

# In pieces, so that this file passes its own test.
FOREIGN = {
    "a path of somebody's machine": "(?<![\\w.])/" + "work(?![\\w-])",
    "a folder outside the repository": r"(?<!torch)\.lib" + r"rary\b|\.\./sha" + "red",
    "a package index's address": "py" + r"pi\.org|python" + r"hosted\.org",
    "a tracker's number": r"(?i)\bissue" + r" #?\d",
    "a word about how it was written": r"(?i)(?<!scope=.)\bses" + r"sions?\b",
}


def foreign(text: str) -> list[str]:
    return [f"{what}: {found[0]!r}" for what, pattern in FOREIGN.items() if (found := re.search(pattern, text))]


def test_kept_files_speak_of_the_project_alone() -> None:
    found: list[str] = []
    for file in kept_files():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{file.relative_to(ROOT)}: {line}" for line in foreign(text)]
    assert found == []


@pytest.mark.parametrize(
    "text",
    ["see /wor" + "k/main", "in .lib" + "rary", "../sha" + "red", "py" + "pi.org", "Issue" + " 2", "this ses" + "sion"],
)
def test_foreign_words_are_seen(text: str) -> None:
    assert len(foreign(text)) == 1
    assert foreign('rules in workflow/rules, scope="ses' + 'sion", an issue with overflow') == []


def citation() -> dict:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_citations_agree_with_the_package() -> None:
    import mpno

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    zenodo = json.loads((ROOT / ".zenodo.json").read_text())
    cff = citation()
    assert cff["version"] == zenodo["version"] == project["version"] == mpno.__version__
    assert cff["title"] == zenodo["title"]
    assert cff["license"] == zenodo["license"] == project["license"]
    assert [author["name"] for author in cff["authors"]] == [creator["name"] for creator in zenodo["creators"]]
    assert set(cff) >= {"cff-version", "message", "title", "authors"}  # what the format asks for
    assert zenodo["upload_type"] == cff["type"] == "software"


def test_the_paper_is_the_preferred_citation() -> None:
    paper = citation()["preferred-citation"]
    assert paper["title"] == "Guaranteed Approximation Bounds for Mixed-Precision Neural Operators"
    assert [author["family-names"] for author in paper["authors"]] == (
        ["Tu", "White", "Kossaifi", "Bonev", "Kovachki", "Pekhimenko", "Azizzadenesheli", "Anandkumar"]
    )
    assert paper["year"] == 2024 and paper["type"] == "conference-paper"
    assert "2307.15034" in paper["url"]
    related = json.loads((ROOT / ".zenodo.json").read_text())["related_identifiers"]
    assert [entry["identifier"] for entry in related] == ["arXiv:2307.15034"]


def test_the_changelog_knows_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"^## \[{re.escape(version)}\]", text, re.MULTILINE)


NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
check = load_script("notebooks")


def test_notebooks_hold_no_outputs() -> None:
    assert NOTEBOOKS, "there is no notebook to check"
    assert [line for notebook in NOTEBOOKS for line in check.findings(notebook)] == []


def test_a_notebook_with_an_output_is_seen(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell("1 + 1", outputs=[nbformat.v4.new_output("stream", text="2")])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    assert check.main([str(tmp_path)]) == 1


def test_modules_fit_one_reading() -> None:
    long = {path.name: lines for path in (ROOT / "src").rglob("*.py") if (lines := path.read_text().count("\n")) > 400}
    assert long == {}


def test_no_module_imports_the_peer_not_even_inside_a_function() -> None:
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] in ("neuralop", "tltorch")]
    assert found == []
