"""The precision settings of the paper, as a frozen spec that prints itself in the paper's words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_validator,
)

from mpno.specs import notation
from mpno.specs.errors import MpnoError, one_line
from mpno.specs.formats import get_format
from mpno.specs.names import Middle, Saved, Setting, Stabiliser

_STEPS = ("forward transform", "contraction", "inverse transform")
_SHARES = (25.0, 50.0, 25.0)
_LAYERS_SCHEMA = {
    "additionalProperties": {"type": "string"},
    "default": {},
    "description": "layer number to the short form of its setting",
    "propertyNames": {"pattern": "^[0-9]+$"},
    "type": "object",
}


class PrecisionSetting(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What runs in low precision: ``full``, ``amp``, ``half``, ``mixed`` (amp + half) or the paper's ``schedule``.

    Reads from its short form too (:mod:`mpno.specs.notation`), which :attr:`label` writes.

    Attributes:
        setting: the paper's name. ``amp`` covers the real layers, ``half`` the spectral block; ``schedule`` is
            mixed, then a middle phase, then full.
        format: the low format (``fp16`` in the paper); ``fp32`` exactly when the setting is full.
        stabiliser: applied to the input of each spectral block. tanh by default wherever the block is in half.
        triple: forward transform, contraction, inverse transform, each F(ull) or H(alf). ``half`` and ``mixed``
            with ``FFF`` become ``full`` and ``amp``, stabiliser kept, so that all eight triples can be compared.
        weights_only: only the weights of a half contraction are in half, its inputs stay in fp32.
        middle: the schedule's middle phase. ``code``, the default, is what the authors' code does: forward
            transform in full, no stabiliser, contraction and inverse transform in half, amp on. ``amp`` is amp alone.
        shares: percentages of the epochs that the schedule's three phases take, 25/50/25 unless given.
        saved: the format that what the backward pass needs is packed to, whatever computes; None keeps it as it is.
        full_above: of half or mixed, what is measured decides instead: an epoch is trained in full, stabiliser kept, if
            in the one before it more than this percentage of the spectral weights' gradients lay below the format's
            smallest normal number. Not the paper's.
        layers: other settings for single layers, counted from 0, as a mapping or pairs; they hold in every phase.

    The formats below (``forward`` to ``real``) are those of the first phase where the setting has several, and
    leave `layers` aside: see :meth:`at`, :meth:`phase` and :meth:`layer`.

    Source: paper, sections 3 and 4.2; the triple is its Appendix B.7, weights_only its Appendix B.12.
    """

    setting: Setting = "full"
    format: str = "fp32"
    stabiliser: Stabiliser = "none"
    triple: str = Field(default="FFF", pattern="^[FH]{3}$")
    weights_only: bool = False
    middle: Middle | None = None
    shares: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] | None = None
    # Left out where they are None, so that the ids of such runs are what they were without these fields.
    saved: Saved | None = Field(default=None, exclude_if=lambda saved: saved is None)
    full_above: float | None = Field(default=None, ge=0, lt=100, exclude_if=lambda share: share is None)
    layers: Annotated[tuple[tuple[NonNegativeInt, PrecisionSetting], ...], WithJsonSchema(_LAYERS_SCHEMA)] = ()

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = notation.read(data)
        if not isinstance(data, dict):
            return data
        data = dict(data)
        block = data.get("setting", "full") in ("half", "mixed", "schedule")
        data.setdefault("stabiliser", "tanh" if block else "none")
        data.setdefault("triple", "HHH" if block else "FFF")
        if data["triple"] == "FFF" and data.get("setting") in ("half", "mixed"):
            if data["setting"] == "half":
                data.pop("format", None)
            data["setting"] = {"half": "full", "mixed": "amp"}[data["setting"]]
        data.setdefault("format", "fp32" if data.get("setting", "full") == "full" else "fp16")
        if data.get("setting") == "schedule":
            data["middle"] = "code" if data.get("middle") is None else data["middle"]
            data["shares"] = _SHARES if data.get("shares") is None else data["shares"]
        if "layers" in data:
            data["layers"] = _pairs(data["layers"])
        return data

    @classmethod
    def of(
        cls, value: PrecisionSetting | str, *, where: str, layers: int | None = None, packs: bool = True
    ) -> PrecisionSetting:
        """The setting that `value` is or spells, for a model or layer called `where`.

        Args:
            layers: how many layers that a setting may name there are; None where that is not known.
            packs: whether it can pack what is saved, as models of mpno do.

        Raises:
            MpnoError: no setting, or one that names a layer which is not there, or `saved` of what does not pack.
        """
        try:
            setting = cls.model_validate(value)
        except ValidationError as error:
            raise one_line(
                error, where=where, fields={"precision": list(cls.model_fields)}, within=("precision",)
            ) from None
        if setting.saved and not packs:
            raise MpnoError(
                f"{where}: precision is {setting.label}; only mpno's own models pack what is saved; leave out "
                f"', saved {setting.saved}'"
            )
        beyond = [index for index, _ in setting.layers if layers is not None and index >= layers]
        if beyond:
            raise MpnoError(
                f"{where}: precision gives layer {beyond[0]} a setting; the model has layers 0 to {(layers or 1) - 1}; "
                "name one of them"
            )
        return setting

    @field_validator("format")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            fmt = get_format(name)
        except MpnoError as error:
            raise ValueError(f"is not a number format; {str(error).partition(': ')[2]}") from None
        if fmt.stochastic:
            # Values made again in the backward pass must be those of the forward pass.
            plain = fmt.name.removesuffix("_stochastic")
            raise ValueError(f"rounds values by chance, which only gradients may be; write {plain}_back_{fmt.name}")
        return fmt.name

    @model_validator(mode="after")
    def _consistent(self) -> PrecisionSetting:
        if (self.setting == "full") != (self.format == "fp32"):
            raise ValueError(f"has setting {self.setting} with format {self.format}; only full is fp32")
        if (self.setting in ("half", "mixed", "schedule")) != ("H" in self.triple):
            raise ValueError(
                f"has setting {self.setting} with triple {self.triple}; half, mixed and schedule have an H, others none"
            )
        if self.weights_only and self.triple[1] == "F":
            raise ValueError(f"has weights_only with triple {self.triple}; it needs a half contraction, ?H?")
        if self.setting != "schedule" and (self.middle, self.shares) != (None, None):
            raise ValueError(f"gives setting {self.setting} a middle or shares; remove them or choose schedule")
        if self.shares is not None and not math.isclose(sum(self.shares), 100.0):
            raise ValueError(
                f"has shares {notation.percentages(self.shares)}; make them add up to 100 (percent of the epochs)"
            )
        if self.full_above is not None and self.setting not in ("half", "mixed"):
            raise ValueError(f"gives setting {self.setting} a full above; remove it or choose half or mixed")
        for index, setting in self.layers:
            if setting.layers or setting.saved or setting.setting == "schedule" or setting.full_above is not None:
                raise ValueError(
                    f"gives layer {index} a schedule or layers of its own, or packs what it saves; give it one plain "
                    "setting"
                )
        return self

    @field_serializer("layers")
    def _layers_as_mapping(self, layers: tuple[tuple[int, PrecisionSetting], ...]) -> dict[str, str]:
        return {str(index): setting.label for index, setting in layers}

    @property
    def forward(self) -> str:
        """Format of the forward transform."""
        return self._part(0)

    @property
    def contraction(self) -> str:
        """Format of the contraction's inputs and result."""
        return "fp32" if self.weights_only else self._part(1)

    @property
    def weights(self) -> str:
        """Format of the spectral weights in the contraction; the parameters themselves stay in fp32."""
        return self._part(1)

    @property
    def inverse(self) -> str:
        """Format of the inverse transform."""
        return self._part(2)

    @property
    def real(self) -> str:
        """Format of the real layers (lifting, skips, channel MLPs, projection)."""
        return self.format if self.setting in ("amp", "mixed", "schedule") else "fp32"

    def _part(self, index: int) -> str:
        return self.format if self.triple[index] == "H" else "fp32"

    def layer(self, index: int) -> PrecisionSetting:
        """The setting of one layer, counted from 0: its own where `layers` names it, else this one without layers.

        Packing is the whole model's, so that a layer has no `saved`.
        """
        return dict(self.layers).get(index, self._with(layers=(), saved=None))

    @property
    def phases(self) -> tuple[tuple[float, PrecisionSetting], ...]:
        """(percent of the epochs, setting) in order, each above 0; what has no phases is its own one.

        Where what is measured decides, nobody knows the shares beforehand: low stands with 100 and full with 0.
        """
        if self.full_above is not None:
            full = PrecisionSetting(stabiliser=self.stabiliser, saved=self.saved, layers=self.layers)
            return ((100.0, self._with(full_above=None)), (0.0, full))
        if self.shares is None:
            return ((100.0, self),)
        plain = {"middle": None, "shares": None}
        full = PrecisionSetting(layers=self.layers, saved=self.saved)
        if self.middle == "amp":
            middle = PrecisionSetting(setting="amp", format=self.format, saved=self.saved, layers=self.layers)
        else:
            changes = {"setting": "mixed", "stabiliser": "none", "triple": f"F{self.triple[1:]}"}
            middle = PrecisionSetting.model_validate({**dict(self), **plain, **changes})
        settings = (self._with(setting="mixed", **plain), middle, full)
        return tuple((share, setting) for share, setting in zip(self.shares, settings, strict=True) if share > 0)

    def at(self, progress: float) -> PrecisionSetting:
        """The setting when the share `progress` of the training lies behind, from 0 (start) to 1 (end)."""
        if not 0.0 <= progress <= 1.0:
            raise MpnoError(f"progress {progress}; it must be from 0 (start of the training) to 1 (its end)")
        end = 0.0
        for share, setting in self.phases[:-1]:
            end += share
            if progress < end / 100:
                return setting
        return self.phases[-1][1]

    def phase(self, epoch: int, epochs: int, *, below: float | None = None) -> PrecisionSetting:
        """The setting of one of `epochs` epochs, counted from 1. It switches between epochs, never within one.

        Args:
            epoch, epochs: which of how many.
            below: the share, from 0 to 1, of the spectral weights' gradients below the format's smallest normal number
                in the epoch before; None for the first epoch. It counts with :attr:`full_above` alone.

        A phase ends with the epoch in which its share is reached, so 500 epochs switch after 125 and 375, where
        the authors' run does.
        """
        if self.full_above is not None:
            (_, low), (_, full) = self.phases
            return full if below is not None and 100 * below > self.full_above else low
        return self.at((epoch - 1) / epochs)

    @property
    def variants(self) -> tuple[PrecisionSetting, ...]:
        """Every plain setting that some layer has in some phase, the general one first."""
        found = [setting._with(layers=()) for _, setting in self.phases]
        return tuple(dict.fromkeys([*found, *(setting for _, setting in self.layers)]))

    def _with(self, **changes: Any) -> PrecisionSetting:
        return self.model_copy(update=changes)

    @property
    def label(self) -> str:
        """The short form, as tables show it: ``full``, ``full+tanh``, ``mixed-bf16``, ``half, stabiliser none``."""
        return notation.write(self)

    @property
    def slug(self) -> str:
        """The label as part of a file name, cut where many layers would make it too long for one."""
        return re.sub(r"[^a-z0-9_]+", "-", self.label.lower())[:80].strip("-")

    def __str__(self) -> str:
        if self.setting == "schedule":
            parts = [f"{setting._with(layers=()).label} for {share:g} %" for share, setting in self.phases]
            text = "; ".join(parts) + " of the epochs"
        elif self.full_above is not None:
            low, full = (setting._with(layers=()) for _, setting in self.phases)
            text = (
                f"{low._described()}; {full.label} in the epoch after one with over {self.full_above:g} % of the "
                f"spectral weights' gradients below {self.format}'s smallest normal number"
            )
        else:
            text = self._described()
        text += f"; saved for the backward pass in {self.saved}" if self.saved else ""
        return "; ".join([f"{self.label}: {text}", *(f"layer {index} {setting}" for index, setting in self.layers)])

    def _described(self) -> str:
        parts = []
        if "H" in self.triple:
            low = [step for step, letter in zip(_STEPS, self.triple, strict=True) if letter == "H"]
            if self.weights_only:
                low[low.index("contraction")] = "weights of the contraction"
            parts.append(f"{', '.join(low)} in {self.format}")
        if self.real != "fp32":
            parts.append(f"real layers in {self.real}")
        stabiliser = "" if self.stabiliser == "none" else self.stabiliser
        if not parts:
            return "everything in fp32" + (f", {stabiliser} before the block" if stabiliser else "")
        if stabiliser:
            parts[0] += f" after {stabiliser}" if "H" in self.triple else f", {stabiliser} before the block"
        return "; ".join(parts)


def _pairs(layers: Any) -> Any:
    """Layers in order, short forms read, from a mapping or pairs; what is neither is left for pydantic to refuse."""
    if isinstance(layers, Mapping):
        layers = layers.items()
    elif not isinstance(layers, list | tuple):
        return layers
    pairs: list[tuple[int, PrecisionSetting]] = []
    for entry in layers:
        try:
            index, setting = entry
            number = int(index)
        except (TypeError, ValueError):
            raise ValueError(
                f"has {entry!r} among its layers; write a layer number and its setting, as 0: full"
            ) from None
        try:
            pairs.append((number, PrecisionSetting.model_validate(setting)))
        except ValidationError as error:
            message = str(error.errors()[0]["msg"])
            message = message.replace("Value error,", "which") if message.startswith("Value") else f"refused: {message}"
            raise ValueError(f"gives layer {number} {setting!r}, {message}") from None
    numbers = [number for number, _ in pairs]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"names layer {max(numbers, key=numbers.count)} twice; name it once")
    return tuple(sorted(pairs, key=lambda pair: pair[0]))
