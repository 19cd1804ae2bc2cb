"""The neuraloperator library's FNO and TFNO as ours."""

from __future__ import annotations

from typing import Any

from torch import nn

from mpno.models.fno import FNO
from mpno.models.neuralop import blocks_options, check_stabiliser, contraction_of, copy_blocks, copy_mlp, refuse
from mpno.specs import FNOSpec, PrecisionSetting
from mpno.specs.names import Transform


def neuralop_fno(model: Any, precision: PrecisionSetting, transform: Transform | None) -> nn.Module:
    """Our FNO with the sizes and the weights of the peer's ``FNO`` or ``TFNO``."""
    blocks = model.fno_blocks
    options = blocks_options(blocks)
    check_stabiliser(blocks, precision)
    check_modes(blocks)
    modes = tuple(model.n_modes)
    if len(modes) > 3:
        refuse("n_modes", modes, "1 to 3 axes")
    check_grid_embedding(model.positional_embedding, len(modes))
    contraction = contraction_of(blocks.convs[0])
    spec = FNOSpec(
        name="fno" if contraction is None else "tfno",
        modes=modes,
        padding=padding_of(model.domain_padding),
        lifting_ratio=lifted(model) / options["width"],
        projection_ratio=model.projection.hidden_channels / options["width"],
        contraction=contraction,
        **options,
    )
    ours = FNO(model.in_channels, model.out_channels, spec, precision=precision, transform=transform or "fft")
    copy_mlp(model.lifting, ours.lifting)
    copy_blocks(blocks, ours.blocks)
    copy_mlp(model.projection, ours.projection)
    return ours


def lifted(model: Any) -> int:
    """Hidden channels of the lifting."""
    return model.lifting.hidden_channels if model.lifting_channels else refuse("lifting_channel_ratio", 0, "a ratio")


def check_modes(blocks: Any) -> None:
    """Refuse modes that were made fewer than the weights hold."""
    conv = blocks.convs[0]
    if list(conv.n_modes) != list(conv.max_n_modes):
        refuse("max_n_modes", conv.max_n_modes, f"the kept modes, {conv.n_modes}")


def check_grid_embedding(embedding: Any, axes: int) -> None:
    """Refuse anything but coordinates on [0, 1) of each axis."""
    boundaries = getattr(embedding, "grid_boundaries", None)
    if boundaries is None or [list(ends) for ends in boundaries] != [[0, 1]] * axes:
        name = type(embedding).__name__
        refuse("positional_embedding", embedding and f"{name} on {boundaries}", "'grid' on [0, 1) along each axis")


def padding_of(domain_padding: Any) -> float:
    """The share added on each side of every axis."""
    if domain_padding is None:
        return 0.0
    shares = domain_padding.domain_padding
    shares = {float(share) for share in (shares if isinstance(shares, list | tuple) else [shares])}
    return shares.pop() if len(shares) == 1 else refuse("domain_padding", domain_padding.domain_padding, "one share")
