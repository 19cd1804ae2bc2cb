"""The short form of a precision setting: one line of text that tables show and configs may hold.

``setting[-format][ TRIPLE][ weights-only][+stabiliser][, saved S][, middle M][, shares a/b/c][, full above P][
[layers]]``, as in ``mixed``, ``mixed-bf16``, ``half HFF, stabiliser none`` (or ``half-HFF+none``), ``schedule, middle
amp, shares 20/60/20``, ``mixed, full above 50``, ``mixed [0: full, 2-3: half]``. What is written reads back as the same
setting.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mpno.specs.errors import allowed
from mpno.specs.names import MIDDLES, SAVED, SETTINGS, STABILISERS

if TYPE_CHECKING:
    from mpno.specs.precision import PrecisionSetting

NAMED = {"compact": "mixed, saved mxfp8"}
"""Settings with a name of their own."""
_FORM = re.compile(
    r"""(?P<setting>[a-z]+)
        ([- ](?P<format>(?!weights)[a-z][\w.]*))?
        ([- ](?P<triple>[FH]{3}))?
        (?P<weights_only>[- ]weights-only)?
        ((\+|,\ stabiliser\ )(?P<stabiliser>\w+))?
        (,\ saved\ (?P<saved>\w+))?
        (,\ middle\ (?P<middle>\w+))?
        (,\ shares\ (?P<shares>[\d.]+(/[\d.]+){2}))?
        (,\ full\ above\ (?P<full_above>[\d.]+(e-\d+)?))?
        (\ ?\[(?P<layers>[^\[\]]*)\])?""",
    re.VERBOSE,
)
_HELP = (
    "-format, -TRIPLE, -weights-only, +stabiliser, ', saved S', ', middle M', ', shares a/b/c', ', full above P' and "
    "' [layer: setting]' may follow"
)


def read(text: str) -> dict[str, Any]:
    """Return the fields that `text` states, as a mapping of :class:`PrecisionSetting`'s names.

    Raises:
        ValueError: the text does not follow the form, or uses an unknown word.
    """
    text = NAMED.get(text, text)
    match = _FORM.fullmatch(text)
    setting = match["setting"] if match else text
    if match is None or setting not in SETTINGS:
        raise ValueError(f"is not a precision setting; {allowed(setting, (*SETTINGS, *NAMED))}; {_HELP}")
    for name, known in (("stabiliser", STABILISERS), ("saved", SAVED), ("middle", MIDDLES)):
        if match[name] and match[name] not in known:
            raise ValueError(f"names an unknown {name}; {allowed(match[name], known)}")
    fields: dict[str, Any] = {key: value for key, value in match.groupdict().items() if value}
    if "weights_only" in fields:
        fields["weights_only"] = True
    if "shares" in fields:
        fields["shares"] = fields["shares"].split("/")
    if "layers" in fields:
        fields["layers"] = _read_layers(fields["layers"])
    return fields


def write(p: PrecisionSetting) -> str:
    """The short form of `p`, leaving out what its setting implies."""
    text = p.setting if p.format in ("fp32", "fp16") else f"{p.setting}-{p.format}"
    if p.triple not in ("FFF", "HHH"):
        text += f" {p.triple}"
    if p.weights_only:
        text += " weights-only"
    block = "H" in p.triple
    if block and p.stabiliser != "tanh":
        text += f", stabiliser {p.stabiliser}"
    elif not block and p.stabiliser != "none":
        text += f"+{p.stabiliser}"
    if p.saved:
        text += f", saved {p.saved}"
    if p.middle not in (None, "code"):
        text += f", middle {p.middle}"
    if p.shares not in (None, (25.0, 50.0, 25.0)):
        text += f", shares {percentages(p.shares or ())}"
    if p.full_above is not None:
        text += f", full above {percentages([p.full_above])}"
    return text + (f" [{_write_layers(p.layers)}]" if p.layers else "")


def percentages(shares: Sequence[float]) -> str:
    """``25/50/25``: whole numbers without a point, others with all their digits."""
    return "/".join(str(int(share)) if share == int(share) else repr(share) for share in shares)


def _read_layers(text: str) -> dict[int, str]:
    layers: dict[int, str] = {}
    for entry in re.split(r",\s*(?=\d+(?:-\d+)?:)", text):
        match = re.fullmatch(r"(?P<first>\d+)(-(?P<last>\d+))?:\s*(?P<setting>.+)", entry.strip())
        if match is None:
            raise ValueError(f"has layers {text!r}; write [0: full, 2-3: half]")
        first, last = int(match["first"]), int(match["last"] or match["first"])
        if last < first or last - first > 1000:
            raise ValueError(f"has layers {first}-{last}; write the lower one first")
        for index in range(first, last + 1):
            if index in layers:
                raise ValueError(f"names layer {index} twice; name it once")
            layers[index] = match["setting"]
    return layers


def _write_layers(layers: Sequence[tuple[int, PrecisionSetting]]) -> str:
    runs: list[tuple[int, int, str]] = []
    for index, setting in layers:
        label = write(setting)
        if runs and runs[-1][1] == index - 1 and runs[-1][2] == label:
            runs[-1] = (runs[-1][0], index, label)
        else:
            runs.append((index, index, label))
    return ", ".join(f"{first}{'' if last == first else f'-{last}'}: {label}" for first, last, label in runs)
