"""What to cite: the paper and this software as CITATION.cff has them, every data set as its files say it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from mpno import cli, cli_cite
from mpno.datasets import darcy, fetch
from mpno.datasets.credits import credits_of
from mpno.datasets.registry import RECORDS
from mpno.specs import MpnoError
from mpno.specs.sets import SETS

ROOT = Path(__file__).resolve().parents[2]
ENTRY = re.compile(r"^@(\w+)\{([\w-]+),\n((?:  \w+ += \{.*\},?\n)+)\}$", re.MULTILINE)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["cite", *arguments])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_all_of_it_is_one_bibtex_file(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys)
    entries = {key: fields for _, key, fields in ENTRY.findall(text)}
    assert {"mpno", "darcy-zenodo", "darcy-wheel", "shallow-water-solved", "ahmed-solved"} <= set(entries)
    assert len(entries) == 2 + sum(len(credits_of(name)) for name in SETS)
    # What is no entry is a comment, and braces pair up.
    assert all(line.startswith("% ") or not line for line in ENTRY.sub("", text).splitlines())
    assert all(fields.count("{") == fields.count("}") for fields in entries.values())


def test_paper_and_software_are_those_of_the_citation_file(capsys: pytest.CaptureFixture[str]) -> None:
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    paper = cff["preferred-citation"]
    fields = dict(re.findall(r"^  (\w+) += \{(.*)\},?$", said(capsys, "paper"), flags=re.MULTILINE))
    assert fields["title"] == paper["title"] and fields["year"] == str(paper["year"])
    assert fields["author"].split(" and ")[-1] == "Anandkumar, Anima" and fields["author"].count(" and ") == 7
    assert fields["url"] == paper["url"] and "2307.15034" in fields["note"]
    software = said(capsys, "software")
    assert f"{{{cff['title']}}}" in software and f"{{{cff['version']}}}" in software and cff["license"] in software


def test_a_change_of_the_citation_file_is_a_change_of_what_is_cited(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    changed = (ROOT / "CITATION.cff").read_text().replace("Tu\n", "Tiu\n").replace("version: 0.1.0", "version: 7.8.9")
    (tmp_path / "CITATION.cff").write_text(changed)
    monkeypatch.setattr(cli_cite, "CITATION", tmp_path / "CITATION.cff")
    assert "Tiu, Renbo" in said(capsys, "paper") and "7.8.9" in said(capsys, "software")
    (tmp_path / "CITATION.cff").unlink()
    with pytest.raises(MpnoError, match=r"CITATION\.cff: not beside src; run from a checkout"):
        cli_cite.cite("paper")


def test_a_data_set_comes_with_every_source_and_its_licence(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "darcy")
    for part in (RECORDS["darcy"].citation, fetch.CITATION, darcy.CITATION, RECORDS["darcy"].licence, "Licence: MIT"):
        assert part in text
    assert "Navier" not in text and text.count("\n@misc{") == 3
    assert "CC-BY-4.0" in said(capsys, "navier-stokes")
    for bodies in ("car", "ahmed"):
        assert "potential flow, stand-in data, solved by mpno" in said(capsys, bodies)
