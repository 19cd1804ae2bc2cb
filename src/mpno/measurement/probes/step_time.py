"""Modelled seconds of training steps on cards that are not here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mpno.measurement.cards import CARDS, Card
from mpno.measurement.cost import Operation, by_kind, by_phase, in_tf32, predict_seconds, trace_costs
from mpno.measurement.probes._cases import Case, cases_of
from mpno.measurement.probes.inputs import ProbedArm


def step_time(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per case and card of :data:`mpno.measurement.cards.CARDS`.

    `settings` holds ``cases`` as :func:`mpno.measurement.probes._cases.cases_of` reads them. The authors' full setting
    is also rounded to TF32, as ``tf32``, on the cards that have it; ours does not let a card round.

    Returns:
        Rows of the case, card, ``operations`` of a step, ``seconds`` of a step, the milliseconds of the device by kind
        (``products_ms``, ``transforms_ms``, ``elementwise_ms``) and by phase (``forward_ms``, ``backward_ms``,
        ``optimiser_ms``), and ``samples``, how many a second.
    """
    rows = []
    for case in cases_of(settings):
        operations = trace_costs(case.prepare())
        rows += [_row(case, operations, card) for card in CARDS.values()]
        if case.implementation == "authors" and case.spec.precision.label == "full":
            rounded, cards = in_tf32(operations), [card for card in CARDS.values() if "tf32" in card.rates]
            rows += [{**_row(case, rounded, card), "setting": "tf32"} for card in cards]
    return rows


def _row(case: Case, operations: Sequence[Operation], card: Card) -> dict[str, Any]:
    seconds = predict_seconds(operations, card)
    parts = {**by_kind(operations, card), **by_phase(operations, card)}
    return {
        **case.about(),
        "card": card.name,
        "operations": len(operations),
        "seconds": seconds,
        **{f"{name}_ms": 1000 * value for name, value in parts.items()},
        "samples": case.spec.training.batch_size / seconds,
        "evidence": "predicted",
    }
