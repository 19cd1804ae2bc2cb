"""The neuraloperator library's GINO as ours."""

from __future__ import annotations

from typing import Any

from torch import nn

from mpno.models.gino import GINO
from mpno.models.graph import KernelIntegral
from mpno.models.neuralop import (
    blocks_options,
    check_stabiliser,
    contraction_of,
    copy_blocks,
    copy_linear,
    copy_mlp,
    put,
    refuse,
)
from mpno.models.neuralop_fno import check_modes
from mpno.numerics import PointwiseLinear
from mpno.specs import GINOSpec, PrecisionSetting
from mpno.specs.names import Transform


def neuralop_gino(model: Any, precision: PrecisionSetting, transform: Transform | None) -> nn.Module:
    """Our GINO with the sizes and the weights of the peer's ``GINO``.

    Its latent queries must be the grid from corner to corner of the unit cube, and its output queries the points
    themselves, as in its recipe for cars.
    """
    blocks = model.fno_blocks
    options = blocks_options(blocks)
    check_stabiliser(blocks, precision)
    check_modes(blocks)
    _check(model)
    width, embedding = options["width"], model.gno_out.pos_embedding
    spec = GINOSpec(
        modes=tuple(blocks.n_modes),
        lifting_ratio=model.lifting.hidden_channels / width,
        projection_ratio=model.projection.hidden_channels / width,
        contraction=contraction_of(blocks.convs[0]),
        radius=model.out_gno_radius,
        frequencies=embedding.num_frequencies,
        embedding=embedding.embedding_type,
        in_hidden=_hidden(model.gno_in),
        out_hidden=_hidden(model.gno_out),
        encoded=_layers(model.gno_in)[-1].out_features,
        **options,
    )
    ours = GINO(
        model.in_channels,
        model.out_channels,
        spec,
        precision=precision,
        transform=transform or "fft",
        latent_channels=model.latent_feature_channels or 0,
    )
    copy_integral(model.gno_in, ours.into)
    copy_mlp(model.lifting, ours.lifting)
    copy_blocks(blocks, ours.blocks)
    copy_integral(model.gno_out, ours.out)
    copy_mlp(model.projection, ours.projection)
    return ours


def copy_integral(theirs: Any, ours: KernelIntegral) -> None:
    """Copy the kernel of a ``GNOBlock``, whose first layer reads source, query and features, in this order."""
    first, *others = _layers(theirs)
    embedded = theirs.pos_embedding.out_channels
    source, query, features = first.weight.tensor_split([embedded, 2 * embedded], 1)
    put(ours.of_query.weight, query)
    assert ours.of_query.bias is not None
    put(ours.of_query.bias, first.bias)
    put(ours.of_source.weight[:, :embedded], source)
    put(ours.of_source.weight[:, embedded:], features)
    for layer, other in zip(ours.layers, others, strict=True):
        assert isinstance(layer, PointwiseLinear)
        copy_linear(other, layer)


def _check(model: Any) -> None:
    """Refuse what our GINO has not, beside the options of the blocks."""
    if model.gno_coord_dim != 3:
        refuse("gno_coord_dim", model.gno_coord_dim, "3")
    if model.in_gno_radius != model.out_gno_radius:
        refuse("in_gno_radius", model.in_gno_radius, f"{model.out_gno_radius}, as out_gno_radius")
    if model.out_gno_tanh is not None:
        refuse("out_gno_tanh", model.out_gno_tanh, "None")
    weighting = model.gno_out.integral_transform.weighting_fn
    if weighting is not None:
        refuse("gno_weighting_function", getattr(weighting, "__name__", weighting), "None")
    # Without features the kernel alone is summed, whatever the name.
    into, out = (block.integral_transform.transform_type for block in (model.gno_in, model.gno_out))
    if model.in_channels and into != "nonlinear_kernelonly":
        refuse("in_gno_transform_type", into, "'nonlinear_kernelonly' where points have features")
    if out != "linear":
        refuse("out_gno_transform_type", out, "'linear'")
    described = [_embedding(block) for block in (model.gno_in, model.gno_out)]
    if described[0] != described[1]:
        refuse("in_gno_pos_embed_type", described[0][0], f"{described[1][0]!r}, as out_gno_pos_embed_type")
    if described[0][0] not in ("nerf", "transformer"):
        refuse("in_gno_pos_embed_type", None, "'nerf' or 'transformer'")
    if described[0][0] == "transformer" and described[0][1] != 10000:
        refuse("gno_embed_max_positions", described[0][1], "10000")
    for block in (model.gno_in, model.gno_out):
        function = block.integral_transform.channel_mlp.non_linearity
        if function is not nn.functional.gelu:
            refuse("gno_channel_mlp_non_linearity", getattr(function, "__name__", function), "gelu")


def _embedding(block: Any) -> tuple[Any, Any]:
    embedding = block.pos_embedding
    return (None, None) if embedding is None else (embedding.embedding_type, embedding.max_positions)


def _layers(block: Any) -> list[Any]:
    return list(block.integral_transform.channel_mlp.fcs)


def _hidden(block: Any) -> tuple[int, ...]:
    """Widths between the layers of a kernel."""
    widths = tuple(layer.out_features for layer in _layers(block)[:-1])
    return widths or refuse("channel_mlp_hidden_layers", [], "at least one hidden layer")
