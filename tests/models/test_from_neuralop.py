"""FNO and TFNO against the peer library's, with its weights: outputs and input gradients to fp32 rounding."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpno import MpnoError
from mpno.models import FNO
from mpno.models.peers import from_neuralop
from mpno.specs import ContractionSpec, FNOSpec, PrecisionSetting, get_format
from mpno.specs.names import Transform

models = pytest.importorskip("neuralop.models", reason="neuraloperator is not installed")

# Odd sizes on the last axis alone: along the others the peer shifts odd axes to the wrong frequency.
GRIDS = {1: ((6,), (15,)), 2: ((6, 6), (16, 13)), 3: ((4, 4, 5), (8, 6, 9))}
SIZES: dict[str, Any] = {"in_channels": 2, "out_channels": 1, "hidden_channels": 8, "n_layers": 3}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ratios": {"lifting_channel_ratio": 1.5, "projection_channel_ratio": 4, "channel_mlp_expansion": 1.25},
    "group": {"norm": "group_norm"},
    "instance": {"norm": "instance_norm"},
    "soft-gating": {"fno_skip": "soft-gating", "channel_mlp_skip": "linear"},
    "identity": {"fno_skip": "identity", "channel_mlp_skip": "identity"},
    "padded": {"domain_padding": 0.2},
    "tanh": {"stabilizer": "tanh"},
    "dense": {"factorization": "Dense"},
    "cp": {"factorization": "CP", "rank": 0.3},
    "tucker": {"factorization": "Tucker", "rank": 0.3},
    "tt": {"factorization": "TT", "rank": 0.3},
    "reconstructed": {"factorization": "CP", "rank": 0.3, "implementation": "reconstructed"},
    "cp, padded, group": {"factorization": "CP", "rank": 0.3, "domain_padding": [0.25], "norm": "group_norm"},
}


def peer_of(axes: int, **options: Any) -> Any:
    """A model of the peer's, its parameters of the same sizes as new ones but none of them constant."""
    if isinstance(options.get("domain_padding"), list):
        options["domain_padding"] = options["domain_padding"] * axes
    peer = models.FNO(n_modes=GRIDS[axes][0], **SIZES | options)
    with torch.no_grad():
        for p in peer.parameters():
            p.add_(torch.randn_like(p) * 0.3 * (p.abs().mean().item() or 1.0))
    return peer


