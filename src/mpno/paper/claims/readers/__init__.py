"""Readers: each asks an item's tidy tables one kind of question and answers with a number, its interval and source."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mpno.paper.claims.measured import Measured
from mpno.paper.claims.readers import contraction, memory, rounding, theory, training
from mpno.paper.records import ItemTables, whole
from mpno.specs import MpnoError
from mpno.specs.errors import allowed

READERS: dict[str, Callable[..., Measured]] = {
    reader.__name__: reader
    for reader in (
        memory.case_saving,
        memory.case_value,
        memory.case_lowest,
        memory.case_highest,
        memory.saving_gap,
        memory.size_saving,
        memory.arm_saving,
        memory.steps_in_half,
        memory.speed_up,
        memory.epoch_seconds,
        contraction.choice_saving,
        contraction.search_share,
        contraction.search_left,
        training.change,
        training.loss_change,
        training.least_loss,
        training.finer_growth,
        training.finer_change,
        training.diverged,
        training.delay,
        training.first_place,
        training.converging,
        rounding.first_step,
        rounding.activations,
        rounding.gradients,
        theory.slope,
        theory.crossing,
        theory.crossing_order,
        theory.data_ratio,
        theory.bound_ratio,
        theory.inside_bounds,
        theory.tanh_ratio,
    )
}
"""By name: what a claim's `records` may ask."""


def check_ask(reader: str, given: dict[str, Any]) -> None:
    """Refuse a reader that is none, or an argument that it does not take or lacks.

    Raises:
        MpnoError: naming both.
    """
    if reader not in READERS:
        raise MpnoError(f"reader is {reader!r}; {allowed(reader, READERS)}")
    signature = inspect.signature(READERS[reader])
    try:
        signature.bind(None, **given)
    except TypeError as error:
        names = [name for name in signature.parameters if name != "item"]
        raise MpnoError(f"given of reader {reader}: {error}; it takes {', '.join(names)}") from None


def read(item: ItemTables, reader: str, given: dict[str, Any]) -> Measured:
    """Ask the tables of an item.

    Raises:
        Absent: this scale has no such record.
        MpnoError: a record is missing or not whole.
    """
    with whole(f"tidy/{item.context['item']}, asked for {reader}"):
        return READERS[reader](item, **given)
