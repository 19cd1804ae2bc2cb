"""The guides: every figure is that of the published tables or of the paper, every link and command is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from mpno import cli

from .paths import ROOT
from .published_figures import EXPERIMENTS, READERS, told

QUESTIONS, ARTIFACT = ROOT / "docs" / "questions.md", ROOT / "ARTIFACT.md"
GUIDES = (QUESTIONS, ARTIFACT)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MARK = re.compile(r"<!--([\w-]+)-->")
RESULT = re.compile(r"[\d,.]*\d\s?(?:%|MiB|MB|times\b)|(?<![.\w])\d+\.\d+(?!\.)")
"""What reads like a result: a share, bytes, a factor, a decimal number."""


def stale(text: str) -> list[str]:
    """The figures that their readers read otherwise."""
    found = []
    for mark in MARK.finditer(text):
        now = told(mark[1])
        if not text[: mark.start()].endswith(now):
            found.append(f"{mark[1]}: {text[max(0, mark.start() - 40) : mark.start()]!r} is now {now!r}")
    return found


def unread(text: str) -> list[str]:
    """What reads like a result and has no reader."""
    while mark := MARK.search(text):
        text = text[: mark.start()].removesuffix(told(mark[1])) + text[mark.end() :]
    text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)|arXiv:? ?\d+\.\d+", "", text, flags=re.DOTALL)
    return RESULT.findall(text)


def broken(page: Path) -> list[str]:
    """The links to files and headings that are not there."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]*)\)", text):
        path, _, heading = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (heading and heading not in headings(there)):
            found.append(target)
    return found


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_figure_is_read_from_the_published_tables(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert MARK.search(text)
    assert stale(text) == []
    assert unread(text) == []


def test_every_reader_is_used() -> None:
    used = {name for page in GUIDES for name in MARK.findall(page.read_text(encoding="utf-8"))}
    assert used == set(READERS)


def test_a_stale_figure_and_one_without_a_reader_are_seen() -> None:
    right = f"saves {told('saved-mixed')}<!--saved-mixed-->"
    assert stale(right) == [] and unread(right) == []
    wrong = "saves 99.9 %<!--saved-mixed-->"
    assert len(stale(wrong)) == 1 and unread(wrong) == ["99.9 %"]
    assert unread("takes 3.4 s, 20 % and 1.5 times of 12 MiB, in B.12 and on 2 grids of 16 x 16") == (
        ["3.4", "20 %", "1.5 times", "12 MiB"]
    )


def test_every_question_is_answered_and_linked() -> None:
    answers = re.split(r"^## ", QUESTIONS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(answers) == 8
    unlinked = [answer.splitlines()[0] for answer in answers if not re.search(r"\]\([^)]+\)", answer)]
    assert unlinked == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A head\n[a](#a-head) [b](page.md) [c](#none) [d](none.md)\n")
    assert broken(page) == ["#none", "none.md"]


FENCED = re.compile(r"```\n(.*?)```|`((?:make|python -m) [^`]+)`", re.DOTALL)


def commands(page: Path) -> list[str]:
    """The command lines of a page, in fences and in running text."""
    found = FENCED.findall(page.read_text(encoding="utf-8"))
    return [line.strip() for block, inline in found for line in (block or inline).splitlines() if line.strip()]


def wrong(command: str) -> str | None:
    """What a command names that is not there: a target, a variable's value, a subcommand, an option."""
    words = shlex.split(command, comments=True)
    return _wrong_make(words[1:]) if words[0] == "make" else _wrong_mpno(words[3:])


def _wrong_make(words: list[str]) -> str | None:
    targets = re.findall(r"^([a-z-]+):[^#\n]*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    items = {path.stem for path in (ROOT / "workflow" / "experiments").glob("*.yaml")}
    allowed = {"ITEM": items, "SCALE": {"smoke", "desk", "gpu", "paper"}, "SET": None}
    for word in words:
        name, given, value = word.partition("=")
        known = name in allowed if given else name in targets
        choices = allowed.get(name) if given else None
        if not known or (choices is not None and value not in choices):
            return word
    return None


def _wrong_mpno(words: list[str]) -> str | None:
    command: Any = typer.main.get_command(cli.app)
    while words and hasattr(command, "commands"):
        if words[0] not in command.commands:
            return words[0]
        command, words = command.commands[words[0]], words[1:]
    options = {option for parameter in command.params for option in parameter.opts}
    return next((word for word in words if word.startswith("--") and word not in options), None)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_command_is_there(page: Path) -> None:
    assert [(command, name) for command in commands(page) if (name := wrong(command))] == []


def test_a_command_that_is_not_there_is_seen() -> None:
    assert wrong("make item ITEM=nothing") == "ITEM=nothing" and wrong("make items") == "items"
    assert wrong("make reproduce SCALE=large") == "SCALE=large" and wrong("make reproduce SCALES=desk") == "SCALES=desk"
    assert wrong("python -m mpno data imprt my.h5") == "imprt"
    assert wrong("python -m mpno data import my.h5 --target u --nam mine") == "--nam"
    assert wrong("python -m mpno data import my.h5 --target u  # yours") is None


def test_every_claim_has_an_experiment_with_command_figure_and_tolerance() -> None:
    lines = ARTIFACT.read_text(encoding="utf-8").splitlines()
    claims = [line.split(" | ") for line in lines if re.match(r"\| C\d+ ", line)]
    experiments = [line.strip("| ").split(" | ") for line in lines if re.match(r"\| E\d+ ", line)]
    assert [claim[0] for claim in claims] == [f"| C{n + 1}" for n in range(len(experiments))]
    for n, (claim, cells) in enumerate(zip(claims, experiments, strict=True)):
        name, command, machine, expected, tolerance, said = cells
        assert name == f"E{n + 1}" and f"E{n + 1}" in claim[2] and said
        assert command == f"`make item ITEM={EXPERIMENTS[n]} SCALE=desk`"
        assert machine.endswith(f"<!--minutes-{EXPERIMENTS[n]}-->") and MARK.search(expected)
        assert "exact" in tolerance or f"errors within {told('tolerance')}" in tolerance
