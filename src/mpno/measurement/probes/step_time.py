"""Modelled seconds of training steps on cards that are not here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mpno.measurement.cards import CARDS
from mpno.measurement.cost import by_kind, predict_seconds, trace_costs
from mpno.measurement.probes._cases import cases_of
from mpno.measurement.probes.inputs import ProbedArm


def step_time(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per case and card of :data:`mpno.measurement.cards.CARDS`.

    `settings` holds ``cases`` as :func:`mpno.measurement.probes._cases.cases_of` reads them.

    Returns:
        Rows of the case, card, ``operations`` of a step, ``seconds`` of a step, ``milliseconds`` of its products,
        transforms and elementwise operations, and ``samples``, how many a second.
    """
    rows = []
    for case in cases_of(settings):
        operations = trace_costs(case.prepare())
        for card in CARDS.values():
            seconds = predict_seconds(operations, card)
            kinds = {f"{kind}_ms": 1000 * value for kind, value in by_kind(operations, card).items()}
            row = {**case.about(), "card": card.name, "operations": len(operations), "seconds": seconds, **kinds}
            rows.append({**row, "samples": case.spec.training.batch_size / seconds, "evidence": "predicted"})
    return rows
