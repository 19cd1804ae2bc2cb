"""What the report says, and what it refuses to be made of."""

from __future__ import annotations

import html.parser
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from report_toy import claim, claims, make_report, reading

from mpno.paper.report import write_report
from mpno.paper.report.dag import NEEDS, draw_rules
from mpno.paper.report.times import read_times
from mpno.specs import MpnoError

EVIL = "</script><script>alert(1)</script>\" onload='x' & <img src=x onerror=y>"


class Page(html.parser.HTMLParser):
    """Links, tags and the names of attributes that a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for key, value in attrs if key in ("href", "src") and value]


def data(text: str) -> dict[str, Any]:
    """What the page's script is given."""
    start = text.index(">", text.index('id="data"')) + 1
    return json.loads(text[start : text.index("</script>", start)])


def test_first_screen_says_what_the_run_is_and_what_it_decides(report: Path) -> None:
    text = report.read_text()
    head = text[text.index("<body>") : text.index('<h2 id="claims">')]
    for said in ("smoke", "without a GPU", "16x16", "neither confirms nor refutes the paper's GPU claims"):
        assert said in head
    assert '<span class="big">1</span> of 3 claims' in head


def test_a_paper_scale_run_on_a_gpu_disclaims_nothing(toy: Path, drawn: Path) -> None:
    for device, said in (("cuda", False), ("cpu", True)):
        page = make_report(drawn, toy.parent, scale="paper", device=device)
        assert ("neither confirms nor refutes" in page.read_text()) == said


def test_the_papers_value_stands_with_its_provenance(report: Path) -> None:
    for part in ("0.0083", "read off a plot: a figure", "128x128, 300 epochs", "15.63 s", "review discussion"):
        assert part in report.read_text()


def test_a_claim_stands_with_its_rule_readings_and_change(report: Path) -> None:
    text = report.read_text()
    third = text[text.index('id="C03"') : text.index('id="none"')]
    for said in ("45 % or more", "up to 50 % less", "+1.0 % [-0.5, +2.5]", "told apart", 'data-record="mixed_s0"'):
        assert said in third
    aside = third[third.index("Illustration") :]
    assert "+0.1 points" in aside and "+1.0 %" not in aside
    assert "<time>2026-11-28</time>" in text and "where it first read 3" in text


def test_links_lead_to_files_beside_the_page_alone(report: Path) -> None:
    text = report.read_text()
    links = [link for link in Page(text).links if not link.startswith(("#", "data:"))]
    assert {f"../tables/toy.{ending}" for ending in ("csv", "md", "tex")} <= set(links)
    assert {"../notebooks/toy.ipynb", "../notebooks/toy.html", "../tidy/toy/errors.csv"} <= set(links)
    assert not [link for link in links if not link.startswith("../")]
    assert "url(" not in text[: text.index("</style>")] and "@import" not in text


def test_what_came_from_data_is_text(toy: Path, drawn: Path, tmp_path: Path) -> None:
    said = {"title": EVIL, "paper": EVIL, "changes": [EVIL], "processor": EVIL, "versions": {"torch": EVIL}}
    page = json.loads((drawn / "drawn" / "toy.json").read_text())
    page["reference"][0] |= {"conditions": EVIL, "place": EVIL, "setting": EVIL}
    (drawn / "drawn" / "toy.json").write_text(json.dumps(page))
    shutil.copytree(toy.parent, tmp_path / "tidy")
    runs = tmp_path / "tidy" / "toy" / "runs.csv"
    runs.write_text(runs.read_text().replace("A processor", '"' + EVIL.replace('"', '""') + '"'))
    evil = claim("C04", **dict.fromkeys(("group", "statement", "source", "provenance", "published", "reason"), EVIL))
    evil |= {"threshold": {"rule": EVIL, "words": EVIL}, "readings": [reading(name=EVIL, shown=EVIL, evidence=EVIL)]}
    text = make_report(drawn, tmp_path / "tidy", claims(evil), **said).read_text()
    page = Page(text)
    assert text.count("&lt;script&gt;alert(1)") > 12
    assert page.tags.count("script") == 3 and page.tags.count("img") == 1
    assert not {name for name in page.attributes if name.startswith("on")}
    assert data(text)["runs"]["mixed_s0"]["processor"] == EVIL


