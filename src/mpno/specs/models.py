"""The frozen spec of each architecture. A run holds one of them, told apart by `name`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    Tag,
    model_validator,
)

from mpno.specs.contraction import ContractionSpec
from mpno.specs.names import MODELS, Embedding, Norm, Skip
from mpno.specs.numbers import Count, Layers


class Architecture(BaseModel):
    """A value object: unknown keys are refused, fields cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def title(self) -> str:
        """As a table names it, with the factorisation of its weights if they have one: ``FNO``, ``TFNO (CP)``."""
        name = {"unet": "U-Net"}.get(getattr(self, "name", ""), getattr(self, "name", "").upper())
        contraction = getattr(self, "contraction", None)
        kind = "dense" if contraction is None else contraction.factorization
        factors = {"dense": "", "cp": "CP", "tucker": "Tucker", "tt": "TT"}[kind]
        return f"{name} ({factors})" if factors else name


class FNOSpec(Architecture):
    """The Fourier neural operator; ``tfno`` is the same with factorised spectral weights.

    `modes` counts the Fourier modes kept along each axis, both signs together. `padding` is the share of each axis
    that is added as zeros on either side of it before the blocks and cut off after them, for fields that are not
    periodic. A TFNO without `contraction` has the paper's: CP factors with 5 % of the dense weight's parameters.
    """

    name: Literal["fno", "tfno"] = "fno"
    modes: tuple[Count, ...] = Field(default=(12, 12), min_length=1, max_length=3)
    width: Count = 32
    layers: Layers = 4
    lifting_ratio: PositiveFloat = 2.0
    projection_ratio: PositiveFloat = 2.0
    mlp_expansion: PositiveFloat = 0.5
    norm: Norm = "none"
    skip: Skip = "linear"
    mlp_skip: Skip = "soft-gating"
    padding: NonNegativeFloat = 0.0
    contraction: ContractionSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _factorised(cls, data: Any) -> Any:
        """The paper's factorisation where a TFNO is asked for without one."""
        if isinstance(data, dict) and data.get("name") == "tfno" and data.get("contraction") is None:
            return {**data, "contraction": ContractionSpec(factorization="cp", rank=0.05)}
        return data


class SFNOSpec(Architecture):
    """The spherical Fourier neural operator. `modes` are (degrees, orders) kept of the spherical harmonics."""

    name: Literal["sfno"] = "sfno"
    modes: tuple[Count, Count] = (16, 16)
    width: Count = 32
    layers: Layers = 4
    lifting_ratio: PositiveFloat = 2.0
    projection_ratio: PositiveFloat = 2.0
    mlp_expansion: PositiveFloat = 0.5
    norm: Norm = "none"
    skip: Skip = "linear"
    mlp_skip: Skip = "soft-gating"
    grid: Literal["equiangular", "legendre-gauss"] = "equiangular"


class GINOSpec(Architecture):
    """The geometry-informed neural operator: points to a latent grid, an FNO there, the latent grid to points.

    The latent grid has as many points along each axis as the data's distance field. `radius` is that of a
    neighbourhood on the unit cube, `frequencies` how many sines and cosines embed each coordinate, `embedding` which,
    `in_hidden` and `out_hidden` the hidden channels of the two kernels, `encoded` the channels of the first integral.
    """

    name: Literal["gino"] = "gino"
    modes: tuple[Count, Count, Count] = (8, 8, 8)
    width: Count = 32
    layers: Layers = 4
    lifting_ratio: PositiveFloat = 2.0
    projection_ratio: PositiveFloat = 4.0
    mlp_expansion: PositiveFloat = 0.5
    norm: Norm = "none"
    skip: Skip = "linear"
    mlp_skip: Skip = "soft-gating"
    padding: NonNegativeFloat = 0.0
    contraction: ContractionSpec | None = None
    radius: PositiveFloat = 0.1
    frequencies: Count = 8
    embedding: Embedding = "nerf"
    in_hidden: tuple[Count, ...] = Field(default=(32, 32), min_length=1)
    out_hidden: tuple[Count, ...] = Field(default=(64, 32), min_length=1)
    encoded: Count = 3


class UNetSpec(Architecture):
    """The U-Net baseline: `depth` halvings of the grid, `features` channels on the finest, doubled at each halving."""

    name: Literal["unet"] = "unet"
    features: Count = 64
    depth: Layers = 4


def _name_of(value: Any) -> Any:
    name = value.get("name", "fno") if isinstance(value, dict) else getattr(value, "name", "fno")
    return "fno" if name == "tfno" else name


ModelSpec = Annotated[
    Annotated[FNOSpec, Tag("fno")]
    | Annotated[SFNOSpec, Tag("sfno")]
    | Annotated[GINOSpec, Tag("gino")]
    | Annotated[UNetSpec, Tag("unet")],
    Discriminator(
        _name_of,
        custom_error_type="model_name",
        custom_error_message="is no model",
    ),
]
"""The spec of any model; where no name is given, that of an FNO."""

ARCHITECTURES: dict[str, type[Architecture]] = {
    "fno": FNOSpec,
    "tfno": FNOSpec,
    "sfno": SFNOSpec,
    "gino": GINOSpec,
    "unet": UNetSpec,
}
"""The spec's class by the model's name."""
assert set(ARCHITECTURES) == set(MODELS)
