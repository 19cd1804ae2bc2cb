"""One spectral layer on one input, in every setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mpno.models.audit_probe import Probe, is_sphere
from mpno.models.audit_report import AuditedLayer, LayerInSetting, Range, SafeChoice
from mpno.numerics import evidence_of
from mpno.specs import MpnoError, PrecisionSetting, get_format
from mpno.specs.names import Evidence, RunTransform, Stabiliser
from mpno.spectral.exact import Exact


@dataclass(frozen=True)
class Call:
    """A layer's input, the `count`-th time that it ran."""

    layer: str
    count: int
    probe: Probe
    x: Tensor

    @property
    def name(self) -> str:
        name = self.layer or "model"
        return name if self.count == 1 else f"{name} (call {self.count})"


def audit_layer(call: Call, settings: Sequence[tuple[str, PrecisionSetting]], grids: tuple[int, ...]) -> AuditedLayer:
    """Run the layer in each of `settings`, pairs of the model's setting and the layer's own, against float64."""
    probe = call.probe
    exact: dict[Stabiliser, Exact] = {"none": probe.exact(call.x)}
    found = []
    for label, precision in settings:
        stabiliser = precision.stabiliser
        if stabiliser not in exact:
            exact[stabiliser] = probe.exact(call.x, stabiliser)
        found.append(_in_setting(call, label, precision, exact[stabiliser]))
    plain = exact["none"]
    points, axes = math.prod(plain.grid), len(plain.grid)
    spectrum = torch.view_as_real(plain.spectrum)
    return AuditedLayer(
        call.name,
        probe.kind,
        probe.transform,
        plain.grid,
        _range(call.x),
        _range(spectrum),
        tuple(found),
        grids or tuple(points * factor**axes for factor in (2, 4)),
    )


def relative_error(y: Tensor, exact: Tensor) -> float:
    """||y - exact|| / ||exact||; infinite where y is not finite, 0 where both are 0."""
    y, exact = y.double(), exact.double()
    if not bool(y.isfinite().all()):
        return math.inf
    difference, size = float((y - exact).norm()), float(exact.norm())
    return difference / size if size else (math.inf if difference else 0.0)


def _in_setting(call: Call, label: str, precision: PrecisionSetting, exact: Exact) -> LayerInSetting:
    probe, device = call.probe, call.x.device
    stages = tuple(stage for stage in exact.stages if stage.format(precision) != "fp32")
    held = [f for f in (precision.forward, precision.contraction) if f != "fp32"]
    flushed, subnormal = _underflow(exact, held[0]) if held else (0.0, 0.0)
    halves = probe.transform != "matmul" and "fp16" in (precision.forward, precision.inverse)
    axes = exact.grid[-1:] if is_sphere(exact) else exact.grid
    found = LayerInSetting(
        label,
        precision.format if stages else "fp32",
        _error(call, precision, probe.transform, exact.output),
        _evidence(precision, probe.transform, device),
        stages,
        math.prod(exact.grid),
        len(exact.grid),
        flushed,
        subnormal,
        not halves or all(n & (n - 1) == 0 for n in axes),
    )
    if not found.overflows:
        return found
    return LayerInSetting(**{**vars(found), "choices": tuple(_choices(call, precision, exact))})


def _choices(call: Call, precision: PrecisionSetting, exact: Exact) -> list[SafeChoice]:
    """What gives finite numbers where the setting itself does not."""
    given, found = call.probe.transform, []
    triple = f"F{precision.triple[1:]}"
    in_full = precision.model_copy(update={"triple": triple})
    tries: list[tuple[str, PrecisionSetting, RunTransform]] = [
        (f"triple {triple}", in_full, given),
        ("transform matmul", precision, "matmul"),
    ]
    for name, setting, transform in tries:
        if (setting, transform) == (precision, given):
            continue
        error = _error(call, setting, transform, exact.output)
        if math.isfinite(error):
            found.append(SafeChoice(name, error, _evidence(setting, transform, call.x.device)))
    return found


def _error(call: Call, precision: PrecisionSetting, transform: RunTransform, exact: Tensor) -> float:
    """Of the layer in a setting; infinite too where the device does not run it."""
    try:
        return relative_error(call.probe.run(call.x, precision, transform), exact)
    except (MpnoError, RuntimeError):
        return math.inf


def _evidence(precision: PrecisionSetting, transform: RunTransform, device: torch.device) -> Evidence:
    """Of the spectral layer alone: where its three steps are in fp32, so is it."""
    return evidence_of(precision, transform, device) if "H" in precision.triple else "native"


def _underflow(exact: Exact, format: str) -> tuple[float, float]:
    """Shares of the spectrum's nonzero parts that `format` rounds to zero, and holds as subnormals."""
    fmt = get_format(format)
    parts = torch.view_as_real(exact.spectrum).abs()
    count = int((parts > 0).sum()) or 1
    # Half of the smallest number is a tie, which goes to zero.
    zero = int(((parts > 0) & (parts <= fmt.smallest_subnormal / 2)).sum())
    low = int(((parts > 0) & (parts < fmt.smallest_normal)).sum()) - zero
    return zero / count, low / count


def _range(x: Tensor) -> Range:
    magnitudes = x.detach().abs().flatten().double()
    above = magnitudes[magnitudes > 0]

    def at_least(share: float) -> float:
        return float(magnitudes.kthvalue(max(1, math.ceil(share * magnitudes.numel()))).values)

    return Range(at_least(0.5), at_least(0.99), float(magnitudes.max()), float(above.min()) if above.numel() else 0.0)
