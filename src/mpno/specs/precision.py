"""The precision settings of the paper, as a frozen spec that prints itself in the paper's words."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mpno.specs.errors import MpnoError, allowed
from mpno.specs.formats import get_format
from mpno.specs.names import SETTINGS, STABILISERS, Setting, Stabiliser


class PrecisionSetting(BaseModel):
    """What runs in low precision: ``full``, ``amp``, ``half`` or ``mixed`` (amp + half).

    Attributes:
        setting: the paper's name. ``amp`` covers the real layers, ``half`` the spectral block.
        format: the low format (``fp16`` in the paper); ``fp32`` exactly when the setting is full.
        stabiliser: applied to the input of each spectral block. tanh by default wherever the block is in half.
        triple: forward transform, contraction, inverse transform, each F(ull) or H(alf).

    Source: paper, sections 3 and 4.2; the triple is its Appendix B.7.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    setting: Setting = "full"
    format: str = "fp32"
    stabiliser: Stabiliser = "none"
    triple: str = Field(default="FFF", pattern="^[FH]{3}$")

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = _parse(data)
        if not isinstance(data, dict):
            return data
        data = dict(data)
        block = data.get("setting", "full") in ("half", "mixed")
        data.setdefault("format", "fp32" if data.get("setting", "full") == "full" else "fp16")
        data.setdefault("stabiliser", "tanh" if block else "none")
        data.setdefault("triple", "HHH" if block else "FFF")
        return data

    @field_validator("format")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return get_format(name).name
        except MpnoError as error:
            raise ValueError(f"is not a number format: {error}") from None

    @model_validator(mode="after")
    def _consistent(self) -> PrecisionSetting:
        if (self.setting == "full") != (self.format == "fp32"):
            raise ValueError(f"setting {self.setting} does not go with format {self.format}: only full is fp32")
        if (self.setting in ("half", "mixed")) != ("H" in self.triple):
            raise ValueError(f"setting {self.setting} does not go with triple {self.triple}: half and mixed have an H")
        return self

    @property
    def forward(self) -> str:
        """Format of the forward transform."""
        return self._part(0)

    @property
    def contraction(self) -> str:
        """Format of the contraction with the spectral weights."""
        return self._part(1)

    @property
    def inverse(self) -> str:
        """Format of the inverse transform."""
        return self._part(2)

    @property
    def real(self) -> str:
        """Format of the real layers (lifting, skips, channel MLPs, projection)."""
        return self.format if self.setting in ("amp", "mixed") else "fp32"

    def _part(self, index: int) -> str:
        return self.format if self.triple[index] == "H" else "fp32"

    @property
    def label(self) -> str:
        """The name in tables: ``full``, ``full+tanh``, ``mixed``, ``mixed-bf16``, ``half, stabiliser none``."""
        name = self.setting if self.format in ("fp32", "fp16") else f"{self.setting}-{self.format}"
        if self.triple not in ("FFF", "HHH"):
            name += f" {self.triple}"
        block = "H" in self.triple
        if block and self.stabiliser != "tanh":
            return f"{name}, stabiliser {self.stabiliser}"
        return f"{name}+{self.stabiliser}" if not block and self.stabiliser != "none" else name

    @property
    def slug(self) -> str:
        """The label as part of a file name."""
        return re.sub(r"[^a-z0-9_]+", "-", self.label.lower()).strip("-")

    def __str__(self) -> str:
        if self.setting == "full":
            return f"{self.label}: everything in fp32" + (
                "" if self.stabiliser == "none" else ", tanh before the block"
            )
        parts = []
        if "H" in self.triple:
            steps = zip(("forward transform", "contraction", "inverse transform"), self.triple, strict=True)
            low = [step for step, letter in steps if letter == "H"]
            tanh = "" if self.stabiliser == "none" else f" after {self.stabiliser}"
            parts.append(f"{', '.join(low)} in {self.format}{tanh}")
        if self.real != "fp32":
            parts.append(f"real layers in {self.real}")
        return f"{self.label}: " + "; ".join(parts)


def _parse(text: str) -> dict[str, str]:
    """Read the short form ``setting[-format][+stabiliser]``."""
    match = re.fullmatch(r"(?P<setting>[a-z]+)(-(?P<format>\w+))?(\+(?P<stabiliser>\w+))?", text)
    if match is None or match["setting"] not in SETTINGS:
        raise ValueError(f"is not a precision setting; {allowed(text, SETTINGS)}, with -format and +stabiliser")
    if match["stabiliser"] and match["stabiliser"] not in STABILISERS:
        raise ValueError(f"names an unknown stabiliser; {allowed(match['stabiliser'], STABILISERS)}")
    return {key: value for key, value in match.groupdict().items() if value}
