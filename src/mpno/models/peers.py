"""Models of the neuraloperator library, made ours with their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from mpno.models.neuralop_fno import neuralop_fno
from mpno.models.neuralop_gino import neuralop_gino
from mpno.models.neuralop_sfno import neuralop_sfno
from mpno.specs import MpnoError, PrecisionSetting
from mpno.specs.names import RunTransform

CONVERSIONS: dict[str, Callable[[Any, PrecisionSetting, Any], nn.Module]] = {
    "FNO": neuralop_fno,
    "SFNO": neuralop_sfno,
    "TFNO": neuralop_fno,
    "GINO": neuralop_gino,
}
"""What makes our model, from the peer's, the setting and the transform or None, by the peer's class."""


def from_neuralop(
    model: nn.Module, *, precision: PrecisionSetting | str = "full", transform: RunTransform | None = None
) -> nn.Module:
    """Our model with the sizes and a copy of the weights of a model of the neuraloperator library.

    In full precision outputs agree with the peer's to fp32 rounding, on grids of even size along all axes but the
    last: along others the peer's shift pairs frequencies of odd grids with their neighbours' weights. Those of an
    SFNO of n degrees agree from 2 n - 1 latitudes on. The peer's ``fno_block_precision`` is not carried over:
    `precision` says what the new model runs in.

    Args:
        model: an instance of the library's model classes, of version 2.0.
        precision: a :class:`PrecisionSetting` or its short form; one with tanh if the model has ``stabilizer="tanh"``.
        transform: of the new model; None for its default.

    Returns:
        A model on the device of the old one, in the same mode (training or evaluation).

    Raises:
        MpnoError: a class that has no counterpart here, or an option of the model that ours has not.
    """
    make = CONVERSIONS.get(type(model).__name__)
    theirs = any(cls.__module__.partition(".")[0] == "neuralop" for cls in type(model).__mro__)
    if make is None or not theirs:
        what = type(model).__name__ if theirs else f"{type(model).__name__} that is not neuraloperator's"
        raise MpnoError(f"from_neuralop: a {what} has no counterpart here; allowed: its {', '.join(CONVERSIONS)}")
    ours = make(model, PrecisionSetting.of(precision, where="from_neuralop"), transform)
    return ours.to(next(model.parameters()).device).train(model.training)
