"""The figures that docs/questions.md and ARTIFACT.md quote, read again from the published tables.

A guide writes a figure and names its reader in a comment behind it, as in ``48.2 %<!--saved-mixed-->``.
"""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false, reportOperatorIssue=false

from __future__ import annotations

import math
import re
import statistics
import tomllib
from collections.abc import Callable
from functools import cache
from typing import Any

import pandas as pd

from mpno.paper import ItemData, load_item, paired_change
from mpno.paper.comparison import percent_cell
from mpno.paper.published import ERROR
from mpno.paper.statistics import Change
from mpno.plan import Plan, load_plan

from .paths import ROOT

TIDY = ROOT / "results" / "published" / "tidy"
Reader = Callable[[], str]


@cache
def part(item: str, name: str) -> ItemData:
    return load_item(TIDY / item).parts[name]


@cache
def table(item: str, name: str) -> pd.DataFrame:
    return pd.read_csv(TIDY / item / f"{name}.csv")


def rows(item: str, name: str, **wanted: Any) -> pd.DataFrame:
    """The rows whose columns hold what is wanted; at least one."""
    found = table(item, name)
    for column, value in wanted.items():
        found = found[found[column] == value]
    assert len(found), f"{item}/{name}.csv has no row with {wanted}"
    return found


def one(item: str, name: str, column: str, **wanted: Any) -> Any:
    """The cell of the one row whose columns hold what is wanted."""
    found = rows(item, name, **wanted)
    assert len(found) == 1, f"{item}/{name}.csv has {len(found)} rows with {wanted}"
    return found[column].iloc[0]


def change(item: str, name: str, arm: str, against: str = "full", metric: str = "l2") -> Change:
    data = part(item, name)
    resolution = data.resolutions[0]
    return paired_change(data.values(arm, metric, resolution), data.values(against, metric, resolution))


def changed(item: str, name: str, arm: str, against: str = "full") -> Reader:
    """The relative change of L2 with its interval, seeds and evidence class."""

    def read() -> str:
        found = change(item, name, arm, against)
        evidence = one(item, "arms", "evidence", part=name, arm=arm)
        seeds = "one seed" if len(found.each) == 1 else f"{len(found.each)} seeds"
        return f"{percent_cell(found.mean, found.low, found.high)} ({seeds}, {evidence})"

    return read


def published(item: str, setting: str, metric: str, **more: Any) -> float:
    """The mean of the paper's values."""
    return float(rows(item, "reference", setting=setting, metric=metric, **more)["value"].mean())


def published_change(item: str, setting: str, **more: Any) -> Reader:
    return lambda: (
        f"{100 * (published(item, setting, 'l2', **more) / published(item, 'full', 'l2', **more) - 1):+.1f} %"
    )


def saved(less: str, more: str) -> Reader:
    """The share of predicted memory that one case takes less than another."""

    def read() -> str:
        values = [float(one("predicted-memory", "cases", "shown", case=case)) for case in (less, more)]
        return f"{100 * (1 - values[0] / values[1]):.1f} %"

    return read


def saved_published(setting: str, card: str) -> Reader:
    def read() -> str:
        values = [published("predicted-memory", f"ns {name}", "memory", conditions=card) for name in (setting, "full")]
        return f"{100 * (1 - values[0] / values[1]):.1f} %"

    return read


def memory(case: str) -> Reader:
    return lambda: f"{one('predicted-memory', 'cases', 'shown', case=case):,.0f}"


def memory_published(setting: str) -> Reader:
    return lambda: f"{published('predicted-memory', setting, 'memory'):,.0f}"


def saving_published(setting: str, digits: int) -> Reader:
    return lambda: f"{published('predicted-memory', setting, 'memory_saving'):.{digits}f} %"


def layer_saved(less: str, more: str) -> Reader:
    """Of the peak of one Navier-Stokes layer."""

    def read() -> str:
        wanted = {"ablation": "options", "layer": "Navier-Stokes", "quantity": "peak"}
        values = [float(one("contraction", "choices", "value", choice=choice, **wanted)) for choice in (less, more)]
        return f"{100 * (1 - values[0] / values[1]):.1f} %"

    return read


