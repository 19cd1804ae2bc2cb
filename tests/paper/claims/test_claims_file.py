"""The file of claims: what it holds, and what is refused with a line that names claim and key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from claims_spoilt import FILE, PUBLISHED

from mpno.paper.claims import load_claims
from mpno.paper.claims.model import Claims
from mpno.paper.claims.readers import READERS, check_ask
from mpno.specs import MpnoError


def test_all_claims_are_there(claims: Claims) -> None:
    assert [claim.id for claim in claims.claims] == [f"C{number:02}" for number in range(1, 63)]


def test_every_claim_asks_what_there_is(claims: Claims) -> None:
    items = {path.name for path in PUBLISHED.iterdir()}
    for claim in claims.claims:
        assert claim.item in items and all(ask.item in {None, *items} for ask in claim.records), claim.id
        for ask in claim.records:
            check_ask(ask.reader, ask.given)
    asked = {ask.reader for claim in claims.claims for ask in claim.records}
    assert asked == set(READERS)


def test_what_is_of_a_gpu_is_decided_at_paper_or_predicted(claims: Claims) -> None:
    assert all("desk" not in claim.scales for claim in claims.claims if claim.gpu)


def test_every_threshold_says_whose_words_it_is(claims: Claims) -> None:
    assert all(len(claim.threshold.words) > 3 and len(claim.threshold.rule) > 10 for claim in claims.claims)


Spoil = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (lambda c: c.pop("provenance"), ("published value without provenance", "printed")),
        (lambda c: c.update(provenance="hearsay"), ("provenance", "'hearsay'", "review discussion")),
        (lambda c: c.update(verdict="supported"), ("unknown key", "verdict")),
        (lambda c: c.update(test="feeling"), ("test", "'feeling'", "ordering")),
        (lambda c: c.update(scales=["moon"]), ("scales", "'moon'", "desk")),
        (lambda c: c["threshold"].pop("words"), ("threshold.words", "missing")),
        (lambda c: c["threshold"].update(margin=5), ("threshold.margin", "at_least")),
        (lambda c: c["threshold"].pop("at_least"), ("no bound for 'Navier-Stokes'",)),
        (lambda c: c["records"][0].update(colour="red"), ("records.0.colour", "reader")),
        (lambda c: c.update(accuracy=True), ("few-bit control",)),
        (lambda c: c.update(id="C1"), ("id",)),
    ],
)
def test_a_bad_claim_is_one_line(tmp_path: Path, spoil: Spoil, parts: tuple[str, ...]) -> None:
    found = yaml.safe_load(FILE.read_text())
    claim = found["claims"][0]
    spoil(claim)
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(found))
    with pytest.raises(MpnoError) as error:
        load_claims(path)
    line = str(error.value)
    assert "\n" not in line and f"{path}: claim {claim['id']}" in line
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("claims: [", "not YAML"),
        ("fixed: '2026-01-01'\nclaims: []", "claims"),
        ("fixed: soon\nclaims: []", "fixed is 'soon'"),
        ("- a list", "claims.yaml"),
    ],
)
def test_a_file_that_is_none_is_one_line(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(MpnoError, match=part):
        load_claims(path)
    with pytest.raises(MpnoError, match="cannot be read"):
        load_claims(tmp_path / "none.yaml")


def test_a_claim_stands_there_once_and_changes_name_one(claims: Claims) -> None:
    one = claims.claims[0].model_dump()
    with pytest.raises(ValueError, match="C01 stands there twice"):
        Claims.model_validate({"fixed": "2026-01-01", "known": "all", "claims": [one, one]})
    with pytest.raises(ValueError, match="claim C99, which is none"):
        Claims.model_validate({**claims.model_dump(), "changes": [{"date": "2026-02-01", "claim": "C99", "what": "x"}]})


def test_a_reader_that_is_none_and_arguments_it_does_not_take() -> None:
    with pytest.raises(MpnoError, match="did you mean case_saving"):
        check_ask("case_savings", {})
    with pytest.raises(MpnoError, match="it takes case, against"):
        check_ask("case_saving", {"case": "ns mixed", "versus": "ns full"})
