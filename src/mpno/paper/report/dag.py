"""The workflow's rules and what needs what, drawn as SVG."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

COLUMNS = (
    ("download", "data"),
    ("train", "time", "memory"),
    ("probe", "probe_alone"),
    ("collect",),
    ("table", "table_and_figure", "figure", "claims"),
    ("report", "records"),
    ("all",),
)
"""The rules from left to right, none before what it needs."""
_DATA = {"download", "data"}
_RECORDS = {"train", "time", "memory", "probe", "probe_alone"}
_DRAWN = {"table", "figure", "table_and_figure"}
NEEDS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("train", "time", "memory"), frozenset(_DATA)),
    "probe": frozenset(_DATA | {"train"}),
    "probe_alone": frozenset(),
    "collect": frozenset(_RECORDS),
    **dict.fromkeys((*_DRAWN, "claims"), frozenset({"collect"})),
    "report": frozenset(_DRAWN | {"collect", "claims"}),
    "records": frozenset(_RECORDS | _DRAWN | {"collect"}),
    "all": frozenset(_RECORDS | {"report", "records", "claims"}),
}
_WIDE, _HIGH, _ACROSS, _DOWN = 122, 44, 158, 64


def draw_rules(jobs: Mapping[str, int]) -> Markup:
    """The rules with the number of jobs of each; a rule without jobs in this plan is drawn faint."""
    tallest = max(map(len, COLUMNS)) * _DOWN
    at = {
        rule: (8 + column * _ACROSS, 8 + (tallest - len(rules) * _DOWN) / 2 + row * _DOWN)
        for column, rules in enumerate(COLUMNS)
        for row, rule in enumerate(rules)
    }
    edges = [_edge(at[need], at[rule], rule) for rule, needs in NEEDS.items() for need in sorted(needs)]
    nodes = [_node(rule, *place, jobs.get(rule, 0)) for rule, place in at.items()]
    said = ", ".join(f"{rule} {count}" for rule, count in jobs.items())
    size = f"0 0 {len(COLUMNS) * _ACROSS - 20} {tallest + 8}"
    says = f"The rules of the workflow and what needs what; jobs of each: {said}"
    head = Markup('<svg class="rules" viewBox="{}" role="img" aria-label="{}">').format(size, says)
    return head + Markup("").join([*edges, *nodes]) + Markup("</svg>")


def _edge(start: tuple[float, float], end: tuple[float, float], rule: str) -> Markup:
    x, y = start[0] + _WIDE, start[1] + _HIGH / 2
    to_x, to_y = end[0], end[1] + _HIGH / 2
    bend = min(60.0, (to_x - x) / 2)
    kind = "check" if rule in ("records", "all") else "flow"
    return Markup('<path class="{}" d="M{:g} {:g}C{:g} {:g} {:g} {:g} {:g} {:g}"/>').format(
        kind, x, y, x + bend, y, to_x - bend, to_y, to_x, to_y
    )


def _node(rule: str, x: float, y: float, jobs: int) -> Markup:
    shape = '<g class="{}"><rect x="{:g}" y="{:g}" width="{}" height="{}" rx="8"/>'
    words = '<text x="{:g}" y="{:g}">{}</text><text class="count" x="{:g}" y="{:g}">{}</text></g>'
    middle, count = x + _WIDE / 2, f"{jobs} job{'s' * (jobs != 1)}"
    box = Markup(shape).format("node" if jobs else "node idle", x, y, _WIDE, _HIGH)
    return box + Markup(words).format(middle, y + 19, rule.replace("_", " "), middle, y + 35, count)
