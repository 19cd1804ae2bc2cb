"""The table of precision settings: one numeric frame, from which csv, md and tex are made."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mpno.paper.records import NONE, ItemData
from mpno.paper.statistics import Change, paired_change, verdict
from mpno.specs.files import write_text
from mpno.specs.sets import errors_of

NAMES = {"l2": "L2", "h1": "H1"}


def settings_table(data: ItemData) -> pd.DataFrame:
    """One row per arm: errors as mean and sample standard deviation over seeds, the paired change, time and memory.

    Errors are relative; seconds are the median of exclusive timings, for native settings only; bytes are predicted.
    """
    compare = data.context["compare"]
    rows = []
    for arm in data.context["arms"]:
        timed = data.arms.set_index("arm").loc[arm["name"]]
        row: dict[str, Any] = {
            "setting": arm["label"],
            "transform": arm["transform"],
            "recipe": arm["recipe"],
            "role": arm["role"],
            "evidence": timed["evidence"],
            "seeds": len(arm["runs"]),
            "diverged": data.diverged(arm["name"]),
        }
        for metric in errors_of(data.context["data"]["name"]):
            for resolution in data.resolutions:
                values = np.array(list(data.values(arm["name"], metric, resolution).values()))
                row[f"{metric}@{resolution}_mean"] = values.mean() if len(values) else math.nan
                row[f"{metric}@{resolution}_std"] = values.std(ddof=1) if len(values) > 1 else math.nan
        change = _change(data, arm["name"], arm["against"])
        row |= {"against": _against(data, arm["against"]), "change": change.mean}
        row |= {"change_low": change.low, "change_high": change.high}
        row["verdict"] = _verdict(data, arm, change, compare)
        row |= {"seconds_per_epoch": timed["seconds"], "predicted_bytes": timed["predicted_peak"]}
        rows.append(row)
    return pd.DataFrame(rows)


def power(data: ItemData, arm: dict[str, Any]) -> bool | None:
    """Whether the control is told from each of its references; None where no control shares the arm's recipe."""
    rule = data.context["compare"]["power"]
    arms = {entry["name"]: entry for entry in data.context["arms"]}
    if rule is None or rule["control"] not in arms or not set(rule["told_from"]) <= set(arms):
        return None
    control = arms[rule["control"]]
    if (control["transform"], control["recipe"]) != (arm["transform"], arm["recipe"]):
        return None
    return all(_change(data, control["name"], name).told_apart for name in rule["told_from"])


