"""Changing the precision setting of a model that is already there, as the precision schedule does between epochs."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from mpno.specs import MpnoError, PrecisionSetting


def set_precision(model: nn.Module, precision: PrecisionSetting | str) -> None:
    """Give `model` another precision setting; its parameters stay the fp32 tensors they are.

    A module with a method ``set_precision(setting)`` decides for all below it. Where the model itself has
    none, its topmost modules that have one count as layers 0, 1, ... in order and get their layer's setting.

    Raises:
        MpnoError: no module has such a method, so nothing would change.
    """
    whole = hasattr(model, "set_precision")
    setting = PrecisionSetting.of(precision, where=type(model).__name__, packs=whole)
    if whole:
        model.set_precision(setting)  # type: ignore[operator]
        return
    found = list(_topmost(model))
    if not found:
        raise MpnoError(
            f"{type(model).__name__} has no module with a set_precision; build it with mpno's layers, or give it one"
        )
    for index, module in enumerate(found):
        module.set_precision(setting.layer(index))  # type: ignore[operator]


def _topmost(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if hasattr(child, "set_precision"):
            yield child
        else:
            yield from _topmost(child)