def in_half(setting: str) -> Reader:
    """How many of the three steps of the spectral block hold fp16 in a trace of the code that trains."""

    def read() -> str:
        steps = ("forward transform", "contraction", "inverse transform")
        trace = rows("block-diagram", "trace", part="navier-stokes", setting=setting)
        return f"{sum(trace.set_index('step').loc[step, 'format'] == 'fp16' for step in steps)} of {len(steps)}"

    return read


def training_loss(arm: str) -> Reader:
    """The paired change of the last training loss against FFF."""

    def read() -> str:
        frame = rows("half-operations", "history", part="darcy", metric="l2", resolution=16)
        last = frame[frame["epoch"] == frame["epoch"].max()]
        ends = [last[last["arm"] == name].set_index("seed")["train_loss"].to_dict() for name in (arm, "fff")]
        found = paired_change(*ends)
        return f"{percent_cell(found.mean, found.low, found.high)} ({len(found.each)} seeds, simulated)"

    return read


def fp8_ratio(name: str, arm: str) -> Reader:
    """The last training loss over FP16's, seed by seed."""

    def read() -> str:
        frame = rows("fp8", "history", part=name, metric="l2")
        last = frame[frame["epoch"] == frame["epoch"].max()].drop_duplicates(["arm", "seed"])
        ends = [last[last["arm"] == one_arm].set_index("seed")["train_loss"] for one_arm in (arm, "mixed")]
        ratios = (ends[0] / ends[1]).dropna()
        shown = " ".join(f"{ratio:.2f}" for ratio in ratios)
        return f"{shown} ({'one seed' if len(ratios) == 1 else f'{len(ratios)} seeds'}, simulated)"

    return read


def stopped(arm: str) -> Reader:
    """How many seeds of an arm on stabilisers left the finite numbers, and within how many batches."""

    def read() -> str:
        found = rows("stabilisers", "overflow", part="darcy", arm=arm)
        ended = found[found["status"] == "diverged"]
        if ended.empty:
            return f"0 of {len(found)} in {found['batch'].max():.0f} batches"
        return f"{len(ended)} of {len(found)} within {ended['batch'].max():.0f} batches"

    return read


def unclipped() -> str:
    """Where the first step of an untrained model is not finite, in e4m3 after tanh."""
    found = rows("fp8", "first-step", precision="mixed-fp8_e4m3", finite=False)
    return " and ".join(f"{points}x{points}" for points in sorted(set(found["resolution"])))


def rounded(value: float) -> str:
    """Two significant digits."""
    return f"{float(f'{value:.2g}'):,.{1 if value < 10 else 0}f}"


def share_of_bound(name: str, what: str) -> float:
    """The median error on the finest grid over its upper bound, input and target alike; the larger of both."""
    frame = table("theory-errors", name)
    frame = frame[(frame["m"] == frame["m"].max()) & (frame["format"].isin(["fp16"]) | frame["format"].isna())]
    shares = []
    for view in ("input", "target"):
        median = frame[frame["view"] == view].set_index("what")["median"]
        shares.append(float(median[what] / median[f"{what} upper"]))
    return max(shares)


def ratio_of_errors(name: str) -> Reader:
    """The grid's error over fp16's rounding error, on the data's inputs, at 8x8 and on the finest grid."""

    def read() -> str:
        frame = rows("theory-errors", name, view="input")
        shown = []
        for m in (8, frame["m"].max()):
            here = frame[frame["m"] == m]
            grid = here[here["what"] == "disc"]["median"].iloc[0]
            rounding = here[(here["what"] == "prec") & (here["format"] == "fp16")]["median"].iloc[0]
            shown.append(f"{rounded(grid / rounding)} times at {m}x{m}")
        return " and ".join(shown)

    return read


def crossing(system: str, column: str, axes: int = 3) -> Reader:
    return lambda: rounded(one("theory-crossing", "crossing", column, system=system, axes=axes))