def format_settings(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as a reader sees it: text cells, an en dash where there is no number."""
    errors = [column.removesuffix("_mean") for column in frame if column.endswith("_mean")]
    rows = []
    for row in frame.to_dict("records"):
        shown = {key: str(row[key]) for key in ("setting", "transform", "recipe", "evidence")}
        shown["seeds"] = f"{row['seeds'] - row['diverged']} of {row['seeds']}" if row["diverged"] else str(row["seeds"])
        for name in errors:
            metric, resolution = name.split("@")
            shown[f"{NAMES[metric]}@{resolution}"] = _error(row[f"{name}_mean"], row[f"{name}_std"])
        shown["vs"] = row["against"] if isinstance(row["against"], str) else NONE
        shown["change"] = _percent(row["change"], row["change_low"], row["change_high"])
        shown["verdict"] = row["verdict"] or NONE
        shown["s/epoch"] = _number(row["seconds_per_epoch"], 2)
        shown["predicted MiB"] = _number(row["predicted_bytes"] / 2**20, 1)
        rows.append(shown)
    return pd.DataFrame(rows)


def table_notes(data: ItemData) -> list[str]:
    """What a copied table must keep: scale, device, evidence, how each column came about."""
    context = data.context
    compare = context["compare"]
    grid = data.grid(data.resolutions[0])
    notes = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    notes += [
        f"scale {context['scale']}: {data.title}, at {grid}, "
        f"{context['data']['n_train']} training and {context['data']['n_test']} test samples, "
        f"{context['epochs']} epochs; on {context['device']} ({context['processor']}), "
        f"{context['threads']} thread(s) per run",
        f"evidence: {_evidence_note(data)}",
        "errors: relative, after the last epoch, mean ± sample standard deviation over seeds; "
        + "; ".join(f"@{r}: tested at {data.grid(r)}, zero-shot" for r in data.resolutions[1:]),
        f"change: of {NAMES[compare['metric']]}@{data.resolutions[0]} against the setting under vs, relative, paired "
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
            f"diverged: {row['setting']} ({row['transform']}), seed {row['seed']}, epoch {row['diverged_epoch']:.0f}, "
            f"step {row['diverged_step']:.0f}: first not finite in {row['diverged_where']}"
        )
    untimed: dict[str, list[str]] = {}
    for row in data.arms.dropna(subset=["why_untimed"]).to_dict("records"):
        untimed.setdefault(row["why_untimed"], []).append(f"{row['setting']} ({row['transform']})")
    notes += [f"no time for {', '.join(dict.fromkeys(names))}: {why}" for why, names in untimed.items()]
    return notes


def save_table(data: ItemData, out: str | Path) -> pd.DataFrame:
    """Write csv (numbers), md and tex (as read) of the table into the folder `out`; return what a reader sees."""
    folder = Path(out)
    name = data.context["item"]
    frame = settings_table(data)
    shown = format_settings(frame)
    notes = table_notes(data)
    head = "".join(f"# {line}\n" for line in [data.context["title"], *notes])
    write_text(folder / f"{name}.csv", head + frame.to_csv(index=False))
    write_text(folder / f"{name}.md", _markdown(data.context["title"], shown, notes))
    write_text(folder / f"{name}.tex", _latex(name, data.context["title"], shown, notes))
    return shown


def _change(data: ItemData, arm: str, against: str | None) -> Change:
    compare = data.context["compare"]
    if against is None or against not in data.arm_names:
        return Change((), math.nan, math.nan, math.nan)
    metric, resolution = compare["metric"], data.resolutions[0]
    return paired_change(
        data.values(arm, metric, resolution),
        data.values(against, metric, resolution),
        confidence=compare["confidence"],
    )


def _against(data: ItemData, name: str | None) -> str | None:
    found = [arm for arm in data.context["arms"] if arm["name"] == name]
    return f"{found[0]['label']} ({found[0]['transform']})" if found else None


def _verdict(data: ItemData, arm: dict[str, Any], change: Change, compare: dict[str, Any]) -> str:
    diverged = data.diverged(arm["name"])
    if arm["against"] not in data.arm_names:
        return f"diverged in {diverged}" if diverged else ""
    if arm["role"] == "control" and not diverged and len(change.each) > 1:
        return "control: told apart" if change.told_apart else "control: not told apart"
    return verdict(change, margin=compare["margin"], power=power(data, arm), diverged=diverged)


def _evidence_note(data: ItemData) -> str:
    groups: dict[str, list[str]] = {}
    for row in data.arms.to_dict("records"):
        groups.setdefault(row["evidence"], []).append(f"{row['setting']} ({row['transform']})")
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


def _error(mean: float, std: float) -> str:
    if math.isnan(mean):
        return NONE
    digits = 4 if mean >= 0.02 else 5
    return f"{mean:.{digits}f}" + ("" if math.isnan(std) else f" ± {std:.{digits}f}")


def _number(value: float, digits: int) -> str:
    return NONE if math.isnan(value) else f"{value:.{digits}f}"


def _percent(mean: float, low: float, high: float) -> str:
    if math.isnan(mean):
        return NONE
    interval = "" if math.isnan(low) else f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{100 * mean:+.1f} %{interval}"


def _markdown(title: str, shown: pd.DataFrame, notes: list[str]) -> str:
    table = shown.to_markdown(index=False, disable_numparse=True)
    return f"**{title}**\n\n{table}\n\n" + "\n".join(f"- {note}" for note in notes) + "\n"


def _latex(name: str, title: str, shown: pd.DataFrame, notes: list[str]) -> str:
    body = (
        shown.rename(columns=_escape)
        .map(_escape)
        .to_latex(index=False, escape=False, column_format="l" * len(shown.columns))
    )
    caption = _escape(f"{title}. " + " ".join(f"{note[0].upper()}{note[1:]}." for note in notes))
    head = "".join(f"% {line}\n" for line in [title, *notes]) + "% needs the packages booktabs and graphicx\n"
    return (
        f"{head}\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n\\label{{tab:{name}}}\n"
        f"\\resizebox{{\\textwidth}}{{!}}{{%\n{body.rstrip()}}}\n\\end{{table}}\n"
    )


def _escape(text: str) -> str:
    """Make `text` safe in LaTeX."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        NONE: "--",
    }
    special |= {char: f"\\{char}" for char in "&%$#_{}"}
    return "".join(special.get(char, char) for char in text)