def value_and_gradient(model: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = model(x)
    return y.detach(), torch.autograd.grad(y, x, torch.cos(torch.arange(y.numel()) * 1.0).reshape(y.shape))[0]


def apart(ones: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> list[float]:
    return [((a - b).norm() / b.norm()).item() for a, b in zip(ones, others, strict=True)]


class Reference:
    """The peer's output and input gradient, and how close to them fp32 lets another order of the same sums be.

    The peer itself says how close that is: what one relative rounding of each of its weights and inputs, drawn at
    random, does to its result. Orders of summation differ by rounding errors of that size at most of the steps, so
    four times it, for the spread of a random draw.
    """

    def __init__(self, peer: nn.Module, x: Tensor) -> None:
        u = get_format("fp32").unit_roundoff
        shaken = copy.deepcopy(peer)
        with torch.no_grad():
            for p in shaken.parameters():
                p.mul_(1 + u * torch.randn(p.shape))
        self.x, self.numbers = x, value_and_gradient(peer, x)
        self.level = apart(value_and_gradient(shaken, x * (1 + u * torch.randn(x.shape))), self.numbers)

    def is_met_by(self, ours: nn.Module) -> bool:
        distances = apart(value_and_gradient(ours, self.x), self.numbers)
        return all(d <= 4 * level for d, level in zip(distances, self.level, strict=True))


@pytest.mark.parametrize("axes", GRIDS)
@pytest.mark.parametrize("options", OPTIONS)
def test_the_peers_weights_give_the_peers_numbers(options: str, axes: int) -> None:
    peer = peer_of(axes, **OPTIONS[options])
    theirs = Reference(peer, torch.randn(2, 2, *GRIDS[axes][1]))
    precision = "full+tanh" if options == "tanh" else "full"
    # The layers' own tests compare both transforms in all dimensions.
    ours = from_neuralop(peer, precision=precision, transform="matmul" if axes == 2 else "fft")
    assert theirs.is_met_by(ours)
    # A complex number counts once there.
    assert sum(p.numel() for p in ours.parameters()) == sum(
        p.numel() * (2 if p.is_complex() else 1) for p in peer.parameters()
    )


@pytest.mark.parametrize("options", ["plain", "group", "cp"])
def test_every_copied_parameter_counts(options: str) -> None:
    """The control: one number of any one parameter off by a hundredth is seen."""
    peer = peer_of(2, **OPTIONS[options], n_layers=2)
    ours, x = from_neuralop(peer), torch.randn(2, 2, *GRIDS[2][1])
    theirs = Reference(peer, x)
    ours(x).square().sum().backward()
    for name, p in ours.named_parameters():
        assert p.grad is not None
        flat, heaviest = p.detach().flatten(), int((p * p.grad).abs().argmax())
        kept = flat[heaviest].item()
        flat[heaviest] = 1.01 * kept
        assert not theirs.is_met_by(ours), name
        flat[heaviest] = kept
    assert theirs.is_met_by(ours)


def test_padding_left_out_is_seen() -> None:
    peer = peer_of(2, domain_padding=0.2)
    ours, theirs = from_neuralop(peer), Reference(peer, torch.randn(2, 2, *GRIDS[2][1]))
    assert isinstance(ours, FNO)
    for share in (0.0, 0.1, 0.3):
        ours.spec = ours.spec.model_copy(update={"padding": share})
        assert not theirs.is_met_by(ours), share


@pytest.mark.parametrize("kind", ["cp", "tucker", "tt"])
def test_the_spec_holds_the_ranks_that_theirs_came_to(kind: str) -> None:
    # Their annotations say str, their documentation float and int.
    validate: Any = getattr(importlib.import_module(f"tensorly.{kind}_tensor"), f"validate_{kind}_rank")
    peer = models.TFNO(n_modes=(6, 6), factorization=kind, rank=0.07, **SIZES)
    ours = from_neuralop(peer, precision="mixed", transform="matmul")
    contraction = ContractionSpec.model_validate({"factorization": kind, "rank": validate((8, 8, 6, 4), 0.07)})
    assert isinstance(ours, FNO)
    assert ours.spec == FNOSpec(name="tfno", modes=(6, 6), width=8, layers=3, contraction=contraction)
    assert ours.precision == PrecisionSetting.model_validate("mixed")


@pytest.mark.parametrize("transform", ["fft", "matmul"])
def test_a_converted_model_runs_in_low_precision(transform: Transform) -> None:
    peer = peer_of(2, stabilizer="tanh")
    x = torch.randn(2, 2, 16, 16)
    y, z = from_neuralop(peer, precision="mixed", transform=transform)(x), peer(x)
    distance = ((y - z).norm() / z.norm()).item()
    # Between one rounding of fp16 and all of them: a dozen a block, six outside, each independent of the others.
    u = get_format("fp16").unit_roundoff
    assert u / 4 < distance < u * (12 * 3 + 6) ** 0.5


def test_mode_and_separate_weights() -> None:
    peer = peer_of(1).eval()
    ours, x = from_neuralop(peer), torch.randn(2, 2, 16)
    before = peer(x)
    assert not ours.training
    with torch.no_grad():
        for p in ours.parameters():
            p.zero_()
    assert torch.equal(peer(x), before), "the peer's weights were shared, not copied"


def gaussian(x: Tensor) -> Tensor:
    return torch.exp(-x * x)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"preactivation": True}, r"preactivation=True has no counterpart here; it wants False"),
    ({"complex_data": True}, "complex_data=True"),
    ({"separable": True}, "separable=True"),
    ({"resolution_scaling_factor": 2}, r"resolution_scaling_factor=\[\["),
    ({"channel_mlp_dropout": 0.1}, "channel_mlp_dropout=0.1"),
    ({"use_channel_mlp": False}, "use_channel_mlp=False"),
    ({"non_linearity": gaussian}, "non_linearity='gaussian'"),
    ({"norm": "batch_norm"}, "norm='BatchNorm' .* None, 'group_norm' or 'instance_norm'"),
    ({"fno_skip": None}, "fno_skip=None .* 'linear', 'soft-gating' or 'identity'"),
    ({"channel_mlp_skip": None}, "channel_mlp_skip=None"),
    ({"positional_embedding": None}, "positional_embedding=None"),
    ({"domain_padding": [0.1, 0.2]}, r"domain_padding=\[0.1, 0.2\]"),
    ({"lifting_channel_ratio": 0}, "lifting_channel_ratio=0"),
    ({"max_n_modes": (8, 5)}, r"max_n_modes=\(8, 5\) .* \[6, 4\]"),
    ({"stabilizer": "tanh"}, "stabilizer='tanh', but precision 'full' has none; pass one with tanh, as 'full\\+tanh'"),
    ({"stabilizer": "clip"}, "stabilizer='clip'"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_options_that_ours_has_not_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MpnoError, match=message) as caught:
        from_neuralop(models.FNO(n_modes=(6, 6), **SIZES, **options))
    assert "\n" not in str(caught.value)


def test_other_embeddings_axes_and_classes_are_refused() -> None:
    embeddings = pytest.importorskip("neuralop.layers.embeddings")
    wide = embeddings.GridEmbeddingND(in_channels=2, dim=2, grid_boundaries=[[0, 2], [0, 1]])
    with pytest.raises(MpnoError, match=r"positional_embedding='GridEmbeddingND on \[\[0, 2\], \[0, 1\]\]'"):
        from_neuralop(models.FNO(n_modes=(6, 6), **SIZES, positional_embedding=wide))
    blocks = pytest.importorskip("neuralop.layers.fno_block")
    peer = models.FNO(n_modes=(6, 6), **SIZES)
    peer.fno_blocks = blocks.FNOBlocks(8, 8, (6, 6), n_layers=3, norm="ada_in", ada_in_features=2)
    with pytest.raises(MpnoError, match="norm='AdaIN'"):
        from_neuralop(peer)
    with pytest.raises(MpnoError, match=r"n_modes=\(2, 2, 2, 2\) .* 1 to 3 axes"):
        from_neuralop(models.FNO(n_modes=(2, 2, 2, 2), **SIZES))
    wanted = r"a Linear that is not neuraloperator's has no counterpart here; allowed: its FNO, SFNO"
    with pytest.raises(MpnoError, match=wanted):
        from_neuralop(nn.Linear(2, 2))
    with pytest.raises(MpnoError, match=r"a FNO that is not neuraloperator's"):
        from_neuralop(FNO(1, 1, FNOSpec(modes=(4, 4), width=4, layers=1)))
