"""GINO against the peer library's, with its weights: outputs and gradients to fp32 rounding."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpno.models.gino import GINO
from mpno.models.graph import Geometry, grid_points
from mpno.models.peers import from_neuralop
from mpno.specs import MpnoError, get_format

models = pytest.importorskip("neuralop.models", reason="neuraloperator is not installed")

GRID, COUNT = 8, 120
SIZES: dict[str, Any] = {
    "in_channels": 0,
    "out_channels": 2,
    "latent_feature_channels": 1,
    "fno_n_modes": (4, 4, 4),
    "fno_hidden_channels": 8,
    "fno_n_layers": 2,
    "in_gno_radius": 0.2,
    "out_gno_radius": 0.2,
    "gno_embed_channels": 3,
    "in_gno_channel_mlp_hidden_layers": [10, 9],
    "out_gno_channel_mlp_hidden_layers": [12, 7],
    "gno_use_open3d": False,
    "gno_use_torch_scatter": False,
}
NERF = {"in_gno_pos_embed_type": "nerf", "out_gno_pos_embed_type": "nerf"}
OPTIONS: dict[str, dict[str, Any]] = {
    "transformer": {},
    "nerf": NERF,
    "car": {**NERF, "fno_norm": "instance_norm", "fno_factorization": "tucker", "fno_rank": 0.4}
    | {"fno_channel_mlp_expansion": 1.0},
    "features": {"in_channels": 4, "in_gno_transform_type": "nonlinear_kernelonly", "latent_feature_channels": None},
    "one hidden layer": {"in_gno_channel_mlp_hidden_layers": [11], "out_gno_channel_mlp_hidden_layers": [13]},
    "last hidden layer of the width": {"out_gno_channel_mlp_hidden_layers": [12, 8]},
    "ratios": {"fno_lifting_channel_ratio": 3, "projection_channel_ratio": 2, "fno_in_channels": 5},
    "group": {"fno_norm": "group_norm", "latent_feature_channels": 3},
}


def peer_of(**options: Any) -> Any:
    """A model of the peer's with none of its parameters constant."""
    options = copy.deepcopy(SIZES | options)  # it appends to the lists that it is given
    peer = models.GINO(**options)
    for module in peer.modules():
        if type(module).__name__ == "InstanceNorm":
            module.register_forward_hook(_with_contiguous_gradient)
    with torch.no_grad():
        for p in peer.parameters():
            p.add_(torch.randn_like(p) * 0.3 * (p.abs().mean().item() or 1.0))
    return peer


def _with_contiguous_gradient(module: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
    """torch 2.14's instance_norm on a CPU returns a wrong gradient for one that comes back channels last."""
    y.register_hook(lambda gradient: gradient.contiguous())


def body_for(peer: Any) -> Geometry:
    features = torch.randn(COUNT, peer.in_channels) if peer.in_channels else None
    latent = torch.randn(peer.latent_feature_channels or 0, GRID, GRID, GRID)
    return Geometry.of(torch.rand(COUNT, 3), latent, features, radius=0.2)


def output_of(peer: Any, body: Geometry) -> Tensor:
    return peer(
        body.points[None],
        grid_points(GRID).reshape(1, GRID, GRID, GRID, 3),
        body.points[None],
        x=None if body.features is None else body.features[None],
        latent_features=body.latent.movedim(0, -1)[None] if len(body.latent) else None,
    ).movedim(-1, 1)


def numbers(model: nn.Module, y: Tensor, last: Tensor, first: Tensor) -> list[Tensor]:
    """The output and the gradients of a weight near either end."""
    cotangent = torch.cos(torch.arange(y.numel()) * 1.0).reshape(y.shape)
    return [y.detach(), *torch.autograd.grad(y, [last, first], cotangent)]


def of_peer(peer: Any, body: Geometry) -> list[Tensor]:
    first = peer.gno_in.integral_transform.channel_mlp.fcs[0].weight
    embedded = peer.gno_in.pos_embedding.out_channels
    y, last, all_first = numbers(peer, output_of(peer, body), peer.projection.fcs[0].weight, first)
    return [y, last.flatten(1), all_first[:, embedded : 2 * embedded]]


def apart(ones: list[Tensor], others: list[Tensor]) -> list[float]:
    return [((a - b).norm() / b.norm()).item() for a, b in zip(ones, others, strict=True)]


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_outputs_and_gradients_are_the_peer_s(options: dict[str, Any], transform: Any) -> None:
    peer = peer_of(**options)
    body = body_for(peer)
    ours = from_neuralop(peer, transform=transform)
    assert isinstance(ours, GINO)
    got = numbers(ours, ours(body), ours.projection.first.weight, ours.into.of_query.weight)
    wanted = of_peer(peer, body)
    # What one relative rounding of every weight does to the peer's own result says how near fp32 lets us come.
    shaken, u = copy.deepcopy(peer), get_format("fp32").unit_roundoff
    with torch.no_grad():
        for p in shaken.parameters():
            p.mul_(1 + u * torch.randn(p.shape))
    level = apart(of_peer(shaken, body), wanted)
    assert all(error < 4 * one for error, one in zip(apart(got, wanted), level, strict=True)), level


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_gno_radius": 0.1}, "in_gno_radius=0.1 .* 0.2, as out_gno_radius"),
        ({"in_channels": 3}, "in_gno_transform_type='linear' .* 'nonlinear_kernelonly'"),
        ({"out_gno_transform_type": "nonlinear"}, "out_gno_transform_type='nonlinear' .* 'linear'"),
        ({"out_gno_tanh": "both"}, "out_gno_tanh='both'"),
        ({"in_gno_pos_embed_type": "nerf"}, "in_gno_pos_embed_type='nerf' .* 'transformer', as"),
        ({"in_gno_pos_embed_type": None, "out_gno_pos_embed_type": None}, "in_gno_pos_embed_type=None"),
        ({"gno_embed_max_positions": 600}, "gno_embed_max_positions=600"),
        ({"gno_weighting_function": "half_cos"}, "gno_weighting_function"),
        ({"gno_channel_mlp_non_linearity": nn.functional.relu}, "gno_channel_mlp_non_linearity='relu'"),
        ({"fno_norm": "ada_in"}, "norm="),
    ],
)
def test_what_we_have_not_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MpnoError, match=message) as error:
        from_neuralop(peer_of(**options))
    assert "\n" not in str(error.value)
