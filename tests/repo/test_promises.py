"""Every promise names tests that are there."""

from __future__ import annotations

import re

from .paths import ROOT

TEXT = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
LINK = re.compile(r"\[`(test_\w+)`\]\(\.\./(tests/[\w/]+\.py)\)")


def test_every_promise_links_to_a_test_that_is_there() -> None:
    promises = re.split(r"^- ", TEXT, flags=re.MULTILINE)[1:]
    assert len(promises) >= 15
    for promise in promises:
        assert LINK.search(promise), promise
    for name, path in LINK.findall(TEXT):
        assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path} has no {name}"
