"""What an audit's numbers mean, in plain words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mpno.specs import get_format

if TYPE_CHECKING:
    from mpno.models.audit_report import Audit, AuditedLayer, LayerInSetting


def layer_verdict(layer: AuditedLayer) -> str:
    """One sentence per group of settings that fare alike."""
    groups: dict[str, list[str]] = {}
    for found in layer.settings:
        if found.stages:
            groups.setdefault(_fate(found, layer), []).append(found.setting)
    texts = [f"{', '.join(names)}: {text}" for text, names in groups.items()]
    return " ".join(texts) or "in fp32 in every setting audited: nothing here can overflow."


def model_verdict(audit: Audit) -> str:
    """The same for the model, whose weakest layer decides; then a line per setting on rounding error and memory."""
    if not audit.layers:
        return "no layer of mpno's: the settings have nothing to act on; mpno.convert(model) first."
    groups: dict[str, list[str]] = {}
    for index, whole in enumerate(audit.settings):
        found = [(layer, layer.settings[index]) for layer in audit.layers if layer.settings[index].stages]
        if not found:
            continue
        failing = [layer.layer for layer, f in found if f.overflows]
        if failing:
            names = failing[0] if len(failing) == 1 else f"{len(failing)} layers, {failing[0]} first"
            text = f"overflows here in {names}: transform in full (triple FHH) or use transform matmul."
        else:
            layer, weakest = min(found, key=lambda pair: pair[1].most_points / pair[1].points)
            text = _fate(weakest, layer, f" ({layer.layer} is nearest to overflow)")
            if not math.isfinite(whole.error):
                text = "gives numbers that are not finite outside the spectral layers: keep real layers in full."
        groups.setdefault(text, []).append(whole.setting)
    texts = [f"{', '.join(names)}: {text}" for text, names in groups.items()]
    texts = texts or ["No setting audited puts a spectral layer into a low format: nothing can overflow there."]
    return "\n".join([*texts, *_costs(audit)])


def _fate(found: LayerInSetting, layer: AuditedLayer, where: str = "") -> str:
    worst = found.worst
    assert worst is not None
    limit = get_format(found.format).max
    out = "transform in full (triple FHH) or use transform matmul"
    if found.overflows:
        if found.at(found.points) > 1:
            why = f"the {worst.step} reaches {worst.largest:,.4g}, {found.format} ends at {limit:,.5g}"
        else:
            why = "the output is not finite"
        safe = [f"{choice.name} (error {choice.error:.1e}, {choice.evidence})" for choice in found.choices]
        return f"overflows here: {why}; use {' or '.join(safe) or 'full for this layer'}."
    text = f"safe here{where}: {found.at(found.points):.2g} of {found.format}'s maximum"
    if math.isinf(found.most_points):
        text += ", on finer grids too."
    else:
        text += f", up to about {_rounded(found.most_points)} points"
        beyond = [points for points in layer.grids if found.at(points) > 1]
        text += f"; at {beyond[0]:,} it would overflow: {out}." if beyond else "."
    if not found.powers_of_two:
        text += " A GPU's half FFT takes powers of two only, which this grid is not: use transform matmul."
    return text


def _costs(audit: Audit) -> list[str]:
    full = next((found.memory for found in audit.settings if found.setting == "full"), None)
    texts = []
    for found in audit.settings:
        if found.setting == "full" or not math.isfinite(found.error):
            continue
        lower = ", a lower estimate" if found.evidence == "simulated" else ""
        text = f"{found.setting}: rounding error {found.error:.1e} of the output ({found.evidence}{lower})"
        if full and found.memory:
            text += f", peak memory {found.memory['peak'] / full['peak']:.0%} of full's (predicted)"
        texts.append(text + ".")
    return texts


def _rounded(points: float) -> str:
    """Two digits: more the extrapolation does not carry. Rounded down, as a limit is."""
    digits = max(0, math.floor(math.log10(points)) - 1) if points >= 1 else 0
    return f"{math.floor(points / 10**digits) * 10**digits:,}"
