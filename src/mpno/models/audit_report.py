"""What an audit found, as frozen records that print themselves."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mpno.numerics.aligned import aligned
from mpno.numerics.monitor import Headroom
from mpno.specs import get_format
from mpno.specs.names import Evidence
from mpno.spectral.exact import Stage

WIDTH = 100

FAR = 1e9
"""Grid points that nobody has."""
NOT_HERE, IN_FP32 = "does not run here", "real layers ran in fp32"
"""How the reasons begin why a whole model's numbers are missing, or are not those of its setting."""


@dataclass(frozen=True)
class Range:
    """Magnitudes of a tensor: half of them are at most `median`, 99 % at most `high`; `smallest` is not zero."""

    median: float
    high: float
    largest: float
    smallest: float


@dataclass(frozen=True)
class SafeChoice:
    """Another way to run a layer that overflows as it is: measured on the same input, and finite."""

    name: str
    error: float
    evidence: Evidence


@dataclass(frozen=True)
class LayerInSetting:
    """One spectral layer in one setting, on the input that it gets in the model in full precision.

    Attributes:
        setting: short form.
        format: of the low steps, ``fp32`` where none is.
        error: relative L2 error of the output against the layer in float64 with the same stabiliser; infinite where
            the output is not finite.
        evidence: of `error`.
        stages: largest numbers that the steps in a low format store here, found in float64.
        points, axes: of the layer's grid.
        flushed, subnormal: shares of the nonzero parts of the spectrum that `format` rounds to zero, and that it holds
            with fewer digits.
        powers_of_two: False where a GPU's half FFT refuses the grid.
        choices: where it overflows, what to run instead.
    """

    setting: str
    format: str
    error: float
    evidence: Evidence
    stages: tuple[Stage, ...]
    points: int
    axes: int
    flushed: float
    subnormal: float
    powers_of_two: bool
    choices: tuple[SafeChoice, ...] = ()

    @property
    def worst(self) -> Stage | None:
        """The step that is nearest to overflow here."""
        return max(self.stages, key=lambda stage: stage.largest, default=None)

    def at(self, points: int) -> float:
        """Largest number over the format's maximum, on a grid of so many points over the same domain: above 1 it
        overflows. 0 where no step is in a low format.
        """
        refined = (points / self.points) ** (1 / self.axes)
        return max((s.largest * refined**s.axes for s in self.stages), default=0.0) / get_format(self.format).max

    @property
    def overflows(self) -> bool:
        return self.at(self.points) > 1 or not math.isfinite(self.error)

    @property
    def most_points(self) -> float:
        """Points at which it reaches the maximum: infinite where refining changes nothing."""
        limit = get_format(self.format).max
        if any(s.largest > limit for s in self.stages if s.axes == 0):
            return 0.0
        growing = [(limit / s.largest) ** (1 / s.axes) for s in self.stages if s.axes and s.largest]
        return self.points * min(growing) ** self.axes if growing else math.inf


@dataclass(frozen=True)
class AuditedLayer:
    """One spectral layer: what it gets, and how it fares in every setting."""

    layer: str
    kind: str
    transform: str
    grid: tuple[int, ...]
    input: Range
    spectrum: Range
    settings: tuple[LayerInSetting, ...]
    grids: tuple[int, ...]

    @property
    def verdict(self) -> str:
        """What to do, in plain words."""
        from mpno.models.audit_verdict import layer_verdict  # which reads what stands here

        return layer_verdict(self)


@dataclass(frozen=True)
class ModelInSetting:
    """The whole model in one setting.

    Attributes:
        error: relative L2 error of the output against the model in float64 with the same stabilisers.
        change: the same against the float64 model without stabilisers: what switching to the setting does.
        reference: ``float64``, or ``full`` where the model does not run in float64; `why` says why not.
        evidence: of `error` and `change`.
        memory: bytes of one training step as :func:`mpno.numerics.step_bytes` counts them, predicted from shapes.
        why: what could not be found out, and why.
    """

    setting: str
    error: float
    change: float
    reference: str
    evidence: Evidence
    memory: dict[str, int] | None
    why: str = ""


