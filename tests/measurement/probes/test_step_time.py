"""Modelled times of cases, card by card."""

from __future__ import annotations

import pandas as pd
import pytest

from mpno.measurement.cards import CARDS
from mpno.measurement.probes.step_time import step_time

RUN = {
    "data": {"name": "navier-stokes", "source": "generate", "resolution": 16, "test_resolutions": [16]},
    "model": {
        "name": "tfno",
        "modes": [8, 8],
        "width": 8,
        "layers": 2,
        "contraction": {"factorization": "cp", "rank": 0.5, "layout": "corners"},
    },
    "training": {"batch_size": 4, "loss": "h1"},
}


def test_every_card_and_tf32_where_a_card_has_it() -> None:
    each = [{"name": "full", "precision": "full"}, {"name": "mixed", "precision": "mixed"}]
    groups = [{"implementation": "authors", "run": RUN, "each": each}, {"run": RUN, "each": each[:1]}]
    frame = pd.DataFrame(step_time([], {"cases": groups}))
    names = {card.name for card in CARDS.values()}
    theirs, ours = frame.query("implementation == 'authors'"), frame.query("implementation == 'ours'")
    assert set(theirs.query("setting == 'full'")["card"]) == set(theirs.query("setting == 'mixed'")["card"]) == names
    assert set(theirs.query("setting == 'tf32'")["card"]) == names - {"V100"}
    assert set(ours["setting"]) == {"full"} and len(ours) == len(names)
    for parts in (["products_ms", "transforms_ms", "elementwise_ms"], ["forward_ms", "backward_ms", "optimiser_ms"]):
        # The host is slower than any card at a step this small.
        assert list(frame[parts].sum(axis=1) < 1000 * frame["seconds"]) == [True] * len(frame)
    assert frame["samples"].to_numpy() == pytest.approx((4 / frame["seconds"]).to_numpy())
