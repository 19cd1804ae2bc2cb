"""What a spectral layer takes: its input's shape, numbers and device."""

from __future__ import annotations

import torch
from torch import Tensor

from mpno.specs import MpnoError


def check_input(
    layer: str, x: Tensor, *, channels: int, grid: tuple[str, ...], channels_last: bool, device: torch.device
) -> None:
    """Refuse what a spectral layer cannot transform. Any real floating type will do, and any grid.

    Args:
        layer: its name, with which the error begins.
        channels: the layer's input channels.
        grid: what the axes of its grid are called.
        channels_last: whether it wants (batch, *grid, channels).
        device: where its parameters lie.

    Raises:
        MpnoError: in one line what came, what is wanted and what to do.
    """
    inner = [*grid, str(channels)] if channels_last else [str(channels), *grid]
    wanted = f"it wants (batch, {', '.join(inner)})"
    shape = f"{layer} got shape {tuple(x.shape)}"
    if x.ndim != len(grid) + 2:
        raise MpnoError(f"{shape}; {wanted}; give it {len(grid) + 2} axes")
    if x.shape[-1 if channels_last else 1] != channels:
        raise MpnoError(f"{shape}; {wanted}; move the axes, or build the layer for the channels there are")
    if 0 in x.shape:
        raise MpnoError(f"{shape}, which holds nothing; {wanted}; give at least one sample and one point per axis")
    if not x.is_floating_point():
        mend = "give real and imaginary parts as channels" if x.is_complex() else "call .float() on the input"
        raise MpnoError(
            f"{layer} got dtype {str(x.dtype).removeprefix('torch.')}; it wants real floating numbers; {mend}"
        )
    if x.device != device:
        raise MpnoError(f"{layer} got an input on {x.device}, its parameters are on {device}; move one with .to()")
