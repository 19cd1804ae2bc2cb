"""Which number format is safe for a model on one's data: discretization beside precision error, layer by layer."""

from __future__ import annotations

import copy
import math
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mpno.models.audit_layers import Call, relative_error
from mpno.models.audit_probe import Probe, spectral_layers
from mpno.models.audit_whole import FULL, REFUSALS, in_float64, run, set_all
from mpno.numerics import no_autocast
from mpno.numerics.aligned import aligned
from mpno.specs import MpnoError, PrecisionSetting, allowed, get_format
from mpno.theory.advice_layers import CERTIFICATE, COST, AdvisedLayer, advise_layer

if TYPE_CHECKING:
    import pandas as pd

FRACTION = 0.3
"""Of the discretization error: two errors that add up as squares are then 4.4 % more than the larger one."""
TOLERANCE = 1e-3
"""Relative to the coefficients: a precision error of 0.1 % is none to worry about, whatever the grid does."""


@dataclass(frozen=True)
class Advice:
    """What :func:`advise` found; prints itself.

    Attributes:
        model, batch: what was asked about, in words.
        fraction, tolerance: of the budget.
        layers: every call of a spectral layer, in order.
        outputs: relative L2 error of the whole model's output by setting, against float64 with the same stabiliser;
            infinite where it is not finite.
        formats: settings by format, cheapest first.
    """

    model: str
    batch: str
    fraction: float
    tolerance: float
    layers: tuple[AdvisedLayer, ...]
    outputs: dict[str, float]
    formats: dict[str, str]

    def safe(self, setting: str) -> bool:
        """Whether a setting is safe in every layer and leaves the model's output finite."""
        rows = [row for layer in self.layers for row in layer.formats if row.setting == setting]
        return math.isfinite(self.outputs[setting]) and all(row.safe for row in rows)

    @property
    def cheapest(self) -> str | None:
        """The cheapest format that is safe in every layer; None where none of those asked about is."""
        return next((format for format, setting in self.formats.items() if self.safe(setting)), None)

    def records(self) -> list[dict[str, Any]]:
        """One flat mapping per layer and format; errors are relative, and estimates, bounds and measurements say so."""
        rows = []
        for layer in self.layers:
            d = layer.discretization
            about = {
                "layer": layer.layer,
                "kind": layer.kind,
                "transform": layer.transform,
                "grid": "x".join(map(str, layer.grid)),
                "discretization": d.error,
                "discretization_evidence": f"estimate, {d.how}" if d.known else d.how,
                "rate": d.rate,
                "compared": d.compared,
                "coefficients": d.kept,
                "vanishes": d.vanishes,
            }
            for row in layer.formats:
                rows.append(about | asdict(row) | {"safe": row.safe, "cheapest": row.format == layer.cheapest})
        return rows

    def frame(self) -> pd.DataFrame:
        """:meth:`records` as a data frame.

        Raises:
            MpnoError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise MpnoError("Advice.frame needs pandas, which is not installed; install it or use records()") from None
        return pandas.DataFrame(self.records())

    def __str__(self) -> str:
        head = (
            "layer",
            "format",
            "discretization",
            "bound",
            "measured",
            "block",
            "of max",
            "budget",
            "safe",
            "evidence",
        )
        rows = [cells for layer in self.layers for cells in _cells(layer)]
        for number, (format, setting) in enumerate(self.formats.items()):
            y = self.outputs[setting]
            rows.append(["output" if number == 0 else "", format, "", "", "", _percent(y), "", "", "", ""])
        table = aligned(head, rows, left=2)
        return "\n\n".join([f"{self.model} on {self.batch}", table, self.legend(), self.verdict()])

    def verdict(self) -> str:
        """The advice in a sentence or two, with the layers that decide."""
        lines = []
        if self.cheapest is None:
            lines.append("No format asked about is safe by this rule in every layer; stay with fp32.")
        else:
            lines.append(f"Cheapest safe format: {self.cheapest} ({self.formats[self.cheapest]}).")
        for format, setting in self.formats.items():
            if self.safe(setting):
                continue
            found = [row for layer in self.layers for row in layer.formats if row.setting == setting]
            over = sum(row.overflows for row in found)
            much = sum(not row.overflows and not row.safe for row in found)
            why = [f"overflows in {over} of {len(found)} layers"] if over else []
            why += [f"is above the budget in {much} of {len(found)} layers"] if much else []
            why += [] if math.isfinite(self.outputs[setting]) else ["leaves an output that is not finite"]
            lines.append(f"  {format}: {'; '.join(why)}")
        return "\n".join(lines)

    def legend(self) -> str:
        """What the columns are, and what they rest on."""
        kinds = {layer.discretization.how for layer in self.layers}
        said = [
            "Errors are relative to the layer's kept Fourier coefficients, root mean square over samples and channels. "
            f"discretization: an estimate ({', '.join(sorted(kinds))}). bound: worst case of rounding; with * a "
            "certificate: every hypothesis of its inequality was checked on these samples; without, the fp32 "
            "arithmetic within a pass is taken as exact. measured: the coefficients, and block: the layer's output, in "
            "the format against float64; last, the model's output likewise. of max: largest number over the format's "
            f"maximum. budget: {self.fraction:g} of the discretization error, at least {100 * self.tolerance:g} %. The "
            "verdict rests on an estimate: it is advice, not a guarantee, and says nothing of gradients."
        ]
        gone = [layer.layer for layer in self.layers if layer.discretization.vanishes]
        if gone:
            said.append(
                f"The discretization error vanishes in {', '.join(gone)}: the grid resolves these fields, so there is "
                f"nothing for a precision error to stay below, and the tolerance of {100 * self.tolerance:g} % decides."
            )
        lost = [layer.layer for layer in self.layers if not layer.discretization.known]
        if lost:
            said.append(f"No estimate in {', '.join(lost)}; the tolerance of {100 * self.tolerance:g} % decides.")
        return "\n".join(line for text in said for line in textwrap.wrap(text, 100))


def advise(
    model: nn.Module,
    batch: Any,
    *,
    formats: Sequence[str] = COST,
    setting: PrecisionSetting | str = "mixed",
    fraction: float = FRACTION,
    tolerance: float = TOLERANCE,
    finer: Any = None,
) -> Advice:
    """Say which number formats are safe for a model on samples of its data. The model stays as it is.

    The model runs in float64 to give every spectral layer its input. Of that layer's kept coefficients stand beside
    each other: the discretization error, estimated from the same function on other grids; a bound of the precision
    error; the precision error measured with mpno's own rounding; and how much of the format's range is used. A format
    is safe in a layer if nothing overflows and both measured errors, of coefficients and of the layer's output, are at
    most max(fraction · discretization error, tolerance), and in a model if it is so in every layer and the output is
    finite.

    Args:
        model: one of mpno's, or one after :func:`mpno.convert`.
        batch: inputs as the model takes them: (batch, channels, *grid), or any pytree of tensors.
        formats: to advise on, cheapest first.
        setting: where the formats are used: ``mixed``, ``half``, with another stabiliser or triple. tf32 is a way to
            multiply, so its transforms stay in fp32.
        fraction: share of the discretization error that a precision error may have.
        tolerance: relative error that is allowed in any case; 0 leaves the fraction alone.
        finer: the same samples on a grid twice as fine along every axis. Without it the layers' inputs are subsampled.

    Raises:
        MpnoError: the model has no spectral layer, or does not run in float64; an unknown format; a setting without a
            low format in the spectral block; numbers out of range.

    Source: paper, section 3 (discretization and precision error) and 4.3 (overflow); the rule is this project's.
    """
    settings = _settings(setting, formats)
    if not 0 < fraction < math.inf or not 0 <= tolerance < math.inf:
        raise MpnoError(
            f"advise: fraction {fraction:g}, tolerance {tolerance:g}; allowed: a fraction above 0, a tolerance of 0 "
            "or more"
        )
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad(), no_autocast(device), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ComplexHalf support is experimental")
        twin = copy.deepcopy(model).eval()
        layers = spectral_layers(twin)
        if not layers:
            raise MpnoError(
                f"advise: {type(model).__name__} has no spectral layer that mpno knows; use mpno.convert(model) "
                "first, or choose a model with one"
            )
        set_all(twin, layers, FULL)
        first = next(iter(settings.values()))
        calls, exact = _calls(twin, batch, first)
        beyond = [call.x for call in _calls(twin, finer, first)[0]] if finer is not None else [None] * len(calls)
        if len(beyond) != len(calls):
            raise MpnoError(
                f"advise: {len(calls)} calls of spectral layers, on the finer grid {len(beyond)}; leave it out"
            )
        precisions: dict[str, dict[str, PrecisionSetting]] = {name: {} for name in layers}
        outputs: dict[str, float] = {}
        for found in settings.values():
            set_all(twin, layers, found)
            for name, layer in layers.items():
                precisions[name][found.label] = Probe(layer).precision
            try:
                outputs[found.label] = relative_error(run(twin, batch), exact)
            except (MpnoError, RuntimeError):  # the device does not run it
                outputs[found.label] = math.inf
        rows = tuple(
            advise_layer(call, precisions[call.layer], fraction=fraction, tolerance=tolerance, fine=fine)
            for call, fine in zip(calls, beyond, strict=True)
        )
    described = str(tuple(batch.shape)) if isinstance(batch, Tensor) else type(batch).__name__
    labels = {format: found.label for format, found in settings.items()}
    return Advice(type(model).__name__, described, fraction, tolerance, rows, outputs, labels)


def _calls(twin: nn.Module, batch: Any, setting: PrecisionSetting) -> tuple[list[Call], Tensor]:
    """Every call of a spectral layer with its input in float64, and the model's output."""
    layers, calls = spectral_layers(twin), []

    def see(name: str, x: Tensor) -> None:
        calls.append(Call(name, 1 + sum(call.layer == name for call in calls), Probe(layers[name]), x))

    try:
        exact = in_float64(twin, batch, dict.fromkeys(layers, setting.stabiliser), see)
    except REFUSALS as error:
        raise MpnoError(f"advise: {type(twin).__name__} does not run in float64 ({error}); use mpno.audit") from error
    return calls, exact


