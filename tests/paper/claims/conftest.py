"""The tables that the project ships, and copies of them to spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from claims_spoilt import FILE, PUBLISHED, Spoilt, contexts

from mpno.paper.claims import evaluate_claims, load_claims
from mpno.paper.claims.model import Claims


@pytest.fixture(scope="session")
def claims() -> Claims:
    return load_claims(FILE)


@pytest.fixture(scope="session")
def judged(claims: Claims) -> dict[str, Any]:
    """All claims, by the published tables."""
    return evaluate_claims(claims, contexts(PUBLISHED))


@pytest.fixture(scope="session")
def by_id(judged: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {claim["id"]: claim for claim in judged["claims"]}


@pytest.fixture
def spoil(claims: Claims, tmp_path: Path) -> Callable[[str], Spoilt]:
    def copy(name: str) -> Spoilt:
        return Spoilt(next(claim for claim in claims.claims if claim.id == name), tmp_path / name)

    return copy
