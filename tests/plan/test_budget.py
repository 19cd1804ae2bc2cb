"""What a scale may cost, as the experiment files state it: a desk is two cores for half an hour, a GPU twelve hours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpno.plan import load_plan

ROOT = Path(__file__).resolve().parents[2]
DESK = {"training": 2500, "measure": 400, "probe": 300, "draw": 300}
"""Core-seconds of the paper's items. With data (700) and start-up they come to 35 minutes of two cores."""

PREDICTED = ("predicted-memory", "predicted-time", "capacity")
"""Items of what was measured on GPUs and is predicted here: five minutes of two cores for all three."""


def stated(made: Any, names: list[str]) -> dict[str, float]:
    """Core-seconds of `names` by stage; a run that items share counts once."""
    items = {name: made.items[name] for name in names}
    costs = {name: item.experiment.scales[made.scale].core_seconds for name, item in items.items()}
    each = {run: costs[name].run for name, item in reversed(items.items()) for run in item.runs}
    alone = {stage: sum(getattr(cost, stage) for cost in costs.values()) for stage in ("measure", "probe", "draw")}
    return {"training": sum(each.values()), **alone}


PAST = 1000
"""Core-seconds of what goes past the paper, beside the runs that it shares with the paper's items."""


def papers(made: Any) -> list[str]:
    """The items that reproduce the paper's tables and figures; theory and predictions have budgets of their own."""
    own = [name for name, item in made.items.items() if item.experiment.section == "paper"]
    return [name for name in own if not name.startswith("theory-") and name not in PREDICTED]


def test_desk_stays_within_its_budget() -> None:
    made = load_plan({"scale": "desk"}, root=ROOT)
    spent = stated(made, papers(made))
    assert {stage: spent[stage] for stage in spent if spent[stage] > DESK[stage]} == {}
    assert len({run for name in papers(made) for run in made.items[name].runs}) <= 180
    assert sum(stated(made, list(made.items)).values()) == pytest.approx(made.core_seconds)


def test_predictions_take_five_minutes() -> None:
    for scale in ("smoke", "desk", "gpu", "paper"):
        spent = stated(load_plan({"scale": scale}, root=ROOT), list(PREDICTED))
        assert sum(spent.values()) <= (600 if scale != "smoke" else 80) and spent["training"] == 0


def test_what_goes_past_the_paper_stays_within_its_budget() -> None:
    made = load_plan({"scale": "desk"}, root=ROOT)
    reproduced = [name for name, item in made.items.items() if item.experiment.section == "paper"]
    assert len(made.items) > len(reproduced)
    both, without = stated(made, list(made.items)), stated(made, reproduced)
    assert sum(both.values()) - sum(without.values()) <= PAST


def test_a_gpu_needs_at_most_half_a_day() -> None:
    made = load_plan({"scale": "gpu"}, root=ROOT)
    assert made.core_seconds <= 12 * 3600


def test_a_costlier_item_leaves_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    made = load_plan({"scale": "desk"}, root=ROOT)
    cost = made.items["error-curves"].experiment.scales["desk"].core_seconds
    monkeypatch.setitem(cost.__dict__, "run", 60.0)
    assert stated(made, papers(made))["training"] > DESK["training"]
