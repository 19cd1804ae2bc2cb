"""Advice on number formats held against trainings: how many safe and unsafe settings it and a simple rule tell."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from mpno.paper.drawing import Drawing, Table
from mpno.paper.records import NONE, ItemData, ItemTables
from mpno.paper.statistics import paired_change
from mpno.paper.style import OKABE, TEXT_WIDTH, look
from mpno.specs import PrecisionSetting, get_format

METRIC, MARGIN = "l2", 0.05
"""A setting is unsafe if a run diverged or this error is, in the paired mean, by more than this share above full's."""
BITS = 16
"""The simple rule: safe from so many bits on."""
RULES = {
    "advice": "the advice",
    "alone": "the advice, fraction alone",
    "trained": "the advice with trained weights",
    "sixteen": "16 bits yes, 8 bits no",
    "always": "always yes",
}
TRUTHS = {"unsafe": "full with the same stabiliser", "unsafe_plain": "full without a stabiliser"}
DRAWS, CONFIDENCE = 10_000, 0.95
COLUMNS = ("part", "arm", "excess", "change", "diverged", "evidence", *TRUTHS, *RULES)


def table(item: ItemTables) -> Table:
    """A row per rule, first against full with the same stabiliser, then against full without: the four cells, rates."""
    cases = cases_of(item)
    frame = pd.DataFrame([confusion(cases, rule, truth) for truth in TRUTHS for rule in RULES])
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    return Table(frame, shown, _notes(item, cases, frame), roles=list(frame["truth"]))


def figure(item: ItemTables) -> Drawing:
    """Every case: the advice's worst error over its budget, and the training's change of error."""
    cases = cases_of(item).sort_values(["part", "excess"], ascending=[True, False]).reset_index(drop=True)
    with look():
        drawing = Figure(figsize=(TEXT_WIDTH, 1.0 + 0.14 * len(cases)), layout="constrained")
        left, right = drawing.subplots(1, 2, sharey=True)
        for place, case in enumerate(cases.to_dict("records")):
            shade, marker = (OKABE[5], "X") if case["unsafe"] else (OKABE[2], "o")
            beyond = not math.isfinite(case["excess"])
            left.plot(1e4 if beyond else case["excess"], place, ">" if beyond else marker, color=shade, markersize=4)
            gone = case["diverged"] > 0
            change = 1e5 if gone else 100 * case["change"]
            right.plot(change, place, ">" if gone else marker, color=shade, markersize=4)
        left.set(xscale="log", xlabel="worst layer: measured error / budget", xlim=(None, 2e4))
        left.set_yticks(range(len(cases)), [f"{c['part']}, {c['arm']}" for c in cases.to_dict("records")])
        left.invert_yaxis()
        left.axvline(1.0, color="0.5", linewidth=0.8)
        right.set(xlabel="change of test error against full, %")
        right.set_xscale("symlog", linthresh=1)
        right.set_xlim(-10, 3e5)
        right.axvline(100 * MARGIN, color="0.5", linewidth=0.8)
        for axes in (left, right):
            axes.grid(axis="x", color="0.9")
    layers = item.probes["advice"]
    points = layers.merge(cases[["part", "arm", "change", "diverged", *TRUTHS]], on=["part", "arm"], how="inner")
    caption = (
        f"Each of {len(cases)} settings: left, what the advice measures before training, over what it allows (line: 1; "
        "arrows: overflow); right, how much larger the test error of its trainings is than in full precision with the "
        "same stabiliser (line: the margin that makes it unsafe; arrows: diverged). Crosses are unsafe, "
        "circles safe. Errors of the advice are native, emulated or simulated as its rows say, its budget "
        "rests on estimates; the numbers beside the figure have a row per case, weights and layer."
    )
    alt = "Two columns of points, one row per setting: excess of the advice's error, and change of the test error"
    return Drawing(drawing, points, caption, alt)


