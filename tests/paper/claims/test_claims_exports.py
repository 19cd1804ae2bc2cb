"""The judged claims as files, and the command that writes them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from claims_spoilt import FILE, PUBLISHED, contexts

from mpno.cli import main
from mpno.paper.claims import write_claims

LATEX = shutil.which("tectonic") or shutil.which("pdflatex")
DOCUMENT = r"""\documentclass{article}
\usepackage[a4paper, margin=1cm]{geometry}
\usepackage{booktabs, longtable}
\begin{document}
\input{claims.tex}
\end{document}
"""


@pytest.fixture(scope="module")
def folder(judged: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("claims")
    write_claims(judged, out)
    return out


def test_json_is_what_was_judged(judged: dict[str, Any], folder: Path) -> None:
    assert json.loads((folder / "claims.json").read_text()) == judged


def test_csv_has_a_row_for_every_reading(judged: dict[str, Any], folder: Path) -> None:
    rows = pd.read_csv(folder / "claims.csv")
    assert len(rows) == sum(len(claim["readings"]) for claim in judged["claims"])
    first = judged["claims"][0]["readings"][0]
    row = rows.to_dict("records")[0]
    assert row["effect"] == pytest.approx(first["effect"]) and row["reading_verdict"] == first["verdict"]
    assert set(rows["verdict"]) == set(judged["counts"])


def test_md_shows_every_claim_with_verdict_and_words(judged: dict[str, Any], folder: Path) -> None:
    text = (folder / "claims.md").read_text()
    for claim in judged["claims"]:
        line = next(line for line in text.splitlines() if line.startswith(f"| {claim['id']}: "))
        assert f"**{claim['verdict']}**" in line and claim["threshold"]["words"] in line
    assert f"{judged['decided']} of 62 claims decided at scale desk" in text and judged["known"] in text


def test_tex_is_plain_and_every_row_has_its_cells(folder: Path) -> None:
    text = (folder / "claims.tex").read_text()
    assert text.isascii()
    rows = [line for line in text.splitlines() if line.startswith("C") and line.endswith(r"\\")]
    assert len(rows) == 62 and all(row.count(" & ") == 3 for row in rows)


@pytest.mark.skipif(LATEX is None, reason="neither tectonic nor pdflatex is here to compile claims.tex")
def test_tex_compiles(folder: Path) -> None:
    (folder / "page.tex").write_text(DOCUMENT)
    done = subprocess.run([str(LATEX), "page.tex"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and (folder / "page.pdf").is_file(), done.stdout


def test_later_changes_are_shown(judged: dict[str, Any], tmp_path: Path) -> None:
    changes = [{"date": "2027-01-01", "claim": "C28", "what": "10 % for 5 %, as a reader asked"}]
    write_claims({**judged, "changes": changes}, tmp_path)
    assert "2027-01-01: C28, 10 % for 5 %, as a reader asked" in (tmp_path / "claims.md").read_text()


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as status:
        main(["claims", *arguments])
    return int(status.value.code or 0)


def test_the_command_writes_all_four_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(path) for path in contexts(PUBLISHED)]
    assert command(*given, "--claims", str(FILE), "--out", str(tmp_path / "out")) == 0
    assert "of 62 claims decided at scale desk" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"claims.{ending}" for ending in ("json", "csv", "md", "tex")}


def test_a_mistake_is_one_line_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = str(PUBLISHED / "memory" / "context.json")
    assert command(one, "--claims", str(FILE), "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert error.startswith("mpno: claim C01: item predicted-memory: no records") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert command(one, "--claims", str(tmp_path / "none.yaml"), "--out", str(tmp_path / "out")) == 2
    assert "none.yaml: cannot be read" in capsys.readouterr().err