def bound_after_tanh(column: str) -> Reader:
    """The median factor over layers of both data sets, in models trained in full."""

    def read() -> str:
        frame = rows("theory-tanh", "constants", arm="full")
        keys = ["part", "layer", "seed"]
        stages = [frame[frame["stage"] == stage].set_index(keys)[column] for stage in ("after", "before")]
        return f"{statistics.median((stages[0] / stages[1]).tolist()):.2f}"

    return read


def small_gradients(column: str) -> Reader:
    """The largest share over layers of the spectral weights' gradients below a constant of fp16 at the end."""

    def read() -> str:
        frame = table("schedule", "gradients")
        found = frame[(frame["moment"] == "trained") & (frame["kind"] == "weights")]
        return f"{100 * found.groupby('layer')[column].mean().max():.2g} %"

    return read


def finer(arm: str) -> Reader:
    """L2 on the finest grid over that on the training grid, the mean over seeds."""

    def read() -> str:
        frame = rows("super-resolution", "finer", arm=arm, method="model")
        ends = [frame[frame["factor"] == factor].set_index("seed")["l2"] for factor in (8.0, 1.0)]
        ratio = ends[0] / ends[1]
        return f"{ratio.mean():.3f} ({len(ratio)} seeds)"

    return read


def speed_up(card: str) -> Reader:
    def read() -> str:
        wanted = {"implementation": "authors", "card": card, "batch": 32}
        cases = [{"case": case, "setting": case, **wanted} for case in ("full", "mixed")]
        seconds = [float(one("predicted-time", "cases", "seconds", **case)) for case in cases]
        return f"{seconds[0] / seconds[1]:.2f} times"

    return read


def speed_up_published(card: str) -> Reader:
    def read() -> str:
        seconds = [published("predicted-time", s, "seconds_per_epoch", conditions=card) for s in ("full", "mixed")]
        return f"{seconds[0] / seconds[1]:.2f} times"

    return read


def largest_training() -> str:
    """The tensors of the training that takes most, as predicted."""
    arms = pd.concat(pd.read_csv(path) for path in sorted(TIDY.glob("*/arms.csv")))
    return f"{arms['predicted_peak'].max() / 2**20:.0f} MiB"


EXPERIMENTS = (
    "block-diagram", "predicted-memory", "stabilisers", "error-curves", "fp8", "contraction", "theory-errors",
    "super-resolution", "half-operations", "schedule", "predicted-time",
)  # fmt: skip
"""The items of ARTIFACT.md, E1 to E11."""


@cache
def planned() -> Plan:
    return load_plan({"scale": "desk", "items": " ".join(EXPERIMENTS)}, root=ROOT)


def minutes(item: str) -> Reader:
    """What the plan states of one core for an item alone at desk, rounded up."""
    return lambda: f"{math.ceil(planned().alone(planned().items[item]) / 60)} min"


