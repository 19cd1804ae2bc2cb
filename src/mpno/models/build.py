"""From the spec of a model to the model."""

from __future__ import annotations

from torch import nn

from mpno.models.fno import FNO
from mpno.models.gino import GINO
from mpno.models.sfno import SFNO
from mpno.models.unet import UNet
from mpno.specs import FNOSpec, GINOSpec, ModelSpec, MpnoError, PrecisionSetting, SFNOSpec, UNetSpec
from mpno.specs.names import RunTransform


def make_model(
    spec: ModelSpec,
    in_channels: int,
    out_channels: int,
    *,
    precision: PrecisionSetting | str = "full",
    transform: RunTransform = "fft",
    latent_channels: int = 1,
) -> nn.Module:
    """The model that `spec` describes, with new weights.

    Args:
        spec: which architecture, and its sizes.
        in_channels, out_channels: channels of the data.
        precision: a :class:`PrecisionSetting` or its short form.
        transform: ``fft`` or ``matmul``; of spherical models ``sht`` or ``matmul``.
        latent_channels: of GINO: fields given on the latent grid.
    """
    if not isinstance(spec, FNOSpec | SFNOSpec | GINOSpec | UNetSpec):
        raise MpnoError(
            f"make_model: spec is a {type(spec).__name__}; give a spec of mpno.specs (FNOSpec, SFNOSpec, GINOSpec or "
            "UNetSpec), as in FNOSpec(modes=(12, 12), width=32)"
        )
    if isinstance(spec, FNOSpec) and transform != "sht":
        return FNO(in_channels, out_channels, spec, precision=precision, transform=transform)
    if isinstance(spec, SFNOSpec) and transform != "fft":
        return SFNO(in_channels, out_channels, spec, precision=precision, transform=transform)
    if isinstance(spec, GINOSpec) and transform != "sht":
        given = {"precision": precision, "transform": transform, "latent_channels": latent_channels}
        return GINO(in_channels, out_channels, spec, **given)
    if isinstance(spec, UNetSpec):
        return UNet(in_channels, out_channels, spec, precision=precision)
    there = "sht or matmul" if isinstance(spec, SFNOSpec) else "fft or matmul"
    raise MpnoError(f"model {spec.name} with transform {transform}: not here; choose {there}")
