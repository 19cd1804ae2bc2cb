"""Weights and options of the neuraloperator library's blocks, read by their attributes alone and copied into ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from mpno.models.blocks import Block, ChannelMLP, Skip
from mpno.models.norms import FieldNorm
from mpno.numerics import PointwiseLinear
from mpno.specs import ContractionSpec, MpnoError, PrecisionSetting
from mpno.spectral import BasisConv, SpectralConv, SphericalConv
from mpno.spectral.weights import SpectralWeight

SKIPS = {"Flattened1dConv": "linear", "SoftGating": "soft-gating", "Identity": "identity"}
"""Our name of a skip by the class of the peer's."""
NORMS = {"GroupNorm": "group", "InstanceNorm": "instance"}
"""Our name of a norm by the class of the peer's."""


def refuse(option: str, value: object, want: str) -> NoReturn:
    """Say in one line that a model of the peer's has an option ours has not."""
    raise MpnoError(f"from_neuralop: {option}={value!r} has no counterpart here; it wants {want}")


def blocks_options(theirs: Any) -> dict[str, Any]:
    """What our specs say of the peer's ``FNOBlocks``: layers, width, mlp_expansion, norm, skip and mlp_skip.

    Raises:
        MpnoError: the blocks have an option that ours have not.
    """
    for option, want in (
        ("preactivation", False),
        ("complex_data", False),
        ("separable", False),
        ("resolution_scaling_factor", None),
        ("use_channel_mlp", True),
    ):
        if getattr(theirs, option) != want:
            refuse(option, getattr(theirs, option), repr(want))
    if theirs.channel_mlp_dropout:
        refuse("channel_mlp_dropout", theirs.channel_mlp_dropout, "0")
    if theirs.non_linearity is not nn.functional.gelu:
        refuse("non_linearity", getattr(theirs.non_linearity, "__name__", theirs.non_linearity), "gelu")
    width = theirs.out_channels
    if theirs.in_channels != width:
        refuse("in_channels of the blocks", theirs.in_channels, f"{width}, as out_channels")
    return {
        "layers": len(theirs.convs),
        "width": width,
        "mlp_expansion": theirs.channel_mlp[0].hidden_channels / width,
        "norm": _norm(theirs.norm),
        "skip": _skip("fno_skip", theirs.fno_skips),
        "mlp_skip": _skip("channel_mlp_skip", theirs.channel_mlp_skips),
    }


def contraction_of(theirs: Any) -> ContractionSpec | None:
    """The factorisation of one of the peer's convolutions with the ranks it came to; None if it is dense."""
    kind = factorization_of(theirs.weight)
    if kind == "dense":
        return None
    rank = theirs.weight.rank
    return ContractionSpec.model_validate(
        {"factorization": kind, "rank": int(rank) if kind == "cp" else tuple(int(r) for r in rank)}
    )


def factorization_of(weight: Any) -> str:
    """Our name of the peer's factorisation."""
    kind = weight.name.lower().removeprefix("complex")
    return kind if kind in ("dense", "cp", "tucker", "tt") else refuse("factorization", weight.name, "CP, Tucker or TT")


def check_stabiliser(theirs: Any, precision: PrecisionSetting) -> None:
    """Refuse a setting that leaves out the tanh which the peer's blocks were trained with."""
    if theirs.stabilizer == "tanh" and precision.stabiliser != "tanh":
        raise MpnoError(
            f"from_neuralop: the model has stabilizer='tanh', but precision {precision.label!r} has "
            f"{precision.stabiliser}; pass one with tanh, as 'full+tanh'"
        )
    if theirs.stabilizer not in (None, "tanh"):
        refuse("stabilizer", theirs.stabilizer, "None or 'tanh'")


def copy_blocks(theirs: Any, ours: Iterable[nn.Module]) -> None:
    """Copy the weights of the peer's ``FNOBlocks`` into :class:`Block`s made with the same options."""
    for i, block in enumerate(ours):
        assert isinstance(block, Block)
        assert not isinstance(block.conv, BasisConv)
        copy_conv(theirs.convs[i], block.conv)
        _copy_skip(theirs.fno_skips[i], block.skip)
        copy_mlp(theirs.channel_mlp[i], block.mlp)
        _copy_skip(theirs.channel_mlp_skips[i], block.mlp_skip)
        for j, norm in enumerate(block.norms or ()):
            assert isinstance(norm, FieldNorm)
            if norm.gain is not None and norm.shift is not None:
                put(norm.gain, theirs.norm[2 * i + j].weight)
                put(norm.shift, theirs.norm[2 * i + j].bias)
                norm.eps = theirs.norm[2 * i + j].eps


def copy_conv(theirs: Any, ours: SpectralConv | SphericalConv) -> None:
    """Copy a spectral or spherical convolution: (in, out, *modes) complex into our pairs, or factor by factor."""
    if isinstance(ours.weight, SpectralWeight) and factorization_of(theirs.weight) != "dense":
        for own, other in zip(ours.weight.parameters(), factors_of(theirs.weight), strict=True):
            put(own, torch.view_as_real(other))
    else:
        dense = theirs.weight.to_tensor()
        dense = torch.view_as_real(dense.permute(*range(2, dense.ndim), 0, 1).contiguous())
        if isinstance(ours.weight, SpectralWeight):
            (own,) = ours.weight.parameters()
            put(own, dense)
        else:
            put(ours.weight, dense.movedim(-1, -2))
    if ours.bias is not None:
        put(ours.bias, torch.zeros_like(ours.bias) if theirs.bias is None else theirs.bias.flatten())


def factors_of(weight: Any) -> list[Tensor]:
    """The complex factors of the peer's weight in the order of :attr:`SpectralWeight.parts`."""
    first = {"cp": ["weights"], "tucker": ["core"], "tt": []}[factorization_of(weight)]
    return [*(getattr(weight, name) for name in first), *weight.factors]


def copy_mlp(theirs: Any, ours: ChannelMLP) -> None:
    """Copy the peer's ``ChannelMLP`` (or ``LinearChannelMLP``) of two layers."""
    if len(theirs.fcs) != 2:
        refuse("n_layers of a channel MLP", len(theirs.fcs), "2")
    copy_linear(theirs.fcs[0], ours.first)
    copy_linear(theirs.fcs[1], ours.second)


def copy_linear(theirs: Any, ours: PointwiseLinear) -> None:
    """Copy a linear layer or a convolution by one point."""
    put(ours.weight, theirs.weight.flatten(1))
    if ours.bias is not None:
        put(ours.bias, theirs.bias)


def put(ours: Tensor, theirs: Tensor) -> None:
    """Overwrite a parameter with a tensor of exactly its shape."""
    if ours.shape != theirs.shape:
        raise MpnoError(f"from_neuralop: a weight of shape {tuple(theirs.shape)} for one of {tuple(ours.shape)}")
    with torch.no_grad():
        ours.copy_(theirs)


def _copy_skip(theirs: Any, ours: Skip) -> None:
    if ours.linear is not None:
        copy_linear(theirs.conv, ours.linear)
    elif ours.gate is not None:
        put(ours.gate, theirs.weight.flatten())


def _norm(norms: Any) -> str:
    if norms is None:
        return "none"
    kind = type(norms[0]).__name__
    return NORMS[kind] if kind in NORMS else refuse("norm", kind, "None, 'group_norm' or 'instance_norm'")


def _skip(option: str, skips: Any) -> str:
    kind = None if skips is None else type(skips[0]).__name__
    return SKIPS[kind] if kind in SKIPS else refuse(option, kind, "'linear', 'soft-gating' or 'identity'")
