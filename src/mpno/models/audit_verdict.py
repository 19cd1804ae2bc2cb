"""What an audit's numbers mean, in plain words."""

from __future__ import annotations

import math

from mpno.models.audit_report import (
    FAR,
    IN_FP32,
    NOT_HERE,
    Audit,
    AuditedLayer,
    LayerInSetting,
    ModelInSetting,
    number,
)
from mpno.specs import PrecisionSetting, get_format

REMEDY = "transform in full (triple FHH) or use transform matmul"


def layer_verdict(layer: AuditedLayer) -> str:
    """A clause per group of settings that fare alike."""
    groups: dict[str, list[str]] = {}
    for found in layer.settings:
        if found.stages:
            groups.setdefault(_fate(found, layer), []).append(found.setting)
    texts = [f"{', '.join(names)}: {text}" for text, names in groups.items()]
    return "; ".join(texts) or "in fp32 in every setting audited: nothing here can overflow"


def layers_differ(layers: tuple[AuditedLayer, ...]) -> bool:
    """Whether some layer fares otherwise than the others, so that the line on the whole model does not say it all."""
    return len({tuple(_kind(layer, found) for found in layer.settings) for layer in layers}) > 1


def _kind(layer: AuditedLayer, found: LayerInSetting) -> tuple[object, ...]:
    """What :func:`_fate` says but for its numbers."""
    beyond = tuple(found.at(points) > 1 for points in layer.grids)
    names = tuple(choice.name for choice in found.choices)
    return bool(found.stages), found.overflows, found.powers_of_two, beyond, names


def model_verdict(audit: Audit) -> str:
    """The same for the model, whose weakest layer decides; then a line per setting on rounding error and memory."""
    if not audit.layers:
        return "no layer that a setting could act on: mpno.convert(model) first"
    groups: dict[str, list[str]] = {}
    for index, whole in enumerate(audit.settings):
        found = [(layer, layer.settings[index]) for layer in audit.layers if layer.settings[index].stages]
        if found or not math.isfinite(whole.error):
            groups.setdefault(_overall(found, whole), []).append(whole.setting)
    texts = [f"{', '.join(names)}: {text}" for text, names in groups.items()]
    texts = texts or ["no setting audited puts a spectral layer into a low format: nothing can overflow there"]
    return "\n".join([*texts, *_costs(audit)])


def _overall(found: list[tuple[AuditedLayer, LayerInSetting]], whole: ModelInSetting) -> str:
    failing = [(layer, f) for layer, f in found if f.overflows]
    if failing:
        names = [layer.layer for layer, _ in failing]
        first = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        safe = [c.name for c in failing[0][1].choices if all(c.name in {d.name for d in f.choices} for _, f in failing)]
        worst = max((f for _, f in failing), key=lambda f: f.at(f.points))
        return f"overflows here in {first}: {_why(worst)}; {_use(safe, 'these layers')}"
    if not math.isfinite(whole.error):
        return ("safe in the spectral layers, but " if found else "") + _not_finite(whole)
    layer, weakest = min(found, key=lambda pair: pair[1].most_points / pair[1].points)
    text = _fate(weakest, layer, f" in {layer.layer}" * (len(found) > 1))
    beyond = [points for points in layer.grids if weakest.at(points) > 1]
    return f"{text}; beyond, {REMEDY}" if beyond else text


def _fate(found: LayerInSetting, layer: AuditedLayer, where: str = "") -> str:
    """What becomes of one layer in one setting."""
    if found.overflows:
        safe = [f"{choice.name} (error {choice.error:.1e}, {choice.evidence})" for choice in found.choices]
        return f"overflows here: {_why(found)}; {_use(safe, 'this layer')}"
    text = f"safe here, {found.at(found.points):.2g} of {found.format}'s maximum{where}"
    text += ", on any finer grid" if found.most_points > FAR else f", up to about {_rounded(found.most_points)} points"
    beyond = [points for points in layer.grids if found.at(points) > 1]
    text += f", overflow at {beyond[0]:,}" if beyond else ""
    return text if found.powers_of_two else f"{text}, but half FFTs on a GPU want powers of two: transform matmul"


def _why(found: LayerInSetting) -> str:
    """Of a layer that overflows."""
    worst = found.worst
    if worst is not None and found.at(found.points) > 1:
        limit = get_format(found.format).max
        return f"the {worst.step} reaches {number(worst.largest)}, {found.format} ends at {number(limit)}"
    return "the output is not finite" if found.powers_of_two else "half FFTs take powers of two only"


def _not_finite(whole: ModelInSetting) -> str:
    """Of a model whose spectral layers do not overflow."""
    if whole.why.startswith(NOT_HERE):
        return f"the model {whole.why}"
    real = PrecisionSetting.of(whole.setting, where="audit").real
    if real == "fp32" or whole.why.startswith(IN_FP32):
        return "the model's output is not finite, although its real layers ran in fp32"
    text = f"the model's output is not finite: its real layers overflow in {real}"
    return f"{text}; use bf16 for them" if get_format(real).max < get_format("bf16").max else text


def _use(choices: list[str], what: str) -> str:
    return f"use {' or '.join(choices)}" if choices else f"keep {what} in full"


def _costs(audit: Audit) -> list[str]:
    full = next((found.memory for found in audit.settings if found.setting == "full"), None)
    texts = []
    for found in audit.settings:
        if found.setting == "full" or not math.isfinite(found.error):
            continue
        lower = ", a lower estimate" if found.evidence == "simulated" else ""
        text = f"{found.setting}: rounding error {found.error:.1e} of the output ({found.evidence}{lower})"
        if found.change > 2 * found.error:
            text += f", its stabiliser changes the output by {found.change:.1e}"
        if full and found.memory:
            text += f", peak memory {found.memory['peak'] / full['peak']:.0%} of full's (predicted)"
        texts.append(text)
    return texts


def _rounded(points: float) -> str:
    """Two digits: more the extrapolation does not carry. Rounded down, as a limit is."""
    digits = max(0, math.floor(math.log10(points)) - 1) if points >= 1 else 0
    return f"{math.floor(points / 10**digits) * 10**digits:,}"