def disk(scale: str) -> Reader:
    """What the README's table of scales says of disk."""

    def read() -> str:
        rows = re.findall(rf"^\| `{scale}`.*\| ([^|]+) \|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
        assert len(rows) == 1
        return rows[0]

    return read


READERS: dict[str, Reader] = {
    "ns-mixed": changed("error-curves", "navier-stokes", "mixed"),
    "darcy-mixed": changed("error-curves", "darcy", "mixed"),
    "sfno-mixed": changed("error-curves", "shallow-water", "mixed"),
    "car-mixed": changed("error-curves", "car", "mixed"),
    "ahmed-mixed": changed("error-curves", "ahmed", "mixed"),
    "ns-control": changed("error-curves", "navier-stokes", "mixed-e5m2"),
    "paper-ns-mixed": published_change("error-curves", "mixed", place="Table 1, 128x128"),
    "margin": lambda: f"{100 * part('error-curves', 'navier-stokes').context['compare']['margin']:g} %",
    "half-in-mixed": in_half("mixed"),
    "half-in-amp": in_half("amp"),
    "hhh-loss": training_loss("mixed"),
    "paper-fff": lambda: f"{published('half-operations', 'fff', 'train_l2'):.2f}",
    "paper-hhh": lambda: f"{published('half-operations', 'hhh', 'train_l2'):.2f}",
    "option-c-a": layer_saved("option C", "option A"),
    "option-c-b": layer_saved("option C", "option B"),
    "paper-c-a": saving_published("ns C against A", 2),
    "paper-c-b": saving_published("ns C against B", 2),
    "paper-half": saving_published("ns mixed against full", 0),
    "memory-fff": memory("darcy FFF, 8 layers"),
    "memory-hhh": memory("darcy HHH, 8 layers"),
    "paper-memory-fff": memory_published("darcy FFF"),
    "paper-memory-hhh": memory_published("darcy HHH"),
    "saved-amp": saved("ns amp, batch 16", "ns full, batch 16"),
    "saved-mixed": saved("ns mixed, batch 16", "ns full, batch 16"),
    "saved-mixed-32": saved("ns mixed", "ns full"),
    "paper-saved-amp": saved_published("amp", "V100"),
    "paper-saved-mixed": saved_published("mixed", "V100"),
    "paper-saved-mixed-3090": saved_published("mixed", "RTX 3090 Ti"),
    "fp8-e5m2": fp8_ratio("darcy", "e5m2-clipped"),
    "fp8-e4m3": fp8_ratio("darcy", "e4m3-clipped"),
    "fp8-e5m2-64": fp8_ratio("finer", "e5m2-clipped"),
    "fp8-e4m3-64": fp8_ratio("finer", "e4m3-clipped"),
    "fp8-unclipped": unclipped,
    "none": stopped("none"),
    "loss-scaling": stopped("loss-scaling"),
    "grad-clip": stopped("grad-clip"),
    "delayed-updates": stopped("delayed-updates"),
    "norm": stopped("norm"),
    "pre-scale": stopped("pre-scale"),
    "tanh-finite": stopped("mixed"),
    "ns-tanh": changed("tanh", "navier-stokes", "full-tanh"),
    "paper-ns-tanh": published_change("tanh", "full+tanh"),
    "tanh-grid": bound_after_tanh("disc_upper"),
    "tanh-rounding": bound_after_tanh("prec_upper"),
    "schedule": changed("schedule", "navier-stokes", "schedule"),
    "schedule-mixed": changed("schedule", "navier-stokes", "schedule", "mixed"),
    "paper-schedule": published_change("schedule", "schedule"),
    "below-normal": small_gradients("below_normal"),
    "below-subnormal": small_gradients("below_subnormal"),
    "ratio-darcy": ratio_of_errors("darcy"),
    "ratio-ns": ratio_of_errors("navier-stokes"),
    "ratio-water": ratio_of_errors("shallow-water"),
    "share-ns-grid": lambda: f"{100 * share_of_bound('navier-stokes', 'disc'):.1g} %",
    "share-ns-rounding": lambda: f"{100 * share_of_bound('navier-stokes', 'prec'):.1g} %",
    "crossing-fp16": crossing("fp16", "fast"),
    "crossing-e4m3": crossing("fp8_e4m3", "fast"),
    "finer-full": finer("full"),
    "finer-mixed": finer("mixed"),
    "speed-v100": speed_up("V100"),
    "speed-3090": speed_up("RTX 3090 Ti"),
    "paper-speed-v100": speed_up_published("V100"),
    "paper-speed-3090": speed_up_published("RTX 3090 Ti"),
    "paper-speed-percent": lambda: f"{100 * float(speed_up_published('V100')().removesuffix(' times')) - 100:.0f} %",
    "confidence": lambda: f"{100 * part('error-curves', 'navier-stokes').context['compare']['confidence']:g} %",
    "tolerance": lambda: f"{100 * ERROR:g} %",
    "python": lambda: tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].strip(">="),
    "disk-smoke": disk("smoke"),
    "disk-desk": disk("desk"),
    "largest-training": largest_training,
    **{f"minutes-{item}": minutes(item) for item in EXPERIMENTS},
}
"""What stands before the comment of that name."""


@cache
def told(name: str) -> str:
    return READERS[name]()