def _settings(setting: PrecisionSetting | str, formats: Sequence[str]) -> dict[str, PrecisionSetting]:
    """By format, cheapest first as given."""
    given = PrecisionSetting.of(setting, where="advise")
    if given.setting not in ("half", "mixed"):
        raise MpnoError(
            f"advise: setting {given.label!r} has no low format in the spectral block; "
            + allowed(given.setting, ("half", "mixed"))
        )
    if isinstance(formats, str) or not formats:
        raise MpnoError(f"advise: formats are {formats!r}; give a sequence of names, as {COST}")
    found = {}
    for name in dict.fromkeys(formats):
        fmt = get_format(name)
        if fmt.name == "fp32":
            found[fmt.name] = PrecisionSetting.of(PrecisionSetting(stabiliser=given.stabiliser), where="advise")
            continue
        triple = "FHF" if fmt.name == "tf32" and given.triple == "HHH" else given.triple
        # Packing is the whole model's and changes no number of the forward pass, which alone is looked at here.
        values = {**dict(given), "format": fmt.name, "triple": triple, "saved": None}
        found[fmt.name] = PrecisionSetting.of(PrecisionSetting.model_validate(values), where="advise")
    return found


def _cells(layer: AdvisedLayer) -> list[list[str]]:
    """What is printed of a layer, a row per format."""
    rows = []
    for number, row in enumerate(layer.formats):
        first = number == 0
        rows.append(
            [
                layer.layer if first else "",
                row.format,
                _percent(layer.discretization.error) if first else "",
                _percent(row.bound) + ("*" if row.bound_kind == CERTIFICATE else ""),
                _percent(row.precision),
                _percent(row.block),
                "<0.001" if row.range < 1e-3 else f"{row.range:.2g}",
                _percent(row.budget),
                "yes" if row.safe else "overflows" if row.overflows else "no",
                row.evidence,
            ]
        )
    return rows


def _percent(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{100 * value:.2g} %" if math.isfinite(value) else "inf"
