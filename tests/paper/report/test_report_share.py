"""The zip to send to others."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from mpno.cli import main
from mpno.paper.report import share
from mpno.specs import MpnoError


def test_the_same_files_are_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    page = drawn / "report" / "index.html"
    count = share(page, tmp_path / "mpno-toy.zip")
    first = (tmp_path / "mpno-toy.zip").read_bytes()
    page.touch()
    share(page, tmp_path / "mpno-toy.zip")
    assert (tmp_path / "mpno-toy.zip").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "mpno-toy.zip") as archive:
        names = archive.namelist()
        assert archive.read("mpno-toy/report/index.html") == page.read_bytes()
    assert len(names) == count and names[0] == "mpno-toy/report/index.html"
    assert {f"mpno-toy/{name}" for name in ("claims/claims.json", "tables/toy.csv", "figures/toy.pdf")} <= set(names)


@pytest.mark.parametrize("told", ["{here}/x", "{home}/x"])
def test_what_tells_of_this_machine_is_not_packed(
    told: str, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path.parent / "somebody"))
    path = drawn / "tables" / "toy.md"
    path.write_text(path.read_text() + told.format(here=Path.cwd(), home=Path.home()))
    with pytest.raises(MpnoError, match=r"toy.md: says .*, which is this machine's"):
        share(drawn / "report" / "index.html", tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_without_a_report_there_is_nothing_to_share(tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match="there is no report to share; make it with `make reproduce`"):
        share(tmp_path / "report" / "index.html", tmp_path / "out.zip")


def test_a_user_packs_it_and_mistypes_the_jobs(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["share", str(drawn / "report" / "index.html"), "--out", str(tmp_path / "all.zip")])
    assert capsys.readouterr().out.endswith("all.zip: 9 files\n")
    for jobs in ("[1]", '{"train": []}', "x"):
        with pytest.raises(SystemExit):
            main(["report", "toy.json", "--out", str(tmp_path / "index.html"), "--jobs", jobs])
        assert "not the number of jobs by rule" in capsys.readouterr().err
