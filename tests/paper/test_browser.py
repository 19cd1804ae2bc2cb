"""The report as a browser shows it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import pytest

from mpno.paper import draw, load_item
from mpno.paper.report import write_report

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
]
FLAGS += ["--disable-background-networking", "--disable-sync", "--hide-scrollbars", "--window-size=1200,2000"]


def browse(page: Path, folder: Path, *asked: str) -> str:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed; make test-extra installs it where it runs as root")
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", *asked, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture
def report(toy: Path, tmp_path: Path) -> Path:
    """A report of the toy item, with a probe that writes what the browser made of it into the page."""
    page = tmp_path / "results" / "report" / "index.html"
    draw(load_item(toy), tmp_path / "results")
    write_report([tmp_path / "results" / "drawn" / "toy.json"], out=page)
    probe = (
        "<script>addEventListener('load', () => { const r = document.querySelector('h1').getBoundingClientRect();"
        "document.body.dataset.seen = JSON.stringify({top: r.top, wide: document.documentElement.scrollWidth,"
        "quirks: document.compatMode,"
        "empty: [...document.querySelectorAll('td')].filter(c => !c.innerText.trim()).length})"
        "})</script></body>"
    )
    text = page.read_text()
    assert "</body>" in text
    page.write_text(text.replace("</body>", probe))
    return page


@pytest.mark.browser
def test_the_first_screen_is_laid_out(report: Path, tmp_path: Path) -> None:
    dom = browse(report, tmp_path, "--dump-dom")
    seen = re.search(r'data-seen="([^"]*)"', dom)
    assert seen is not None, "the page's load event never came"
    values = dict(re.findall(r"(\w+)&quot;:(?:&quot;)?([\w.-]+)", seen[1]))
    assert values["quirks"] == "CSS1Compat"
    assert 0 <= float(values["top"]) < 200
    assert int(values["wide"]) <= 1200, "the page scrolls sideways"
    assert int(values["empty"]) == 0, "a table cell is empty"


@pytest.mark.browser
def test_the_page_is_not_blank(report: Path, tmp_path: Path) -> None:
    browse(report, tmp_path, f"--screenshot={tmp_path / 'page.png'}")
    picture = matplotlib.image.imread(tmp_path / "page.png")[..., :3]
    # Text, rules and a coloured bar on white: several grey levels, but mostly background.
    assert picture.mean() > 0.8
    assert (picture.mean(-1) < 0.5).mean() > 0.005