def test_each_run_is_known_once_and_each_number_leads_to_one(report: Path) -> None:
    text = report.read_text()
    run = data(text)["runs"]["mixed_s1"]
    assert run["spec"] == {"seed": 1, "precision": "mixed"} and run["versions"] == {"torch": "1"}
    assert (run["source_digest"], run["data_digest"], run["threads"]) == ("abc", "def", 1)
    assert run["uses"] == [["toy", "darcy", "mixed by fft", 1]]
    assert '<a href="#run=mixed_s1">0.1122</a>' in text and '<a href="#run=half_s1">diverged</a>' in text
    assert len(data(text)["runs"]) == 18


def test_curves_are_the_means_over_the_seeds(report: Path) -> None:
    chart = data(report.read_text())["curves"]["toy"][0]
    full = next(line for line in chart["lines"] if line["name"] == "full by fft")
    assert chart["metric"] == "relative L2 error" and full["epoch"] == list(range(1, 11))
    assert full["mean"][-1] == pytest.approx(0.1) and (full["min"][-1], full["max"][-1]) == (0.09, 0.11)
    assert full["count"] == [3] * 10


def test_tables_of_ones_own_come_with_their_runs(toy: Path, drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(toy.parent, drawn / "tidy")
    items, out = [drawn / "drawn" / "toy.json"], drawn / "report" / "index.html"
    path = drawn / "tidy" / "toy" / "runs.csv"
    path.write_text("".join(line for line in path.open() if not line.startswith("mixed_s1,")))
    with pytest.raises(MpnoError, match=r"runs.csv of item toy: has no run mixed_s1; .*make reproduce"):
        write_report(items, out=out, tidy=drawn / "tidy")
    shutil.move(drawn / "tidy", tmp_path / "published")
    (tmp_path / "published" / "toy" / "runs.csv").unlink()
    write_report(items, out=out, tidy=tmp_path / "published")
    assert "Drawn from published tables" in out.read_text() and "judges no claims" in out.read_text()


def test_a_figure_that_is_gone_and_broken_claims_are_refused(toy: Path, drawn: Path) -> None:
    items, out, judged = (
        [drawn / "drawn" / "toy.json"],
        drawn / "report" / "index.html",
        drawn / "claims" / "claims.json",
    )
    judged.write_text('{"claims": [{"id": "C01"}]}')
    with pytest.raises(MpnoError, match=r"claims.json: is not whole"):
        write_report(items, out=out, tidy=toy.parent, claims=judged)
    (drawn / "figures" / "toy.svg").unlink()
    with pytest.raises(MpnoError, match=r"toy.svg: is missing; make it with `make item ITEM=toy`"):
        write_report(items, out=out, tidy=toy.parent)


def test_of_a_job_that_ran_twice_the_last_time_counts(tmp_path: Path) -> None:
    path = tmp_path / "times.jsonl"
    entries = [("train", "a", 0, 50), ("train", "a", 0, 2), ("train", "b", 1, 4), ("memory", "c", 0, 1)]
    keys = ("stage", "name", "started", "ended")
    path.write_text("".join(json.dumps(dict(zip(keys, entry, strict=True))) + "\n" for entry in entries))
    assert read_times(path) == [("training", 2, 5), ("predicting memory", 1, 1)]
    assert read_times(None) == []
    path.write_text("{}\n")
    with pytest.raises(MpnoError, match="is not whole"):
        read_times(path)


def test_every_rule_is_drawn_with_its_jobs() -> None:
    drawn = str(draw_rules({"train": 1, "time": 2}))
    assert drawn.count("<g class=") == len(NEEDS) + 2, "a box per rule, those of data need nothing"
    assert drawn.count("<path") == sum(map(len, NEEDS.values()))
    assert ">1 job<" in drawn and ">2 jobs<" in drawn and drawn.count("node idle") == len(NEEDS)


def test_what_goes_past_the_paper_stands_under_a_heading_of_its_own(toy: Path, drawn: Path) -> None:
    text = make_report(drawn, toy.parent, section="past").read_text()
    assert text.index("Past the paper</h2>") < text.index('<section class="item" id="toy"') and 'href="#past"' in text
    assert "Past the paper" not in make_report(drawn, toy.parent, section="paper").read_text()
