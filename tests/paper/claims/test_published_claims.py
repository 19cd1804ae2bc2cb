"""The claims by the published tables: no verdict beyond its evidence, and none that its records contradict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from claims_spoilt import PUBLISHED, Spoilt

from mpno.paper.claims import evaluate_claims
from mpno.paper.claims.model import Claims
from mpno.specs import MpnoError

Spoil = Callable[[str], Spoilt]


def test_every_claim_has_a_verdict_and_counts_add_up(judged: dict[str, Any]) -> None:
    assert sum(judged["counts"].values()) == judged["total"] == 62
    for word, said in (("support", "decided"), ("consistent", "predicted")):
        assert judged[said] == sum(number for verdict, number in judged["counts"].items() if word in verdict) > 0
    assert all(claim["readings"] and claim["reason"].endswith(".") for claim in judged["claims"])


def test_a_claim_of_the_paper_s_size_is_not_judged_at_desk(judged: dict[str, Any]) -> None:
    paper = [claim for claim in judged["claims"] if claim["scales"] == ["paper"]]
    assert len(paper) >= 18
    for claim in paper:
        assert claim["verdict"] == "not tested here", claim["id"]
        assert all(reading["verdict"] is None and reading["illustration"] for reading in claim["readings"])


def test_no_verdict_is_beyond_its_evidence(judged: dict[str, Any]) -> None:
    for claim in judged["claims"]:
        evidence = {reading["evidence"] for reading in claim["readings"] if reading["verdict"]}
        if evidence == {"predicted"}:
            assert claim["verdict"] in ("consistent with", "not consistent with", "inconclusive"), claim["id"]
        assert not any(reading["stand_in"] and reading["verdict"] for reading in claim["readings"])


def test_accuracy_is_read_in_points_and_as_relative_change(by_id: dict[str, dict[str, Any]]) -> None:
    for name in ("C04", "C05", "C09", "C54", "C62"):
        units = {reading["unit"] for reading in by_id[name]["readings"]}
        assert units == {"points", "%"}, name


def test_readings_name_their_records(judged: dict[str, Any]) -> None:
    for claim in judged["claims"]:
        for reading in claim["readings"]:
            assert (PUBLISHED.parent / reading["table"]).is_file()
            table = pd.read_csv(PUBLISHED.parent / reading["table"])
            if "run" in table:
                assert set(reading["records"]) <= set(table["run"]) and reading["records"]


def test_numbers_are_those_of_the_tables(by_id: dict[str, dict[str, Any]]) -> None:
    """Computed from the files anew, without the readers."""
    cases = pd.read_csv(PUBLISHED / "predicted-memory/cases.csv").set_index("case")["shown"]
    saving = 100 * (1 - cases["ns mixed, batch 16"] / cases["ns full, batch 16"])
    assert by_id["C01"]["readings"][1]["effect"] == pytest.approx(saving, rel=1e-12)
    history = pd.read_csv(PUBLISHED / "half-operations/history.csv").drop_duplicates(["arm", "seed", "epoch"])
    last = history[history["epoch"] == history["epoch"].max()].set_index(["arm", "seed"])["train_loss"]
    change = (100 * (last["mixed"] / last["fff"] - 1)).mean()
    assert by_id["C15"]["readings"][0]["effect"] == pytest.approx(change, rel=1e-9)
    assert by_id["C15"]["readings"][0]["n"] == 3


def scaled(column: str, factor: float, **where: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        rows = pd.Series(True, index=frame.index)
        for key, value in where.items():
            rows &= frame[key] == value
        assert rows.any()
        frame[column] = frame[column].astype(float)
        frame.loc[rows, column] *= factor
        return frame

    return change


GOOD, BAD, WELL, ILL = "supported", "not supported", "consistent with", "not consistent with"
SEARCHED = {"choice": "path searched each time"}
FLIPS = {
    "C13": ("cases", scaled("shown", 1.01, case="darcy HHH, 8 layers"), WELL, ILL),
    "C14": ("history", scaled("train_loss", 0.9, arm="mixed"), "inconclusive", GOOD),
    "C15": ("history", scaled("train_loss", 1.1, arm="mixed"), "inconclusive", BAD),
    "C18": ("trace", lambda f: f.assign(format="fp32"), WELL, ILL),
    "C22": ("cases", scaled("shown", 1.03, option="B"), ILL, WELL),
    "C28": ("choices", scaled("low", 0.5, **SEARCHED), GOOD, "inconclusive"),
    "C31": ("choices", scaled("value", 2.0, ablation="path", choice="least memory"), WELL, ILL),
    "C45": ("activations", scaled("value", 0.8, stabiliser="tanh", stage="after"), GOOD, BAD),
    "C46": ("constants", scaled("norm", 2.0, stage="after"), GOOD, BAD),
    "C48": ("first-step", lambda f: f.assign(finite=True), GOOD, BAD),
    "C53": ("gradients", lambda f: f.assign(below_subnormal=0.0), GOOD, BAD),
    "C55": ("worst", lambda f: f.assign(value=f["value"].where(f["what"] != "disc upper", f["n"])), GOOD, BAD),
    "C57": ("darcy", scaled("median", 1e6, what="prec"), GOOD, BAD),
    "C60": ("bases", scaled("high", 1e4, what="disc"), GOOD, BAD),
}
"""By claim: a table, what is done to it, and the verdicts before and after."""


@pytest.mark.parametrize("name", FLIPS)
def test_mutated_records_flip_the_verdict(spoil: Spoil, by_id: dict[str, Any], name: str) -> None:
    table, change, before, after = FLIPS[name]
    assert by_id[name]["verdict"] == before
    assert spoil(name).table(table, change).judge()["verdict"] == after


def at_paper(context: dict[str, Any]) -> None:
    context.update(scale="paper", device="cuda")


def native(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(evidence="native")


def near_full(frame: pd.DataFrame) -> pd.DataFrame:
    """Mixed within a hundredth of a percent of full, from seed to seed."""
    keys = ["part", "seed", "metric", "resolution"]
    full = frame[frame["arm"] == "full"].set_index(keys)["value"]
    mixed = frame["arm"] == "mixed"
    values = [full[key] * (1 + 1e-5 * key[1]) for key in frame.loc[mixed, keys].itertuples(index=False, name=None)]
    frame.loc[mixed, "value"] = values
    return frame


def test_accuracy_is_judged_at_paper_with_its_control_and_every_seed(spoil: Spoil) -> None:
    run = spoil("C04").context(at_paper).table("errors", near_full)
    assert run.judge()["verdict"] == "supported"
    controls = run.folder / "error-curves" / "errors.csv"
    whole = pd.read_csv(controls)
    run.table("errors", lambda f: f.assign(value=f["value"].where(f["arm"] != "mixed-e5m2", 0.25 + 0.01 * f["seed"])))
    assert run.judge()["verdict"] == "no power at this scale"
    gone = (whole["arm"] == "mixed") & (whole["seed"] == 1)
    whole.loc[gone, ["status", "value"]] = ["diverged", float("nan")]
    whole.to_csv(controls, index=False)
    last = run.judge()
    assert last["verdict"] == "not supported" and "1 of its seeds diverged" in last["reason"]


def test_overflow_is_judged_at_paper_on_a_gpu_alone(spoil: Spoil) -> None:
    run = spoil("C35").context(at_paper)
    assert run.judge()["verdict"] == "not tested here"
    assert run.table("errors", native).judge()["verdict"] == "supported"
    finite = {"status": "finished", "value": 0.5}
    assert run.table("errors", lambda f: f.assign(**finite)).judge()["verdict"] == "not supported"


def test_stand_in_data_stay_without_a_verdict_at_paper(spoil: Spoil) -> None:
    run = spoil("C09").context(at_paper).table("errors", lambda f: native(near_full(f)))
    assert run.judge()["verdict"] == "not tested here"


def test_missing_records_are_one_line(spoil: Spoil, claims: Claims) -> None:
    run = spoil("C01").table("cases", lambda f: f.query("case != 'ns mixed'"))
    with pytest.raises(MpnoError, match=r"claim C01: .*no shown of 'ns mixed'"):
        run.judge()
    (run.folder / "predicted-memory" / "cases.csv").unlink()
    with pytest.raises(MpnoError, match=r"claim C01: .*cases.csv: is missing"):
        run.judge()
    with pytest.raises(MpnoError, match="claim C02: item predicted-time: no records"):
        run.judge(next(claim for claim in claims.claims if claim.id == "C02"))
    broken = spoil("C53").table("gradients", lambda f: f.drop(columns="below_normal"))
    with pytest.raises(MpnoError, match="claim C53: tidy/schedule, asked for gradients: is not whole"):
        broken.judge()


def test_stale_records_are_one_line(spoil: Spoil, claims: Claims) -> None:
    run = spoil("C15")
    with pytest.raises(MpnoError, match="the plan's is 0123; they are stale"):
        run.judge(source="0123")
    (source,) = pd.read_csv(run.folder / "half-operations" / "runs.csv")["source_digest"].unique()
    assert run.judge(source=source)["verdict"] == "inconclusive"
    run.table("errors", lambda f: f.assign(run=f["run"].str.replace("a7ffc293", "00000000")))
    with pytest.raises(MpnoError, match=r"no run darcy16_fno_amp-tanh_fft_s0_a7ffc293 of fff, seed 0"):
        run.judge()
    other = spoil("C14")
    runs = pd.DataFrame({"run": ["a", "b"], "source_digest": [source, "4b322639d760a205"]})
    runs.to_csv(other.folder / "half-operations" / "runs.csv", index=False)
    with pytest.raises(MpnoError, match="runs of two codes"):
        other.judge()


def test_runs_that_do_not_belong_together_are_refused(spoil: Spoil, claims: Claims) -> None:
    run = spoil("C51").context(lambda c: c.update(scale="smoke"), item="block-diagram")
    with pytest.raises(MpnoError, match="contexts are of scale desk and smoke"):
        run.judge()
    changed = spoil("C01").context(lambda c: c.update(changes=["optimizer.lr=1"]))
    with pytest.raises(MpnoError, match="is of a changed run"):
        changed.judge()
    with pytest.raises(MpnoError, match="of scale none"):
        evaluate_claims(claims, [])


def test_what_a_scale_has_no_record_of_is_not_tested_there(spoil: Spoil) -> None:
    """As at smoke, where items have fewer parts, arms and cases by plan."""

    def few(context: dict[str, Any]) -> None:
        context["scale"] = "smoke"
        for part in context["parts"]:
            part["arms"] = [arm for arm in part["arms"] if arm["name"] in ("full", "fff", "none")]

    for name in ("C04", "C15", "C54", "C62"):
        found = spoil(name).context(few).judge()
        assert found["verdict"] == "not tested here" and "smoke has" in found["reason"], name
    cases = spoil("C21").context(few).table("cases", lambda f: f.query("case == 'ns full'")).judge()
    assert cases["verdict"] == "not tested here" and "no such record" in cases["reason"]
