"""The geometry-informed neural operator."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.models.blocks import ChannelMLP, apply_setting, make_blocks
from mpno.models.checks import check_sizes, spec_of
from mpno.models.graph import Geometry, KernelIntegral, embed, grid_points
from mpno.models.padding import pad, unpad
from mpno.numerics import no_autocast, recomputing
from mpno.specs import GINOSpec, MpnoError, PrecisionSetting
from mpno.specs.names import Transform
from mpno.spectral import SpectralConv

LARGE = 2**20
"""Values of a field on the latent grid from which on memory counts for more than the time to make some again."""


class GINO(nn.Module):
    """Geometry-informed neural operator: points to a latent grid, a Fourier neural operator there, the grid to points.

    Args:
        in_channels: features of a surface point beside its coordinates; may be 0.
        out_channels: values wanted at each point.
        spec: sizes (see :class:`mpno.specs.GINOSpec`), which may be given as keywords instead.
        precision: a :class:`PrecisionSetting` or its short form. `amp` covers kernels, lifting and projection,
            `half` the spectral blocks. Coordinates and their embeddings are fp32.
        transform: ``fft`` or ``matmul``.
        latent_channels: fields that are given on the latent grid.

    Source: Li et al., "Geometry-Informed Neural Operator for Large-Scale 3D PDEs", NeurIPS 2023; topology of the
    neuraloperator library, which the paper used.
    """

    def __init__(
        self,
        in_channels: int = 0,
        out_channels: int = 1,
        spec: GINOSpec | None = None,
        *,
        precision: PrecisionSetting | str = "full",
        transform: Transform = "fft",
        latent_channels: int = 1,
        **sizes: Any,
    ) -> None:
        super().__init__()
        spec = spec_of("GINO", GINOSpec, spec, sizes)
        check_sizes("GINO", 1, out_channels, spec, GINOSpec)
        if min(in_channels, latent_channels) < 0:
            raise MpnoError(
                f"GINO: in_channels {in_channels} and latent_channels {latent_channels} must be at least 0; "
                "give 0 for none"
            )
        self.spec, self.in_channels, self.out_channels = spec, in_channels, out_channels
        self.latent_channels = latent_channels
        width, embedded = spec.width, 6 * spec.frequencies
        self.into = KernelIntegral(embedded, in_channels, spec.in_hidden, spec.encoded, "mean")
        self.lifting = ChannelMLP(spec.encoded + latent_channels, round(spec.lifting_ratio * width), width)
        self.blocks = nn.ModuleList(
            make_blocks(
                spec,
                lambda: SpectralConv(
                    width, width, spec.modes, transform=transform, contraction=spec.contraction, channels_last=True
                ),
            )
        )
        self.out = KernelIntegral(embedded, 0, spec.out_hidden, width, "sum")
        self.projection = ChannelMLP(width, round(spec.projection_ratio * width), out_channels)
        self.set_precision(precision)

    def set_precision(self, precision: PrecisionSetting | str) -> None:
        """Run in another setting from now on, each block in its own where the setting names it."""
        self.precision = PrecisionSetting.of(precision, where="GINO", layers=self.spec.layers)
        apply_setting(self.precision, self.blocks, self.into, self.lifting, self.out, self.projection)

    def forward(self, geometry: Geometry) -> Float[Tensor, "1 o n"]:
        """Values at the points of a body, (1, out_channels, n) fp32."""
        self._check(geometry)
        size = geometry.latent.shape[-1]
        at, grid = (
            embed(points, self.spec.frequencies, self.spec.embedding)
            for points in (geometry.points, grid_points(size, geometry.points.device))
        )
        sources = at if geometry.features is None else torch.cat([at, geometry.features], -1)
        # Formats are the setting's to say.
        large = size**3 * self.spec.width >= LARGE
        kept = recomputing(large, saved=self.precision.saved, apart=self.parameters())
        with no_autocast(geometry.points.device), kept:
            seen = self.into(grid, sources, geometry.into).float()
            x = torch.cat([seen.unflatten(0, (size,) * 3), geometry.latent.movedim(0, -1)], -1)[None]
            x = self.lifting(x)
            padding = self.spec.padding
            x = pad(x, padding) if padding else x
            for block in self.blocks:
                x = block(x)
            x = unpad(x, (size,) * 3, padding) if padding else x
            y = self.out(at, grid, geometry.out, x.flatten(0, 3))
            return self.projection(y).T[None].float()

    def _check(self, geometry: Any) -> None:
        if not isinstance(geometry, Geometry):
            raise MpnoError(
                f"GINO got a {type(geometry).__name__}; it wants a Geometry, one body with its points, latent fields "
                "and graphs; make one with mpno.Geometry.of(points, latent, radius=...)"
            )
        features = 0 if geometry.features is None else geometry.features.shape[1]
        if features != self.in_channels:
            raise MpnoError(
                f"GINO got {features} features of a point; it wants {self.in_channels}; give so many to Geometry.of, "
                f"or build the model with in_channels={features}"
            )
        latent = len(geometry.latent)
        if latent != self.latent_channels:
            raise MpnoError(
                f"GINO got {latent} latent fields; it wants {self.latent_channels}; give so many to Geometry.of, or "
                f"build the model with latent_channels={latent}"
            )
        device = self.projection.first.weight.device
        if geometry.points.device != device:
            raise MpnoError(
                f"GINO got a geometry on {geometry.points.device}, its parameters are on {device}; "
                f"move one with .to(), as in geometry.to('{device}')"
            )
        size = geometry.latent.shape[-1]
        if size < max(self.spec.modes):
            raise MpnoError(
                f"GINO got a latent grid of {size} points per axis, too few for modes {self.spec.modes}; "
                f"give at least {max(self.spec.modes)}, or keep fewer modes"
            )