def cases_of(item: ItemTables) -> pd.DataFrame:
    """A row per setting that has both trainings and advice.

    ``unsafe`` and ``unsafe_plain`` are the truth in both readings; ``advice``, ``alone``, ``trained``, ``sixteen``
    and ``always`` say whether each rule calls it unsafe (of ``trained`` None where no full run has finished).
    ``excess`` is the largest measured error of any layer over its budget, infinite where it overflows.
    """
    advice, rows = item.probes["advice"], []
    for part, data in item.parts.items():
        for arm in data.context["arms"]:
            asked = advice[(advice["part"] == part) & (advice["arm"] == arm["name"])]
            if arm["against"] not in data.arm_names or not arm["runs"] or asked.empty:
                continue
            truth = _truth(data, arm, arm["against"])
            if truth is None:
                continue
            before, after = (asked.query("weights == @kind") for kind in ("untrained", "trained"))
            fmt = get_format(PrecisionSetting.model_validate(arm["label"]).format)
            bits = 1 + fmt.exponent_bits + fmt.mantissa_bits
            plain = _truth(data, arm, "full")
            worst = np.where(
                before["overflows"], math.inf, before[["precision", "block"]].max(axis=1) / before["budget"]
            )
            rows.append(
                {
                    "part": part,
                    "arm": arm["name"],
                    "setting": arm["label"],
                    "format": fmt.name,
                    "bits": bits,
                    "evidence": before["evidence"].iloc[0],
                    "excess": float(worst.max()) if math.isfinite(before["output"].max()) else math.inf,
                    **truth,
                    "unsafe_plain": None if plain is None else plain["unsafe"],
                    "advice": not _safe(before, "safe"),
                    "alone": not _safe(before, "safe_alone"),
                    "trained": None if after.empty else not _safe(after, "safe"),
                    "sixteen": bits < BITS,
                    "always": False,
                }
            )
    return pd.DataFrame(rows, columns=None if rows else list(COLUMNS))


def _truth(data: ItemData, arm: Mapping[str, Any], against: str) -> dict[str, Any] | None:
    """How the arm's runs ended beside another arm's; None where no pair says anything."""
    if against not in data.arm_names:
        return None
    home, diverged = data.resolutions[0], data.diverged(arm["name"])
    change = paired_change(data.values(arm["name"], METRIC, home), data.values(against, METRIC, home))
    if not diverged and not change.each:
        return None
    return {
        "seeds": len(arm["runs"]),
        "pairs": len(change.each),
        "diverged": diverged,
        "change": change.mean,
        "change_low": change.low,
        "change_high": change.high,
        "unsafe": diverged > 0 or change.mean > MARGIN,
    }


def _safe(layers: pd.DataFrame, column: str) -> bool:
    return bool(layers[column].all()) and math.isfinite(layers["output"].max())


def confusion(cases: pd.DataFrame, rule: str, truth: str) -> dict[str, Any]:
    """How often a rule is right, with intervals.

    Wilson intervals of the two rates; for balanced accuracy, their mean, and for its difference from the simple rule's
    percentiles of a bootstrap over cases, drawn within the safe and within the unsafe ones.
    """
    known = cases.dropna(subset=[truth, rule])
    unsafe, said, simple = (known[name].to_numpy(dtype=bool) for name in (truth, rule, "sixteen"))
    row: dict[str, Any] = {"truth": TRUTHS[truth], "rule": RULES[rule], "n": len(unsafe)}
    row |= {
        "unsafe_found": int((unsafe & said).sum()),
        "unsafe_missed": int((unsafe & ~said).sum()),
        "safe_refused": int((~unsafe & said).sum()),
        "safe_allowed": int((~unsafe & ~said).sum()),
    }
    for name, right, wrong in (("found", "unsafe_found", "unsafe_missed"), ("allowed", "safe_allowed", "safe_refused")):
        row |= dict(zip((f"{name}_rate", f"{name}_low", f"{name}_high"), _wilson(row[right], row[wrong]), strict=True))
    row |= {"balanced": (row["found_rate"] + row["allowed_rate"]) / 2}
    names = ("balanced_low", "balanced_high", "gain", "gain_low", "gain_high")
    return row | dict(zip(names, _bootstrap(unsafe, said, simple), strict=True))


def _wilson(right: int, wrong: int) -> tuple[float, float, float]:
    if not right + wrong:
        return math.nan, math.nan, math.nan
    interval = stats.binomtest(right, right + wrong).proportion_ci(CONFIDENCE, method="wilson")
    return right / (right + wrong), float(interval.low), float(interval.high)


