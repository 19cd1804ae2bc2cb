"""The neuraloperator library's SFNO as ours."""

from __future__ import annotations

from typing import Any

from torch import nn

from mpno.models.neuralop import blocks_options, check_stabiliser, copy_blocks, copy_mlp, refuse
from mpno.models.neuralop_fno import check_grid_embedding, check_modes, lifted, padding_of
from mpno.models.sfno import SFNO
from mpno.specs import PrecisionSetting, SFNOSpec
from mpno.specs.names import SphericalTransform


def neuralop_sfno(model: Any, precision: PrecisionSetting, transform: SphericalTransform | None) -> nn.Module:
    """Our SFNO with the sizes and the weights of the peer's ``SFNO``, whose factorised weights become dense ones.

    Outputs agree where the grid resolves the modes: n degrees want 2 n - 1 equiangular latitudes. On a coarser
    grid the peer takes all n from a quadrature that is not exact for them, ours as many as it is exact for.
    """
    blocks = model.fno_blocks
    options = blocks_options(blocks)
    check_stabiliser(blocks, precision)
    check_modes(blocks)
    check_grid_embedding(model.positional_embedding, 2)
    if padding_of(model.domain_padding):
        refuse("domain_padding", model.domain_padding.domain_padding, "None, since a sphere has no edge to pad")
    degrees, orders = model.n_modes
    spec = SFNOSpec(
        # The peer counts orders of both signs.
        modes=(degrees, orders // 2),
        lifting_ratio=lifted(model) / options["width"],
        projection_ratio=model.projection.hidden_channels / options["width"],
        grid=_grid(blocks.convs),
        **options,
    )
    ours = SFNO(model.in_channels, model.out_channels, spec, precision=precision, transform=transform or "sht")
    copy_mlp(model.lifting, ours.lifting)
    copy_blocks(blocks, ours.blocks)
    copy_mlp(model.projection, ours.projection)
    return ours


def _grid(convs: Any) -> Any:
    grids = {grid for conv in convs for grid in conv.sht_grids}
    return grids.pop() if len(grids) == 1 else refuse("sht_grids", sorted(grids), "one grid for all layers")
