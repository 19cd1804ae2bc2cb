"""One spectral layer on its input in one format after the other: what rounding costs, bounded and measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mpno.models.audit_layers import Call, audit_layer
from mpno.models.audit_probe import Probe
from mpno.models.audit_report import LayerInSetting
from mpno.numerics import evidence_of, undo_factor
from mpno.specs import Format, MpnoError, PrecisionSetting, get_format
from mpno.specs.names import Evidence
from mpno.spectral.exact import stabilised
from mpno.spectral.sht import Truncation
from mpno.theory.advice_bounds import fft_bound, matmul_bound
from mpno.theory.advice_discretization import Discretization, finer, subsampled
from mpno.theory.advice_spectra import Kept, exact_spectrum, low_spectrum

CERTIFICATE = "certificate"
"""Of a bound whose every hypothesis holds for these samples on this machine."""
FFT_EXACT = "bound, fp32 passes taken as exact"
COST = ("fp8_e5m2", "fp8_e4m3", "bf16", "fp16", "tf32", "fp32")
"""The formats that are advised on, cheapest first: by bits, and by range where the bits are the same."""


@dataclass(frozen=True)
class LayerInFormat:
    """What a format does to one spectral layer on the samples given. All errors are relative.

    Attributes:
        setting: short form; ``format`` and ``bits`` are its low format's and how many bits a number of it takes.
        evidence: of the measured errors.
        bound: no error of the kept coefficients, root mean square over all, can be larger; NaN where none is stated.
        bound_kind: ``certificate`` where every hypothesis of the inequality was checked, else what is missing.
        precision: measured error of the kept coefficients against float64, root mean square over that of the
            coefficients; infinite where they are not finite.
        block: measured L2 error of the layer's output against the layer in float64 with the same stabiliser.
        range: the largest number of any step in the format over the format's maximum: above 1 it overflows.
        overflows: whether it does, or is not finite for another reason.
        budget: what `precision` and `block` may be; `yardstick` says what it is a share of.
        safe: whether both are within the budget and nothing overflows.
    """

    setting: str
    format: str
    bits: int
    evidence: Evidence
    bound: float
    bound_kind: str
    precision: float
    block: float
    range: float
    overflows: bool
    budget: float
    yardstick: str

    @property
    def safe(self) -> bool:
        return not self.overflows and max(self.precision, self.block) <= self.budget


@dataclass(frozen=True)
class AdvisedLayer:
    """One call of one spectral layer: its grid, the estimated discretization error, and every format."""

    layer: str
    kind: str
    transform: str
    grid: tuple[int, ...]
    discretization: Discretization
    formats: tuple[LayerInFormat, ...]

    @property
    def cheapest(self) -> str | None:
        """The first safe format of those asked about, which come cheapest first."""
        return next((found.format for found in self.formats if found.safe), None)


def bits_of(format: str) -> int:
    """Bits that a number takes in memory: tf32 is stored as fp32; of eXmY sign, exponent and mantissa."""
    fmt = get_format(format)
    return 32 if fmt.name == "tf32" else 1 + fmt.exponent_bits + fmt.mantissa_bits


def advise_layer(
    call: Call,
    precisions: Mapping[str, PrecisionSetting],
    *,
    fraction: float,
    tolerance: float,
    fine: Tensor | None = None,
) -> AdvisedLayer:
    """Judge a layer on the input of a call, in its own precision under each of the model's settings.

    Args:
        call: the layer and its input in float64.
        precisions: the layer's precision by the label of the model's setting; all with one stabiliser.
        fraction: the share of the discretization error that a precision error may have.
        tolerance: what it may be at least, relative to the coefficients.
        fine: the input of the same call for the same samples on a grid twice as fine.
    """
    probe = call.probe
    stabiliser = next(iter(precisions.values())).stabiliser
    field = _last(probe, call.x)
    kept = probe.kept(tuple(field.shape[1:-1]))
    v, gain = stabilised(field, stabiliser), undo_factor(stabiliser, math.prod(field.shape[1:-1]))
    if fine is None:
        found = subsampled(v, kept)
    else:
        beyond = _last(probe, fine)
        found = finer(v * gain, kept, _scaled(beyond, stabiliser), probe.kept(tuple(beyond.shape[1:-1])))
    share = fraction * found.error if found.known else 0.0
    budget, yardstick = (share, "discretization") if share > tolerance else (tolerance, "tolerance")
    # From here on the field is one that fp32 holds, so that nothing is rounded twice.
    single = Call(call.layer, call.count, probe, call.x.float())
    audited = audit_layer(single, list(precisions.items()), ())
    v = stabilised(_last(probe, call.x.float()).double(), stabiliser).float()
    exact = gain * exact_spectrum(v, kept)
    formats = tuple(
        _in_format(probe, v, kept, exact, gain, precisions[row.setting], row, budget, yardstick)
        for row in audited.settings
    )
    return AdvisedLayer(call.name, probe.kind, probe.transform, audited.grid, found, formats)


def _in_format(
    probe: Probe,
    v: Tensor,
    kept: Kept,
    exact: Tensor,
    gain: float,
    precision: PrecisionSetting,
    row: LayerInSetting,
    budget: float,
    yardstick: str,
) -> LayerInFormat:
    size = float(torch.linalg.vector_norm(exact))
    try:
        low = low_spectrum(v, kept, precision.forward, probe.transform, gain=gain)
        error = float(torch.linalg.vector_norm(low - exact)) if bool(low.isfinite().all()) else math.inf
    except (MpnoError, RuntimeError):  # the device does not run it
        error = math.inf
    bound, kind = _bound(probe, v, kept, get_format(precision.forward), gain, math.isfinite(error))
    in_range = row.at(row.points)
    clips = get_format(precision.format).saturates
    return LayerInFormat(
        setting=row.setting,
        format=precision.format,
        bits=bits_of(precision.format),
        evidence=evidence_of(precision, probe.transform, v.device) if "H" in precision.triple else "native",
        bound=_over(bound, size),
        bound_kind=kind,
        precision=_over(error, size),
        block=row.error,
        range=in_range,
        # What a format clips is an error like any other, and measured as one.
        overflows=not (math.isfinite(error) and math.isfinite(row.error)) or (in_range > 1 and not clips),
        budget=budget,
        yardstick=yardstick,
    )


def _bound(probe: Probe, v: Tensor, kept: Kept, fmt: Format, gain: float, finite: bool) -> tuple[float, str]:
    """Of the root of the sum of squares of all coefficients' errors, and what kind of a bound it is."""
    if not finite:
        return math.nan, "none: it overflows"
    if isinstance(kept, Truncation):
        return math.nan, "none stated on the sphere"
    if fmt.element is not None:
        return math.nan, "none stated for blocks"
    by_products = probe.transform == "matmul"
    bound = (matmul_bound if by_products else fft_bound)(fmt, kept.grid, gain)
    means = v.double().abs().flatten(1, -2).mean(1)
    each = bound.growth * means + bound.floor
    if fmt.saturates:
        # Clipping leaves finite numbers: only a field too small for it is sure to have none.
        points = 1 if by_products else math.prod(kept.grid)
        largest = float(v.abs().max())
        if points * (largest * (1 + bound.growth / gain) + bound.floor) > fmt.max:
            return math.nan, "none: it may clip"
    total = math.sqrt(math.prod(kept.counts)) * float(torch.linalg.vector_norm(each))
    return total, CERTIFICATE if by_products else FFT_EXACT


def _scaled(field: Tensor, stabiliser: str) -> Tensor:
    return stabilised(field, stabiliser) * undo_factor(stabiliser, math.prod(field.shape[1:-1]))  # type: ignore[arg-type]


def _last(probe: Probe, x: Tensor) -> Tensor:
    """Channels last."""
    return x if probe.channels_last else x.movedim(1, -1)


def _over(error: float, size: float) -> float:
    return error / size if size else 0.0 if not error else math.inf
