"""The report as a browser shows it and a reader uses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

pytestmark = pytest.mark.browser
ARTEFACTS = "MPNO_SCREENSHOTS"
"""A folder for pictures of the page, in the environment; without it they go with the test's own files."""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update"]
FLAGS += ["--disable-background-networking", "--disable-sync"]
CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (at) => {
    for (; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  let count = 0;
  while (walker.nextNode()) {
    const at = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !at.getClientRects().length || at.closest("script")) continue;
    const style = getComputedStyle(at), drawn = at.tagName === "text";
    const text = numbers(drawn ? style.fill : style.color);
    const box = drawn ? numbers(getComputedStyle(at.closest("g").querySelector("rect")).fill) : behind(at);
    const [dim, bright] = [light(text), light(box)].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dim + 0.05), size = parseFloat(style.fontSize);
    count += 1;
    const said = walker.currentNode.data.trim().slice(0, 40);
    if (ratio < (size >= 24 ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} ${said}`);
  }
  return { count, found };
}"""
POINT = """() => {
  const line = JSON.parse(document.getElementById("data").textContent).curves.toy[1].lines[0];
  const view = [...Bokeh.index.roots].filter((root) => root.model.type === "Figure").at(-1);
  const box = view.el.getBoundingClientRect(), { x_scale, y_scale } = view.frame;
  return [box.x + x_scale.compute(line.epoch[6]), box.y + y_scale.compute(line.mean[6])];
}"""
"""Where the seventh epoch of the second chart's first line is on the screen."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed; make test-extra installs it where it runs as root")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """The report, opened from disk; it fails the test where it asks for anything else or its script complains."""
    opened = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.route(lambda url: not url.startswith(("file:", "data:")), lambda route: route.abort())
    opened.goto(report.as_uri())
    yield opened
    opened.close()
    assert complaints == []
    assert {url.split("#")[0] for url in asked if not url.startswith("data:")} == {report.as_uri()}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get(ARTEFACTS, tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_reader_filters_claims(page: Page) -> None:
    shown = page.locator(".claim:visible .id")
    expect(page.locator("#shown")).to_have_text("3 of 3 claims")
    for name, value, left in (("verdict", "inconclusive", ["C03"]), ("group", "FP8", ["C02"])):
        page.select_option(f"[name={name}]", value)
        expect(shown).to_have_text(left)
        page.click("[type=reset]")
        expect(shown).to_have_count(3)
    page.select_option("[name=evidence]", "native")
    expect(shown).to_have_text(["C02", "C03"])
    page.fill("[name=text]", "CLIPPED train")
    expect(shown).to_have_text(["C02"])
    page.fill("[name=text]", "nothing like it")
    expect(page.locator("#none")).to_be_visible()
    page.click("[type=reset]")
    page.click(".counts a[data-verdict='not tested here']")
    expect(shown).to_have_text(["C02"])


def test_a_reader_follows_a_claim_and_a_number_to_the_run(page: Page, report: Path) -> None:
    page.click(".headlines a >> nth=0")
    page.click("#C01 .runs summary")
    page.click("#C01 [data-record=mixed_s1] a")
    dialog = page.locator("dialog")
    for said in ("mixed_s1", "simulated", "A processor", "torch 1", "abc", "fetch, def", '"precision": "mixed"'):
        expect(dialog).to_contain_text(said)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.url.endswith("#C01")
    page.locator("#toy .behind summary").press("Enter")
    page.locator("#toy .behind a", has_text="diverged").press("Enter")
    expect(dialog).to_contain_text("half_s1")
    dialog.locator("a", has_text="toy").click()
    expect(dialog).to_be_hidden()
    page.goto(f"{report.as_uri()}#run=full_s2")
    expect(dialog).to_contain_text("full_s2")


def test_the_theme_follows_the_system_until_a_reader_chooses(page: Page) -> None:
    def dark() -> bool:
        return page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"

    assert not dark()
    page.emulate_media(color_scheme="dark")
    assert dark()
    page.click("#theme")
    assert not dark()
    page.reload()
    assert not dark(), "the choice is remembered"
    page.click("#theme")
    page.emulate_media(color_scheme="light")
    assert dark()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 380])
def test_all_text_can_be_read_and_nothing_sticks_out(theme: str, width: int, page: Page, pictures: Path) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    page.screenshot(path=pictures / f"first-{theme}-{width}.png")
    page.evaluate("document.querySelectorAll('details:not(.chart)').forEach((each) => { each.open = true; })")
    seen = page.evaluate(CONTRAST)
    assert seen["count"] > 150 and seen["found"] == []
    page.evaluate("document.querySelector('.contents details').open = false")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    assert page.locator("td, th").evaluate_all("all => all.filter((cell) => !cell.textContent.trim()).length") == 0
    assert page.locator("img:not([alt]), th:not([scope])").count() == 0
    page.screenshot(path=pictures / f"page-{theme}-{width}.png", full_page=True)


def test_a_chart_is_drawn_when_it_is_opened_and_says_what_one_points_at(page: Page, pictures: Path) -> None:
    assert page.evaluate("window.Bokeh === undefined")
    summary = page.locator("#toy .chart > summary")
    summary.press("Enter")
    page.locator("#toy .canvas .bk-Figure").wait_for()
    page.select_option("#toy .plot select", "1")
    page.locator("#toy .canvas").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    x, y = page.evaluate(POINT)
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y, steps=3)
    tooltip = page.locator(".bk-Tooltip")
    for said in ("full by fft", "0.2600", "3: 0.2340 to 0.2860"):
        expect(tooltip.first).to_contain_text(said)
    page.screenshot(path=pictures / "chart.png")


def test_on_paper_everything_is_open_and_nothing_is_to_press(page: Page, pictures: Path) -> None:
    page.pdf(path=pictures / "report.pdf")
    assert (pictures / "report.pdf").read_bytes().startswith(b"%PDF")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".control:visible, .contents:visible, .chart:visible").count() == 0
    assert page.locator(".claim .reason:visible").count() == 3
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".claim[open]").count() == 0
