"""All claims at scale smoke, by tables with the parts, arms, seeds and cases that its plan has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from claims_spoilt import PUBLISHED, ROOT, contexts

from mpno.paper.claims import evaluate_claims
from mpno.paper.claims.model import Claims
from mpno.plan import load_plan


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published tables, without what the plan of scale smoke leaves out."""
    plan, tidy = load_plan({"scale": "smoke"}, root=ROOT), tmp_path_factory.mktemp("smoke")
    for path in contexts(PUBLISHED):
        context = json.loads(path.read_text())
        item = plan.items[context["item"]]
        planned = {
            part["name"]: {arm["name"]: arm for arm in part["arms"]} for part in json.loads(item.context())["parts"]
        }
        context.update(scale="smoke", parts=[_few(part, planned[part["name"]]) for part in context["parts"]])
        left = {
            (part["name"], arm["name"], seed)
            for part in context["parts"]
            for arm in part["arms"]
            for seed in arm["runs"]
        }
        only = next((probe.settings["only"] for probe in item.probes if "only" in probe.settings), None)
        (tidy / context["item"]).mkdir()
        (tidy / context["item"] / "context.json").write_text(json.dumps(context))
        for table in path.parent.glob("*.csv"):
            frame = pd.read_csv(table)
            if {"part", "arm", "seed"} <= set(frame):
                keys = zip(frame["part"], frame["arm"], frame["seed"].astype(str).str.removesuffix(".0"), strict=True)
                there = pd.Series([key in left or key[2] == "nan" for key in keys], index=frame.index, dtype=bool)
                frame = frame.loc[there]
            if only is not None and "case" in frame:
                frame = frame.loc[frame["case"].isin(only)]
            frame.to_csv(tidy / context["item"] / table.name, index=False)
    return tidy


def _few(part: dict[str, Any], planned: dict[str, Any]) -> dict[str, Any]:
    arms = []
    for arm in part["arms"]:
        if arm["name"] in planned:
            runs = {seed: run for seed, run in arm["runs"].items() if seed in planned[arm["name"]]["runs"]}
            arms.append({**arm, "runs": runs})
    return {**part, "arms": arms}


def test_every_claim_is_judged_and_none_that_was_trained(claims: Claims, smoke: Path) -> None:
    judged = evaluate_claims(claims, contexts(smoke))
    assert judged["scale"] == "smoke" and judged["total"] == 62
    for claim in judged["claims"]:
        counted = [reading for reading in claim["readings"] if reading["verdict"]]
        assert all(reading["evidence"] == "predicted" for reading in counted), claim["id"]
    said = {claim["id"]: claim for claim in judged["claims"]}
    assert said["C18"]["verdict"] == "consistent with"
    for name in ("C13", "C21", "C45"):  # of cases and arms that smoke leaves out
        assert said[name]["verdict"] == "not tested here" and "Scale smoke has" in said[name]["reason"], name
    # One of its two readings is there, and holds; the other is what smoke leaves out.
    assert [reading["verdict"] for reading in said["C42"]["readings"]] == ["consistent with"]
    assert said["C42"]["verdict"] == "not tested here" and "only a part" in said["C42"]["reason"]