@dataclass(frozen=True)
class Audit:
    """What :func:`audit` found. Prints itself as tables with a verdict.

    Attributes:
        model, device, batch, format: what was audited, on which input: its shape, or its type and the shapes in it.
        layers: spectral layers in the order in which they run.
        settings: the whole model in each setting.
        unseen: modules that call a Fourier transform of their own. Their unscaled coefficients were seen, nothing else.
    """

    model: str
    device: str
    batch: str
    format: str
    layers: tuple[AuditedLayer, ...]
    settings: tuple[ModelInSetting, ...]
    unseen: tuple[Headroom, ...] = ()

    @property
    def verdict(self) -> str:
        """What to do, in plain words."""
        from mpno.models.audit_verdict import model_verdict

        return model_verdict(self)

    def records(self) -> list[dict[str, Any]]:
        """Flat mappings: one per layer, setting and number of grid points, then one per setting of the whole model,
        whose layer is "". `of_max` is measured where `points` is the layer's own grid, else predicted.
        """
        rows = [
            _layer_record(layer, found)
            | {"points": points, "measured": points == found.points}
            | {"of_max": found.at(points)}
            for layer in self.layers
            for found in layer.settings
            for points in dict.fromkeys((found.points, *layer.grids))
        ]
        for found in self.settings:
            row = asdict(found)
            memory = row.pop("memory") or {}
            rows.append({"layer": ""} | row | {f"{key}_bytes": size for key, size in memory.items()})
        return rows

    def __str__(self) -> str:
        where = f"{self.model} on {self.device}, batch {self.batch}, {self.format}"
        parts = [textwrap.fill(f"audit of {where} (max {number(get_format(self.format).max)})", WIDTH)]
        parts.append("verdict\n" + _wrapped(self._verdicts()))
        if self.layers:
            parts += [self._ranges(), self._margins(), self._errors()]
        parts += [self._settings(), self._unseen()]
        return "\n\n".join(part for part in parts if part)

    def _verdicts(self) -> Iterable[str]:
        from mpno.models.audit_verdict import layers_differ

        yield from self.verdict.splitlines()
        if layers_differ(self.layers):
            yield from (f"{_short(layer.layer)}: {layer.verdict}" for layer in self.layers)

    def _ranges(self) -> str:
        head = ("layer", "grid", "input 50 %", "99 %", "max", "spectrum 50 %", "99 %", "max", "smallest")
        rows = []
        for a in self.layers:
            values = (a.input.median, a.input.high, a.input.largest)
            values += (a.spectrum.median, a.spectrum.high, a.spectrum.largest, a.spectrum.smallest)
            rows.append([_short(a.layer), _size(a.grid), *(f"{value:.2e}" for value in values)])
        title = "magnitudes in full precision; spectrum: kept parts, scaled by 1/n; smallest: of those not zero"
        return f"{title}\n{aligned(head, rows, left=2)}"

    def _margins(self) -> str:
        rows: dict[tuple[str, ...], list[str]] = {}
        sizes = list(dict.fromkeys((math.prod(layer.grid), *layer.grids) for layer in self.layers))
        for layer in self.layers:
            for found in layer.settings:
                if (worst := found.worst) is None:
                    continue
                used = [number(found.at(points)) for points in (found.points, *layer.grids)]
                most = "any" if found.most_points > FAR else number(found.most_points)
                shares = [f"{found.flushed:.1%}", f"{found.subnormal:.1%}"]
                row = (_short(layer.layer), worst.step.removesuffix(" transform"), *used, most, *shares)
                rows.setdefault(row, []).append(found.setting)
        if not rows:
            return ""
        # Layers may have grids of their own; then the columns say only which comes first.
        points = (
            [f"{n:,}" for n in sizes[0]]
            if len(sizes) == 1
            else ["here", *(f"{i}." for i in range(2, len(sizes[0]) + 1))]
        )
        head = ("layer", "settings", "step", *points, "overflows from", "flushed", "subnormal")
        lines = [[row[0], ", ".join(names), *row[1:]] for row, names in rows.items()]
        title = textwrap.fill(
            "largest number of the step nearest to overflow over the format's maximum, on this grid and predicted on "
            "finer ones, by grid points: above 1 it overflows, which it does from so many points. Shares of the "
            "spectrum: flushed becomes zero in the format, subnormal keeps fewer digits",
            WIDTH,
        )
        return f"{title}\n{aligned(head, lines, left=3)}"

    def _errors(self) -> str:
        names = [found.setting for found in self.layers[0].settings]
        rows = [[_short(a.layer), *(f"{f.error:.2e}" for f in a.settings)] for a in self.layers]
        rows.append(["evidence", *(_together(a.settings[i].evidence for a in self.layers) for i in range(len(names)))])
        title = "rounding error of each layer on that input: relative L2 against float64, same stabiliser"
        return f"{title}\n{aligned(('layer', *names), rows, left=1)}"

    def _settings(self) -> str:
        head = ("setting", "rounding error", "change from full", "against", "evidence", "peak MiB", "activations MiB")
        rows = []
        for found in self.settings:
            memory = found.memory
            sizes = [f"{memory[key] / 2**20:,.1f}" for key in ("peak", "activations")] if memory else ["-", "-"]
            errors = [f"{found.error:.2e}", "\N{EN DASH}" if found.setting == "full" else f"{found.change:.2e}"]
            rows.append([found.setting, *errors, found.reference, found.evidence, *sizes])
        reasons: dict[str, list[str]] = {}
        for found in self.settings:
            if found.why:
                reasons.setdefault(found.why, []).append(found.setting)
        notes = [f"{', '.join(names)}: {why}" for why, names in reasons.items()]
        title = "the whole model; memory of one training step on CUDA, predicted from shapes"
        return "\n".join([title, aligned(head, rows, left=1), *(_wrapped([note]) for note in notes)])

    def _unseen(self) -> str:
        if not self.unseen:
            return ""
        head = ("module", "operation", "points", "of max", "overflows from (points)")
        rows = [(_short(u.layer), u.name, f"{u.points:,}", number(u.ratio), number(u.most_points)) for u in self.unseen]
        title = "not seen into: transforms of the model's own, of which only the coefficients show; mpno.convert first"
        return f"{title}\n{aligned(head, rows, left=2)}"


