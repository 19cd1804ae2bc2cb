"""Which of transform, contraction and inverse transform may be in half: all eight triples, on Darcy flow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from scipy import stats

from mpno.paper.arm_rows import arm_cells, arm_notes, arm_row, said, spread, training_loss
from mpno.paper.comparison import error_cell, number_cell, percent_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.records import NONE, ItemData, ItemTables
from mpno.paper.statistics import Change, paired_change
from mpno.paper.style import colour, look, mean_dot, new_figure, seed_dot
from mpno.specs import PrecisionSetting

STEPS = ("transform", "contraction", "inverse transform")
PART = "darcy"


def table(item: ItemTables) -> Table:
    """A row per triple: training loss against FFF, test error, predicted memory, and the published row beside it."""
    data = item.parts[PART]
    frame = numbers(item)
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    effects = _effects({name: training_loss(data, arm) for name, arm in triples(data).items()}, data)
    return Table(frame, shown, _notes(item, frame, effects), roles=list(frame["role"]))


def triples(data: ItemData) -> dict[str, str]:
    """The arm of each triple, FFF to HHH, in the order of the file; the control is none of them."""
    arms = [arm for arm in data.context["arms"] if arm["role"] == "setting"]
    return {PrecisionSetting.model_validate(arm["label"]).triple: arm["name"] for arm in arms}


def numbers(item: ItemTables) -> pd.DataFrame:
    """One row per arm. Changes are against FFF; the simultaneous interval holds for all seven triples together."""
    data = item.parts[PART]
    found = triples(data)
    names = {arm: triple for triple, arm in found.items()}
    base = training_loss(data, found["FFF"])
    confidence = data.context["compare"]["confidence"]
    together = 1 - (1 - confidence) / max(1, len(found) - 1)
    large = _published_size(item)
    stated = {metric: _said(item.reference, metric) for metric in ("seconds_per_epoch", "memory", "train_l2")}
    rows = []
    for arm in data.arm_names:
        triple = names.get(arm, "")
        row = {"triple": triple, **dict(zip(STEPS, triple or "HHH", strict=True)), **arm_row(data, arm)}
        losses = training_loss(data, arm)
        row |= spread("train", losses)
        if triple != "FFF":
            each, joint = (paired_change(losses, base, confidence=level) for level in (confidence, together))
            row |= _columns("train_change", each) | {"train_joint_low": joint.low, "train_joint_high": joint.high}
            row["differs"] = joint.told_apart if len(joint.each) > 1 else None
        row["published_size_bytes"] = large.get(row["setting"], math.nan)
        row |= {f"published_{metric}": values.get(triple, math.nan) for metric, values in stated.items()}
        rows.append(row)
    frame = pd.DataFrame(rows)
    for column in ("predicted_bytes", "published_size_bytes", "published_memory"):
        frame[f"{column}_of_fff"] = frame[column] / _base(frame)[column]
    return frame


def _base(frame: pd.DataFrame) -> dict[Any, Any]:
    return frame.query("triple == 'FFF'").to_dict("records")[0]


def _columns(name: str, change: Change) -> dict[str, float]:
    return {name: change.mean, f"{name}_low": change.low, f"{name}_high": change.high}


def _published_size(item: ItemTables) -> dict[str, float]:
    """Predicted peak bytes at the published size, by setting."""
    frame = item.probes.get("published-size")
    return {} if frame is None else dict(zip(frame["setting"], frame["peak"], strict=True))


def _said(reference: pd.DataFrame, metric: str) -> dict[str, float]:
    """The published values of a column, by triple."""
    return {row["setting"].upper(): row["value"] for row in said(reference, metric=metric)}


def _effects(values: Mapping[str, Mapping[int, float]], data: ItemData) -> dict[str, Change]:
    """What each step in half changes, in the mean over the four pairs of triples that differ in this step alone.

    Four pairs to each seed and three questions instead of seven: what a design of 2 x 2 x 2 is for. Nothing where a
    triple is missing.
    """
    out: dict[str, Change] = {}
    for place, step in enumerate(STEPS if len(values) == 2 ** len(STEPS) else ()):
        low, high = ({t: v for t, v in values.items() if t[place] == letter} for letter in "HF")
        seeds = set.intersection(*(set(each) for each in values.values()))
        mean = {}
        for letter, group in (("H", low), ("F", high)):
            mean[letter] = {s: math.exp(sum(math.log(v[s]) for v in group.values()) / len(group)) for s in seeds}
        out[step] = paired_change(mean["H"], mean["F"], confidence=data.context["compare"]["confidence"])
    return out


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    cells = arm_cells(row)
    joint = row["differs"]
    judged = NONE if joint is None or row["triple"] == "FFF" or pd.isna(joint) else ("yes" if joint else "no")
    return {
        "triple": row["triple"] or f"control: {row['setting']}",
        "evidence": cells["evidence"],
        "seeds": cells["seeds"],
        "training loss": error_cell(row["train_mean"], row["train_std"]),
        "change": percent_cell(row["train_change"], row["train_change_low"], row["train_change_high"]),
        "differs": judged,
        "test L2": cells["L2"],
        "change of L2": cells["change"],
        "points of L2": cells["points"],
        "verdict": cells["verdict"],
        "s/epoch": cells["s/epoch"],
        "predicted MiB": _with_share(row, "predicted_bytes", 2**20, 1),
        "predicted GiB, published size": _with_share(row, "published_size_bytes", 2**30, 2),
        "published MB": _with_share(row, "published_memory", 1, 0),
        "published s": number_cell(row["published_seconds_per_epoch"], 2),
        "published train L2": number_cell(row["published_train_l2"], 2),
    }


def _with_share(row: Mapping[str, Any], column: str, unit: float, digits: int) -> str:
    """An amount, and how much that is of FFF's."""
    share = f" ({100 * row[f'{column}_of_fff']:.0f} %)" if not math.isnan(row[column]) else ""
    return number_cell(row[column] / unit, digits) + share


