"""Whether a half transform overflows, here and on finer grids, and what to choose where it does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import nn

from mpno.numerics import RangeMonitor
from mpno.numerics.monitor import Headroom
from mpno.specs import PrecisionSetting, get_format
from mpno.spectral import SpectralConv, SphericalConv
from mpno.training.divergence import first_not_finite
from mpno.training.samples import Samples

FINER = (2, 4)
"""How many times finer the grids are that overflow is predicted for."""
Row = dict[str, int | float | str]
RANGE_COLUMNS = ("epoch", "layer", "points", "largest", "ratio")
"""Of ``range.csv``."""


def used_range(epoch: int, monitor: RangeMonitor) -> list[Row]:
    """What each layer's forward transform has used of fp16's range in an epoch, whatever format it ran in.

    Returns:
        A row per layer and grid, training and test batches together: ``points`` of the grid, ``largest`` part of any
        kept coefficient scaled by 1/n, ``ratio`` of the largest unscaled one to fp16's maximum. Both are infinite where
        a coefficient was not finite, and have six digits else.
    """
    return [
        {"epoch": epoch, "layer": seen.layer, "points": seen.points}
        | {"largest": _six_digits(seen.largest), "ratio": _six_digits(seen.ratio)}
        for seen in monitor.report().layers
    ]


def predicted_range(model: nn.Module, monitor: RangeMonitor) -> dict[str, Any] | None:
    """The largest share of its format's range that a half transform of `model` has used, and will on finer grids.

    A transform scales last, so a share above 1 overflows. The shares are of final coefficients: one pass of several
    can be larger, so that overflow may come before.

    Args:
        model: its spectral layers say which of them transform in half.
        monitor: has watched it on the data in question.

    Returns:
        ``{"layer", "format", "1x", "2x", "4x"}``, of the layer with the largest share; None where no layer transforms
        in a low format by ``fft`` or ``sht``.
    """
    found = list(_shares(model, monitor))
    return max(found, key=lambda shares: shares["1x"]) if found else None


def advice(
    model: nn.Module, setting: PrecisionSetting, samples: Samples, *, finite: bool, range: dict[str, Any] | None
) -> str | None:
    """One line for a result that is not finite, or that will not be on a finer grid; None where all is well."""
    if not finite:
        where, operation = _origin(model, samples)
        choice = way_out(model, setting, where, operation)
        found = f"not finite, first in {where}{', ' + operation if operation else ''}"
        return f"{found}; choose {choice}" if choice else found
    over = [factor for factor in (1, *FINER) if range is not None and range[f"{factor}x"] >= 1]
    if range is None or not over:
        return None
    finer = "here" if over[0] == 1 else f"on a grid {over[0]} times finer"
    fate = "is clipped" if get_format(range["format"]).saturates else "must overflow"
    return (
        f"{finer} the half transform of {range['layer']} needs {range[f'{over[0]}x']:.3g} of the range of "
        f"{range['format']}, so it {fate}; choose {_safe_transform(setting)}"
    )


def way_out(model: nn.Module, setting: PrecisionSetting, where: str, operation: str) -> str | None:
    """What to choose where `operation` of the layer `where` overflowed in `setting`; None where no choice helps.

    A forward transform by ``fft`` or ``sht`` sums up in half what may fit in half before and after; any other operation
    overflows because its values are beyond the format, be it in the spectral block or in a real layer.

    Args:
        where, operation: as :func:`mpno.training.divergence.first_not_finite` found them.
    """
    if not operation or (setting.format == "fp32" and not setting.layers):
        return None
    layer = model.get_submodule("" if where == "model" else where)
    if isinstance(layer, SpectralConv | SphericalConv) and layer.transform != "matmul":
        forward = operation.endswith((" in fft_forward", " in sht_forward"))
        if forward and setting.triple[0] == "H":
            return _safe_transform(setting)
    if setting.layers or get_format(setting.format).max >= get_format("bf16").max:
        return "precision 'full'"
    wide = PrecisionSetting.model_validate({**dict(setting), "format": "bf16"})
    return f"precision 'full' or {wide.label!r}"


def _safe_transform(setting: PrecisionSetting) -> str:
    """What cannot overflow where a half transform does: the forward transform in full, or matrix products."""
    full = PrecisionSetting.model_validate({**dict(setting), "triple": f"F{setting.triple[1:]}"})
    return f"precision {full.label!r}, or transform matmul"


def _shares(model: nn.Module, monitor: RangeMonitor) -> Iterator[dict[str, Any]]:
    for seen in monitor.report().layers:
        layer = model.get_submodule("" if seen.layer == "model" else seen.layer)
        if not isinstance(layer, SpectralConv | SphericalConv) or layer.transform == "matmul":
            continue
        format = layer.precision.forward
        if format == "fp32":
            continue
        # A spherical layer transforms along circles alone; a field divided by its points has sums as on any grid.
        axes = len(layer.modes) if isinstance(layer, SpectralConv) else 1
        axes = 0 if layer.precision.stabiliser == "pre_scale" else axes
        shares = {f"{factor}x": _share(seen, format, seen.points * factor**axes) for factor in (1, *FINER)}
        yield {"layer": seen.layer, "format": format, **shares}


def _share(seen: Headroom, format: str, points: int) -> float:
    return seen.largest * points / get_format(format).max if math.isfinite(seen.largest) else math.inf


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}") if math.isfinite(value) else math.inf


def _origin(model: nn.Module, samples: Samples) -> tuple[str, str]:
    for x, _ in samples.tests.values():
        for part in x.split(1):
            where, operation = first_not_finite(model, part)
            if where != "loss":
                return where, operation
    return "the error, of a target without size", ""