def _bootstrap(unsafe: np.ndarray, said: np.ndarray, simple: np.ndarray) -> tuple[float, ...]:
    """Interval of balanced accuracy; gain over the simple rule and its interval."""
    if not unsafe.any() or unsafe.all():
        return (math.nan,) * 5
    rng = np.random.default_rng(0)
    drawn = []
    for truth in (True, False):
        places = np.flatnonzero(unsafe == truth)
        picked = rng.choice(places, (DRAWS, len(places)))
        drawn.append([(calls[picked] == truth).mean(axis=1) for calls in (said, simple)])
    own, other = ((drawn[0][i] + drawn[1][i]) / 2 for i in (0, 1))
    better = (said == unsafe).astype(float) - (simple == unsafe)
    gain = (better[unsafe].mean() + better[~unsafe].mean()) / 2
    tails = [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2]
    return (*np.percentile(own, tails).tolist(), float(gain), *np.percentile(own - other, tails).tolist())


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "truth against": row["truth"],
        "rule": row["rule"],
        "n": str(row["n"]),
        "unsafe, called unsafe": str(row["unsafe_found"]),
        "unsafe, called safe": str(row["unsafe_missed"]),
        "safe, called unsafe": str(row["safe_refused"]),
        "safe, called safe": str(row["safe_allowed"]),
        "unsafe found": _rate(row, "found_rate", "found"),
        "safe allowed": _rate(row, "allowed_rate", "allowed"),
        "balanced accuracy": _rate(row, "balanced", "balanced"),
        "gain over the bits": _rate(row, "gain", "gain", "+"),
    }


def _rate(row: Mapping[str, Any], name: str, interval: str, sign: str = "") -> str:
    if math.isnan(row[name]):
        return NONE
    low, high = row[f"{interval}_low"], row[f"{interval}_high"]
    ends = "" if math.isnan(low) else f" [{low:{sign}.2f}, {high:{sign}.2f}]"
    return f"{row[name]:{sign}.2f}{ends}"


def _notes(item: ItemTables, cases: pd.DataFrame, frame: pd.DataFrame) -> list[str]:
    context, advice = item.context, item.probes["advice"]
    notes = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    notes.append(
        f"scale {context['scale']}; trainings on {context['device']} ({context['processor']}), {context['threads']} "
        f"thread(s) per run; {len(cases)} cases in {cases['part'].nunique() if len(cases) else 0} sets of trainings"
    )
    notes += [f"{name}: {data.title}, at {data.grid(data.resolutions[0])}" for name, data in item.parts.items()]
    if cases.empty:
        return [*notes, "no case: nothing is trained at this scale"]
    for name, value in TRUTHS.items():
        n = int(cases[name].dropna().astype(bool).sum())
        notes.append(f"{n} of {int(cases[name].notna().sum())} cases are unsafe against {value}")
    evidence = "; ".join(f"{kind}: {n}" for kind, n in cases["evidence"].value_counts().items())
    return [
        *notes,
        "unsafe, fixed before the runs: a run diverged, or the final L2 test error on the training grid is in the "
        f"paired mean over seeds more than {100 * MARGIN:g} % above full precision's; "
        f"{int((cases['pairs'] + cases['diverged'] <= 1).sum())} cases have one seed, so that the truth is uncertain",
        f"the advice: asked before training, of untrained weights, fraction {advice['fraction'].iloc[0]:g}, tolerance "
        f"{advice['tolerance'].iloc[0]:g}; its errors are measured ({evidence}), the discretization error is an "
        "estimate",
        "balanced accuracy: mean of the two rates; intervals: 95 %, Wilson's for the rates, percentiles of 10,000 "
        "draws of cases within safe and within unsafe ones for the rest. Cases on one data set are not independent, so "
        "they are too narrow",
        _verdict(frame.to_dict("records")[0]),
    ]


def _verdict(row: Mapping[str, Any]) -> str:
    if math.isnan(row["gain"]):
        return "safe or unsafe cases are missing, so that no rule can be told from another"
    if row["gain_low"] > 0:
        return "the advice tells safe from unsafe better than the bits alone, by this interval"
    if row["gain_high"] < 0:
        return "the advice tells safe from unsafe worse than the bits alone, by this interval"
    return "the advice is not shown to be better than the bits alone: the interval of the gain holds zero"