def _notes(item: ItemTables, frame: pd.DataFrame, effects: Mapping[str, Change]) -> list[str]:
    data = item.parts[PART]
    confidence = data.context["compare"]["confidence"]
    count = len(triples(data)) - 1
    steps = "; ".join(
        f"{step} {percent_cell(change.mean, change.low, change.high)}" for step, change in effects.items()
    )
    theirs = published_effects(item.reference)
    return [
        *arm_notes(item.context, item.parts),
        "triple: transform, contraction, inverse transform, F in fp32, H in fp16; all with AMP and tanh, so that FFF "
        "to HHH differ in the three steps alone. Whether the published rows had AMP and tanh is not stated",
        "training loss: mean relative H1 error over the last epoch, mean ± sample standard deviation over seeds; "
        f"changes, here and of L2: against FFF, paired by seed, with the {100 * confidence:g} % t interval",
        f"differs: yes where the interval at {100 * (1 - (1 - confidence) / max(1, count)):.2f} % excludes no change, "
        f"so that all {count} comparisons hold together at {100 * confidence:g} % (Bonferroni)",
        *([f"each step in half, in the mean over the four pairs that differ in it alone: {steps}"] if steps else []),
        *([f"the same from the published train errors, which have no seeds: {theirs}"] if theirs else []),
        "published size: 128 x 128, batch 64, CP weights of rank 0.05, 64 x 64 modes, width 32; in brackets the share "
        f"of FFF's. {_agreement(frame)}",
        "published: review discussion, graphics card not named, memory of the process, one run each; unit of the train "
        "error not given; HHH 7.49 against HFH 7.51 without seeds is a tie",
        "columns of other hardware stand beside each other for their order, not for their sizes",
    ]


def published_effects(reference: pd.DataFrame) -> str:
    """What each step in half changes of the published train error, in the geometric mean over its four pairs."""
    values = _said(reference, "train_l2")
    if len(values) < 2 ** len(STEPS):
        return ""
    parts = []
    for place, step in enumerate(STEPS):
        logs = [math.log(value) * (1 if triple[place] == "H" else -1) for triple, value in values.items()]
        parts.append(f"{step} {100 * math.expm1(2 * sum(logs) / len(logs)):+.1f} %")
    return "; ".join(parts)


