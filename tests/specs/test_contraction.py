"""The spec of a contraction: what goes together, and what comes back from JSON."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mpno.specs import ContractionSpec


@pytest.mark.parametrize("rank", [0.05, 1.0, 1, 12, (1, 2, 3, 1)])
def test_ranks_keep_their_kind_through_json(rank: Any) -> None:
    """A fraction of 1.0 and a rank of 1 are different things."""
    spec = ContractionSpec(factorization="tt", rank=rank)
    back = ContractionSpec.model_validate_json(spec.model_dump_json())
    assert back == spec and type(back.rank) is type(rank)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rank": 0.5}, "does not go with factorization dense, which has none; remove it"),
        ({"factorization": "cp"}, "factorization cp needs a rank; give an integer"),
        ({"factorization": "cp", "rank": (2, 3)}, "has 2 numbers, cp has one; give an integer or a fraction"),
        ({"factorization": "tt", "rank": -1}, "greater than 0"),
        ({"layout": "corner"}, "'joint' or 'corners'"),
        ({"path": "greedy"}, "'flops', 'memory' or 'default'"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ContractionSpec(**values)
