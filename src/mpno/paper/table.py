"""A table as files: csv from the numbers, md and tex from what a reader sees, each with the notes it must keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mpno.paper.comparison import power
from mpno.paper.models_table import format_models, models_table
from mpno.paper.records import NONE, ItemData
from mpno.paper.settings_table import NAMES, format_settings, settings_table
from mpno.specs.files import write_text

FORMS = {"settings": (settings_table, format_settings), "models": (models_table, format_models)}
"""By form, how the numbers of a table are made and how they are shown."""


def build_table(data: ItemData) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of an item in its own form: the numbers, and the text cells that a reader sees."""
    numbers, shown = FORMS[data.context["form"]]
    frame = numbers(data)
    return frame, shown(frame)


def table_notes(data: ItemData) -> list[str]:
    """What a copied table must keep: scale, device, evidence, how each column came about."""
    context = data.context
    compare = context["compare"]
    grid = data.grid(data.resolutions[0])
    against = "the setting under vs" if context["form"] == "settings" else "the same model in full"
    notes = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    notes += [
        f"scale {context['scale']}: {data.title}, at {grid}, "
        f"{context['data']['n_train']} training and {context['data']['n_test']} test samples, "
        f"{_epochs(data)} epochs; on {context['device']} ({context['processor']}), "
        f"{context['threads']} thread(s) per run",
        f"evidence: {_evidence_note(data)}",
        "; ".join(
            [
                "errors: relative, after the last epoch, mean ± sample standard deviation over seeds",
                *(f"@{r}: tested at {data.grid(r)}, zero-shot" for r in data.resolutions[1:]),
            ]
        ),
        *(_learned_notes(compare) if context["form"] == "models" else []),
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
            f"diverged: {_named(data, row)}, seed {row['seed']}, epoch {row['diverged_epoch']:.0f}, "
            f"step {row['diverged_step']:.0f}: first not finite in {row['diverged_where']}"
        )
    untimed: dict[str, list[str]] = {}
    for row in data.arms.dropna(subset=["why_untimed"]).to_dict("records"):
        untimed.setdefault(row["why_untimed"], []).append(_named(data, row))
    notes += [f"no time for {', '.join(dict.fromkeys(names))}: {why}" for why, names in untimed.items()]
    return notes


def save_table(data: ItemData, out: str | Path) -> pd.DataFrame:
    """Write csv (numbers), md and tex (as read) of the table into the folder `out`; return what a reader sees."""
    folder = Path(out)
    name = data.context["item"]
    frame, shown = build_table(data)
    notes = table_notes(data)
    head = "".join(f"# {line}\n" for line in [data.context["title"], *notes])
    write_text(folder / f"{name}.csv", head + frame.to_csv(index=False))
    write_text(folder / f"{name}.md", _markdown(data.context["title"], shown, notes))
    write_text(folder / f"{name}.tex", _latex(name, data.context["title"], shown, notes))
    return shown


def _epochs(data: ItemData) -> str:
    return " or ".join(str(epochs) for epochs in sorted({arm["epochs"] for arm in data.context["arms"]}))


def _learned_notes(compare: dict[str, Any]) -> list[str]:
    share = f"{100 * compare['learned']:g} %"
    return [
        "mean predictor: the error of the mean training target whatever the input; 1 epoch: the model's own after one",
        f"learned: the last error is at most {share} of either, fixed beforehand, each seed for itself",
    ]


def _named(data: ItemData, row: dict[str, Any]) -> str:
    """An arm in running text; by its model too where there are several."""
    model = f"{row['model']} " if data.context["form"] == "models" else ""
    return f"{model}{row['setting']} ({row['transform']})"


def _evidence_note(data: ItemData) -> str:
    groups: dict[str, list[str]] = {}
    for row in data.arms.to_dict("records"):
        groups.setdefault(row["evidence"], []).append(_named(data, row))
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