def _agreement(frame: pd.DataFrame) -> str:
    """How far the predicted order of memory is the published one."""
    known = frame.dropna(subset=["published_size_bytes", "published_memory"])
    if len(known) < 3:
        return "Orders of memory are not compared: too few values"
    tau, _ = stats.kendalltau(known["published_size_bytes"], known["published_memory"])
    return f"Kendall's tau-b between predicted and published memory: {tau:.2f} over {len(known)} triples"


def figure(item: ItemTables) -> Drawing:
    """Four panels over the eight triples: loss, test error and predicted memory here; the published values apart."""
    data = item.parts[PART]
    found = triples(data)
    frame = numbers(item)
    rows = frame.query("triple != ''").reset_index(drop=True)
    places = {triple: len(found) - 1 - index for index, triple in enumerate(found)}
    points: list[dict[str, Any]] = []
    with look():
        drawn, panels = new_figure(2.2, 4)
        losses = {triple: training_loss(data, arm) for triple, arm in found.items()}
        metric, grid = data.context["compare"]["metric"], data.resolutions[0]
        errors = {triple: data.values(arm, metric, grid) for triple, arm in found.items()}
        evidence = dict(zip(rows["triple"], rows["evidence"], strict=True))
        for axes, name, values in ((panels[0], "training loss", losses), (panels[1], "test L2", errors)):
            points += _seeds(axes, name, values, places, evidence)
        points += _shares(
            panels[2], rows, places, {"here": "predicted_bytes", "published size": "published_size_bytes"}
        )
        points += _shares(panels[3], rows, places, {"memory": "published_memory", "train error": "published_train_l2"})
        titles = ("(a) training loss", f"(b) test {metric.upper()}", "(c) predicted memory", "(d) published (GPU)")
        for axes, title in zip(panels, titles, strict=True):
            axes.set(title=title, xlabel="change against FFF, %", ylim=(-0.6, len(places) - 0.4))
            axes.locator_params(axis="x", nbins=3)
            axes.set_yticks(list(places.values()), list(places) if axes is panels[0] else [""] * len(places))
            axes.axvline(0, color="0.7", linewidth=0.6, zorder=0)
            axes.spines[["top", "right"]].set_visible(False)
    caption = (
        "Transform, contraction and inverse transform in fp32 (F) or fp16 (H). (a, b) Each seed (small) and their mean "
        "(large), hollow where fp16 is simulated or emulated; (c) predicted from traced shapes and dtypes; (d) the "
        "published values (review discussion, a GPU that is not named, one run each) in a panel of their own."
    )
    alt = "Dot plots of the change against FFF for eight triples: loss, test error, predicted and published memory."
    return Drawing(drawn, pd.DataFrame(points), caption, alt)


def _seeds(
    axes: Any,
    name: str,
    values: Mapping[str, Mapping[int, float]],
    places: Mapping[str, int],
    evidence: Mapping[str, str],
) -> list[dict[str, Any]]:
    points = []
    for triple, each in values.items():
        change = paired_change(each, values["FFF"])
        shade = colour("mixed" if "H" in triple else "amp")
        for seed, value in zip(sorted(set(each) & set(values["FFF"])), change.each, strict=True):
            axes.plot(100 * value, places[triple], "o", **seed_dot(shade))
            points.append(
                {"panel": name, "triple": triple, "seed": seed, "change": value, "evidence": evidence[triple]}
            )
        axes.plot(100 * change.mean, places[triple], "o", **mean_dot(shade, evidence[triple]))
    return points


def _shares(
    axes: Any, rows: pd.DataFrame, places: Mapping[str, int], columns: Mapping[str, str]
) -> list[dict[str, Any]]:
    points = []
    base = _base(rows)
    for (name, column), marker, shade in zip(columns.items(), ("s", "^"), ("0.25", "0.6"), strict=True):
        change = rows[column] / base[column] - 1
        heights = [places[triple] for triple in rows["triple"]]
        axes.plot(100 * change, heights, marker, color=shade, markersize=3.5, label=name, linestyle="none")
        kind = "published" if column.startswith("published_") and column != "published_size_bytes" else "predicted"
        points += [
            {"panel": f"{kind}: {name}", "triple": triple, "change": value, "evidence": kind}
            for triple, value in zip(rows["triple"], change, strict=True)
        ]
    axes.legend(
        frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, handletextpad=0, columnspacing=0.5
    )
    return points
