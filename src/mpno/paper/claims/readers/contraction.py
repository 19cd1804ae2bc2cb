"""What the contraction's probe says: savings of a choice, and what a cached path leaves of the search."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

from mpno.paper.claims.measured import Measured
from mpno.paper.items.contraction import pair
from mpno.paper.records import ItemTables
from mpno.specs import MpnoError

UNITS = {"peak": "% less memory", "kept": "% less kept for the backward pass"}


def choice_saving(item: ItemTables, ablation: str, quantity: str, choice: str, other: str, layer: str = "") -> Measured:
    """Percent that a choice takes less than another, of a layer or of the one that was timed."""
    own = item.probes["choices"].query("ablation == @ablation")
    own = own[[str(name).startswith(layer) for name in own["layer"]]]
    row = pair(own, quantity, choice, other)
    if row is None:
        raise _lost(item, f"{quantity} of {choice} beside {other}")
    values = own[own["quantity"] == quantity].drop_duplicates("choice").set_index("choice")
    low = high = None
    if row["evidence"] != "predicted":
        low = 100 * (1 - float(values.loc[choice, "high"]) / float(values.loc[other, "low"]))
        high = 100 * (1 - float(values.loc[choice, "low"]) / float(values.loc[other, "high"]))
    return Measured(
        100 * row["saving"], UNITS.get(quantity, "% less time"), row["evidence"], "choices", low, high
    )  # fmt: skip


def search_share(item: ItemTables) -> Measured:
    """Time of the search for a path over that of the contractions, in percent."""
    own = item.probes["choices"].query("ablation == 'caching'")
    row = pair(own, "search", "the search itself", "path cached")
    if row is None:
        raise _lost(item, "the search itself beside the path cached")
    return Measured(100 * row["saving"], "% of the contractions' time", row["evidence"], "choices")


def search_left(item: ItemTables) -> Measured:
    """Share of a search that a call with a cached path still spends: what searching adds, taken from a search."""
    own = item.probes["choices"].query("ablation == 'caching'").set_index(["choice", "quantity"])
    keys = {"searched": ("path searched each time", "forward"), "cached": ("path cached", "forward"),
            "search": ("the search itself", "search")}  # fmt: skip
    if not set(keys.values()) <= set(own.index):
        raise _lost(item, "a path cached beside one searched each time")
    rows = {name: own.loc[key] for name, key in keys.items()}

    def left(searched: str, cached: str, search: str) -> float:
        added = float(rows["searched"][searched]) - float(rows["cached"][cached])
        return 100 * (1 - added / float(rows["search"][search]))

    low, high = left("high", "low", "low"), left("low", "high", "high")
    evidence = str(rows["cached"]["evidence"])
    return Measured(left("value", "value", "value"), "% of a search", evidence, "choices", low, high)


def _lost(item: ItemTables, what: str) -> MpnoError:
    return MpnoError(f"tidy/{item.context['item']}: choices.csv has no {what}; make it again with `make item`")