def _layer_record(layer: AuditedLayer, found: LayerInSetting) -> dict[str, Any]:
    ranges = {
        f"{name}_{key}": value for name in ("input", "spectrum") for key, value in asdict(getattr(layer, name)).items()
    }
    plain = {key: getattr(layer, key) for key in ("layer", "kind", "transform")} | {"grid": _size(layer.grid)}
    keys = ("setting", "format", "error", "evidence", "flushed", "subnormal", "overflows", "most_points")
    return plain | ranges | {key: getattr(found, key) for key in keys}


def _size(grid: tuple[int, ...]) -> str:
    return "x".join(map(str, grid))


def number(value: float) -> str:
    """Three digits, and from a thousand on all before the point, up to where only an exponent is legible."""
    return f"{value:,.0f}" if 999.5 <= value < 1e10 else f"{value:.3g}"


def _together(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _short(name: str, most: int = 26) -> str:
    """The end of a long path tells layers apart."""
    return name if len(name) <= most else "…" + name[1 - most :]


def _wrapped(lines: Iterable[str]) -> str:
    return "\n".join(textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="    ") for line in lines)


def worst_evidence(found: Sequence[Evidence]) -> Evidence:
    """Of several numbers that make one."""
    order: tuple[Evidence, ...] = ("native", "emulated", "simulated")
    return max(found, key=order.index) if found else "native"
