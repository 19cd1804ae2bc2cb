"""What a table says of itself: scale, device, evidence, how each column came about."""

from __future__ import annotations

from typing import Any

from mpno.paper.comparison import power
from mpno.paper.records import ItemData
from mpno.paper.settings_table import NAMES


def table_notes(data: ItemData, *, models: bool = False) -> list[str]:
    """What a copied table must keep: scale, device, evidence, how each column came about.

    Args:
        data: the part that the table shows.
        models: whether its rows are of several models, each compared with itself in full.
    """
    context = data.context
    compare = context["compare"]
    grid = data.grid(data.resolutions[0])
    against = "the same model in full" if models else "the setting under vs"
    notes = [
        f"scale {context['scale']}: {data.title}, at {grid}, "
        f"{context['data']['n_train']} training and {context['data']['n_test']} test samples, "
        f"{_epochs(data)} epochs; on {context['device']} ({context['processor']}), "
        f"{context['threads']} thread(s) per run",
        f"evidence: {_evidence_note(data, models)}",
        "; ".join(
            [
                "errors: relative, after the last epoch, mean ± sample standard deviation over seeds",
                *(f"@{r}: tested at {data.grid(r)}, zero-shot" for r in data.resolutions[1:]),
            ]
        ),
        *(_learned_notes(compare) if models else []),
        f"change: of {NAMES[compare['metric']]}@{data.resolutions[0]} against {against}, relative, paired "
        f"by seed, with the {100 * compare['confidence']:g} % t interval; margin {100 * compare['margin']:g} %, fixed "
        "beforehand",
        _power_note(data),
        "s/epoch: median of exclusive, interleaved timings, only where this processor runs the setting natively",
        "predicted MiB: peak training memory from traced shapes and dtypes, predicted, not measured; none for formats "
        "that no hardware stores",
    ]
    gone = data.errors.dropna(subset=["diverged_epoch"]).drop_duplicates(subset=["run"])
    for row in gone.to_dict("records"):
        notes.append(
            f"diverged: {_named(row, models)}, seed {row['seed']}, epoch {row['diverged_epoch']:.0f}, "
            f"step {row['diverged_step']:.0f}: first not finite in {row['diverged_where']}"
        )
    untimed: dict[str, list[str]] = {}
    for row in data.arms.dropna(subset=["why_untimed"]).to_dict("records"):
        untimed.setdefault(row["why_untimed"], []).append(_named(row, models))
    notes += [f"no time for {', '.join(dict.fromkeys(names))}: {why}" for why, names in untimed.items()]
    return notes


def _epochs(data: ItemData) -> str:
    return " or ".join(str(epochs) for epochs in sorted({arm["epochs"] for arm in data.context["arms"]}))


def _learned_notes(compare: dict[str, Any]) -> list[str]:
    share = f"{100 * compare['learned']:g} %"
    return [
        "mean predictor: the error of the mean training target whatever the input; 1 epoch: the model's own after one",
        f"learned: the last error is at most {share} of either, fixed beforehand, each seed for itself",
    ]


def _named(row: dict[str, Any], models: bool) -> str:
    """An arm in running text; by its model too where there are several."""
    model = f"{row['model']} " if models else ""
    return f"{model}{row['setting']} ({row['transform']})"


def _evidence_note(data: ItemData, models: bool) -> str:
    groups: dict[str, list[str]] = {}
    for row in data.arms.to_dict("records"):
        groups.setdefault(row["evidence"], []).append(_named(row, models))
    return "; ".join(f"{kind}: {', '.join(dict.fromkeys(names))}" for kind, names in groups.items())


def _power_note(data: ItemData) -> str:
    rule = data.context["compare"]["power"]
    arms = {entry["name"]: entry for entry in data.context["arms"]}
    if rule is None or rule["control"] not in arms:
        return "control: none at this scale, so no verdict of equivalence"
    known = power(data, arms[rule["control"]])
    names = " and ".join(arms[name]["label"] for name in rule["told_from"] if name in arms)
    label = arms[rule["control"]]["label"]
    tail = "is told from" if known else "cannot be told from"
    return f"control: {label} {tail} {names}" + ("" if known else ", so no verdict of equivalence")
