"""The FNO against the peer library's, and its behaviour across grids and settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mpno import FNO, MpnoError
from mpno.numerics import LiveBytes
from mpno.specs import FNOSpec
from mpno.specs.names import Transform

SMALL = FNOSpec(modes=(6, 6), width=8, layers=3)


def peer_state(peer: Any, layers: int) -> dict[str, Tensor]:
    """The peer's parameters under our names and in our layout."""
    theirs = peer.state_dict()
    state: dict[str, Tensor] = {}

    def mlp(ours: str, name: str) -> None:
        for ours_part, index in (("first", 0), ("second", 1)):
            state[f"{ours}.{ours_part}.weight"] = theirs[f"{name}.fcs.{index}.weight"].squeeze(-1)
            state[f"{ours}.{ours_part}.bias"] = theirs[f"{name}.fcs.{index}.bias"]

    mlp("lifting", "lifting")
    mlp("projection", "projection")
    for i in range(layers):
        block = f"blocks.{i}"
        weight = torch.view_as_real(peer.fno_blocks.convs[i].weight.to_tensor().detach())
        state[f"{block}.conv.weight"] = weight.permute(2, 3, 0, 4, 1)
        state[f"{block}.conv.bias"] = theirs[f"fno_blocks.convs.{i}.bias"].flatten()
        state[f"{block}.skip.linear.weight"] = theirs[f"fno_blocks.fno_skips.{i}.conv.weight"].squeeze(-1)
        state[f"{block}.mlp_skip.gate"] = theirs[f"fno_blocks.channel_mlp_skips.{i}.weight"].flatten()
        mlp(f"{block}.mlp", f"fno_blocks.channel_mlp.{i}")
        for j in range(2):
            name = f"fno_blocks.norm.{2 * i + j}"
            if f"{name}.weight" in theirs:
                state[f"{block}.norms.{j}.gain"] = theirs[f"{name}.weight"]
                state[f"{block}.norms.{j}.shift"] = theirs[f"{name}.bias"]
    return state


@pytest.mark.parametrize("norm", ["none", "group"])
@pytest.mark.parametrize("stabiliser", ["none", "tanh"])
@pytest.mark.parametrize("transform", ["fft", "matmul"])
def test_same_weights_give_the_peers_output(norm: str, stabiliser: str, transform: Transform) -> None:
    models = pytest.importorskip("neuralop.models", reason="neuraloperator is not installed")
    peer = models.FNO(
        n_modes=SMALL.modes,
        in_channels=2,
        out_channels=1,
        hidden_channels=SMALL.width,
        n_layers=SMALL.layers,
        norm="group_norm" if norm == "group" else None,
        stabilizer="tanh" if stabiliser == "tanh" else None,
    )
    spec = SMALL.model_copy(update={"norm": norm})
    ours = FNO(2, 1, spec, precision=f"full+{stabiliser}", transform=transform)
    ours.load_state_dict(peer_state(peer, SMALL.layers))
    x = torch.randn(3, 2, 16, 12)
    assert torch.allclose(ours(x), peer(x), atol=2e-5)
    assert sum(p.numel() for p in ours.parameters()) == sum(
        p.numel() * (2 if p.is_complex() else 1) for p in peer.parameters()
    )


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("precision", ["full", "amp", "half", "mixed", "mixed-bf16", "mixed-e5m2"])
def test_every_setting_trains_one_step_and_stays_fp32_outside(precision: str, transform: Transform) -> None:
    model = FNO(1, 1, SMALL, precision=precision, transform=transform)
    y = model(torch.randn(2, 1, 12, 12))
    assert y.dtype is torch.float32 and y.shape == (2, 1, 12, 12)
    y.square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.dtype is torch.float32 and p.grad.isfinite().all(), name


@pytest.mark.parametrize("precision", ["amp", "half", "mixed"])
def test_distance_from_full_grows_as_bits_are_removed(precision: str) -> None:
    torch.manual_seed(1)
    full = FNO(1, 1, SMALL, precision="full+tanh")
    x = torch.randn(4, 1, 16, 16)
    distances = []
    for format in ("fp16", "e5m6", "e5m2"):
        tanh = "+tanh" if precision == "amp" else ""
        low = FNO(1, 1, SMALL, precision=f"{precision}-{format}{tanh}")
        low.load_state_dict(full.state_dict())
        distances.append(((low(x) - full(x)).norm() / full(x).norm()).item())
    # 4 bits fewer is a unit roundoff 16 times as large; rounding errors partly cancel, so ask for half of that.
    assert distances[1] > 8 * distances[0] and distances[2] > 8 * distances[1], distances
    assert 0 < distances[0] < 0.01


def saved_field_bytes(precision: str) -> int:
    """Bytes of the fields that a forward pass saves for its backward, each storage counted once."""
    kept: list[Tensor] = []

    def keep(t: Tensor) -> Tensor:
        kept.append(t)
        return t

    with torch.device("meta"):
        model = FNO(1, 1, SMALL, precision=precision, recompute=False)
        x = torch.empty(4, 1, 32, 32)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        model(x)
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in kept if t.ndim >= 4}.values())


def test_the_cuda_route_stores_half_where_the_paper_does() -> None:
    """Traced on meta tensors, which take CUDA's path: what the backward saves is in 16 bits."""
    sizes = {precision: saved_field_bytes(precision) for precision in ("full+tanh", "amp+tanh", "mixed")}
    assert sizes["mixed"] < sizes["amp+tanh"] < sizes["full+tanh"]


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(MpnoError, match=r"FNO got shape \(2, 3, 12, 12\); it wants \(batch, 1, n, n\)"):
        FNO(1, 1, SMALL)(torch.ones(2, 3, 12, 12))


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("precision", ["full+tanh", "mixed", "mixed-bf16"])
@pytest.mark.parametrize("norm", ["none", "group"])
def test_recomputing_changes_bytes_and_no_number(precision: str, transform: Transform, norm: str) -> None:
    spec = SMALL.model_copy(update={"norm": norm})
    x = torch.randn(2, 1, 16, 16)
    gradients, peaks = [], []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = FNO(1, 1, spec, precision=precision, transform=transform, recompute=recompute)
        counter = LiveBytes(apart=model.parameters())
        with counter:
            loss = model(x).square().sum()
            kept = counter.live
            loss.backward()
        peaks.append(kept)
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True) if a is not None and b is not None)
    assert peaks[1] < 0.8 * peaks[0], peaks


def test_a_channel_mlp_in_shares_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = FNO(1, 1, SMALL)
    x = torch.randn(5, 1, 8, 8)
    whole = model(x)
    whole.sum().backward()
    gradients = [p.grad for p in model.parameters()]
    model.zero_grad()
    # 16 hidden values at each of 64 points: a share holds less than one sample's.
    monkeypatch.setattr("mpno.models.blocks.CHUNK", 1000)
    parts = model(x)
    parts.sum().backward()
    assert torch.allclose(parts, whole, rtol=1e-5, atol=1e-6)
    for share, p in zip(gradients, model.parameters(), strict=True):
        assert share is not None and p.grad is not None
        assert torch.allclose(share, p.grad, rtol=1e-4, atol=1e-5 * share.abs().max().item())
