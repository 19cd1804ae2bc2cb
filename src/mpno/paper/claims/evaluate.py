"""The claims judged by the tidy tables of one run of the workflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpno.paper.claims.measured import Absent
from mpno.paper.claims.model import DECIDED, PREDICTED, VERDICTS, Claim, Claims
from mpno.paper.claims.readers import check_ask, read
from mpno.paper.claims.verdicts import ORDER, Judged, judge, together
from mpno.paper.records import AGAIN, ItemTables, load_item, read_table, whole
from mpno.specs import MpnoError
from mpno.specs.errors import inside
from mpno.specs.files import read_json


@dataclass(frozen=True)
class Run:
    """The items of one run of the workflow: contexts as files have them, and tables once they are asked for."""

    scale: str
    device: str
    contexts: Mapping[str, dict[str, Any]]
    folders: Mapping[str, Path]
    loaded: dict[str, ItemTables]

    def item(self, name: str) -> ItemTables:
        """The tables of an item.

        Raises:
            MpnoError: they are not among those of this run.
        """
        if name not in self.folders:
            raise MpnoError(f"item {name}: no records of it are given; make them with `make item ITEM={name}`")
        if name not in self.loaded:
            self.loaded[name] = load_item(self.folders[name])
        return self.loaded[name]


def evaluate_claims(claims: Claims, contexts: Sequence[Path], *, source: str | None = None) -> dict[str, Any]:
    """Judge every claim.

    Args:
        claims: all of them.
        contexts: the ``context.json`` of every item of a run.
        source: the digest that the code of trainings has now, by the plan; None asks only that trainings agree among
            themselves.

    Returns:
        What ``claims.json`` holds.

    Raises:
        MpnoError: a record is missing, stale, or of a changed run; a claim asks what cannot be asked.
    """
    run = open_run(contexts, source)
    judged = [_claim(claim, run) for claim in claims.claims]
    counts = Counter(entry["verdict"] for entry in judged)
    return {
        "scale": run.scale,
        "device": run.device,
        "fixed": claims.fixed,
        "known": claims.known,
        "decided": sum(counts[verdict] for verdict in DECIDED),
        "predicted": sum(counts[verdict] for verdict in PREDICTED),
        "total": len(judged),
        "counts": {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
        "changes": [change.model_dump() for change in claims.changes],
        "claims": judged,
    }


def open_run(contexts: Sequence[Path], source: str | None) -> Run:
    """Read the contexts and refuse records that do not belong together.

    Raises:
        MpnoError: two scales; a changed run; trainings by another code, of the plan or of each other.
    """
    read = {path: read_json(path, AGAIN) for path in contexts}
    # What goes past the paper judges none of its claims.
    found = {path: context for path, context in read.items() if context.get("section", "paper") == "paper"}
    for path, context in found.items():
        missing = [key for key in ("item", "scale", "device", "changes", "parts", "probes") if key not in context]
        if missing:
            raise MpnoError(f"{path}: {missing[0]} is missing; {AGAIN}")
    scales = sorted({context["scale"] for context in found.values()})
    if len(scales) != 1 or scales[0] not in ORDER:
        raise MpnoError(
            f"claims: contexts are of scale {' and '.join(scales) or 'none'}; give those of one of {', '.join(ORDER)}"
        )
    changed = [path for path, context in found.items() if context["changes"]]
    if changed:
        raise MpnoError(f"{changed[0]}: is of a changed run, which judges no claim; take set out of config.yaml")
    for path, context in found.items():
        with whole(str(path)):
            _check_runs(path, context, source)
    _check_sources(found)
    devices = {context["device"] for context in found.values() if _trained(context)} or {"cpu"}
    by_name = {context["item"]: context for context in found.values()}
    folders = {context["item"]: path.parent for path, context in found.items()}
    return Run(scales[0], "/".join(sorted(devices)), by_name, folders, {})


def _trained(context: Mapping[str, Any]) -> bool:
    return any(arm["runs"] for part in context["parts"] for arm in part["arms"])


def _check_runs(path: Path, context: Mapping[str, Any], source: str | None) -> None:
    """Refuse tables that are of other runs than the plan's, and runs of another code than the plan's."""
    if not _trained(context):
        return
    if source is not None and context["source_digest"] != source:
        raise MpnoError(
            f"{path}: runs are of code {context['source_digest']}, the plan's is {source}; they are stale: run "
            "`make reproduce`"
        )
    rows = read_table(path.parent / "errors.csv")
    named = set(zip(rows["part"], rows["arm"], rows["seed"].astype(str), rows["run"], strict=True))
    for part in context["parts"]:
        for arm in part["arms"]:
            for seed, run in arm["runs"].items():
                if (part["name"], arm["name"], str(seed), run) not in named:
                    raise MpnoError(
                        f"{path.parent}/errors.csv: has no run {run} of {arm['name']}, seed {seed}, which the plan "
                        "names; it is stale: run `make reproduce`"
                    )


def _check_sources(found: Mapping[Path, Mapping[str, Any]]) -> None:
    """All trainings of a run were made by the same code, within an item and across items."""
    seen: dict[str, str] = {}
    for path, context in found.items():
        if not _trained(context):
            continue
        digests = {str(context.get("source_digest"))}
        if (path.parent / "runs.csv").is_file():
            digests |= set(read_table(path.parent / "runs.csv")["source_digest"].dropna().astype(str))
        for digest in sorted(digests):
            seen.setdefault(digest, str(path))
    if len(seen) > 1:
        (one, first), (other, second), *_ = seen.items()
        raise MpnoError(
            f"{first} and {second} hold runs of two codes ({one}, {other}); the older are stale: run `make reproduce`"
        )


def _claim(claim: Claim, run: Run) -> dict[str, Any]:
    with inside(f"claim {claim.id}"):
        for ask in claim.records:
            check_ask(ask.reader, ask.given)
        judged, absent = _ask_all(claim, run)
    if judged:
        verdict, reason = together(claim, judged, scale=run.scale)
        if absent and verdict in (*DECIDED, *PREDICTED):
            verdict, reason = "not tested here", f"Scale {run.scale} has only a part of the records: {absent[0]}."
    else:
        verdict, reason = "not tested here", f"Scale {run.scale} has no such record: {absent[0]}."
    return {
        "id": claim.id,
        "group": claim.group,
        "statement": claim.statement,
        "source": claim.source,
        "provenance": claim.provenance,
        "published": None if claim.published is None else str(claim.published),
        "test": claim.test,
        "item": claim.item,
        "part": claim.part,
        "scales": list(claim.scales),
        "threshold": {"rule": claim.threshold.rule, "words": claim.threshold.words},
        "verdict": verdict,
        "reason": reason,
        "readings": [_reading(claim, one, run) for one in judged],
    }


def _ask_all(claim: Claim, run: Run) -> tuple[list[Judged], list[str]]:
    """The answers, and what this scale has no record of."""
    judged: list[Judged] = []
    absent: list[str] = []
    for ask in claim.records:
        item = run.item(ask.item or claim.item)
        try:
            found = read(item, ask.reader, ask.given)
        except Absent as error:
            absent.append(str(error))
            continue
        judged.append(judge(claim, ask, found, scale=run.scale, device=run.device))
    return judged, absent


def _reading(claim: Claim, one: Judged, run: Run) -> dict[str, Any]:
    found, item = one.found, one.ask.item or claim.item
    probe = run.contexts[item]["probes"].get(found.table)
    return {
        "name": one.ask.name if one.ask.view is None else f"{one.ask.name}, {one.ask.view}",
        "shown": found.shown,
        "effect": found.effect,
        "low": found.low,
        "high": found.high,
        "unit": found.unit,
        "n": found.n,
        "evidence": found.evidence,
        "stand_in": found.stand_in,
        "control": found.control,
        "verdict": one.verdict,
        "why": one.why,
        "illustration": one.verdict is None,
        "records": list(found.runs) or ([probe] if probe else []),
        "table": f"tidy/{item}/{found.table}.csv",
    }
