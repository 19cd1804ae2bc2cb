"""The audit of models that take a geometry or several tensors, of those that want fp32, and of what it refuses."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
from typing import Any

import pytest
import torch
from test_audit import in_double
from test_from_neuralop_gino import body_for, output_of, peer_of
from test_gino import SPEC, body
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

import mpno
from mpno import FNO, GINO, SFNO, MpnoError, RunSpec, SpectralConv, UNet
from mpno.measurement import predict_bytes
from mpno.models.peers import from_neuralop
from mpno.specs import FNOSpec, SFNOSpec, get_format
from mpno.training.build import build_loss


def distance(y: Tensor, exact: Tensor) -> float:
    return float((y.detach().double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("features", [0, 4])
def test_gino_s_rounding_error_is_that_against_the_peer_in_double(features: int) -> None:
    """With features the body has no field on the latent grid: one of its tensors is empty."""
    options = {"in_channels": 4, "in_gno_transform_type": "nonlinear_kernelonly", "latent_feature_channels": None}
    peer = peer_of(**options if features else {}, in_gno_pos_embed_type="nerf", out_gno_pos_embed_type="nerf")
    geometry = body_for(peer)
    ours: Any = from_neuralop(peer)
    wide = tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, geometry)
    torch.set_default_dtype(torch.float64)
    try:
        exact = output_of(in_double(peer), wide).detach()
    finally:
        torch.set_default_dtype(torch.float32)
    audit = mpno.audit(ours, geometry, settings=("full", "amp", "half+none"))
    for found in audit.settings:
        ours.set_precision(found.setting)
        assert found.reference == "float64" and not found.why
        # The peer keeps its spectrum in complex64 in double too, 2^-24 off.
        assert found.error == pytest.approx(distance(ours(geometry), exact), abs=2**-24)
    assert audit.settings[1].error > 1e3 * audit.settings[0].error > 0


def test_gino_s_layers_are_judged_on_the_latent_grid() -> None:
    """Nothing but a large constant on the latent grid: the first layer's n³ points sum to what fp16 cannot hold."""
    model, geometry = GINO(0, 1, SPEC), body()
    large = dataclasses.replace(geometry, latent=torch.full_like(geometry.latent, 1e4))
    seen: list[Tensor] = []
    handle = model.blocks[0].conv.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))  # type: ignore[union-attr]
    model(large)
    handle.remove()
    audit = mpno.audit(model, large, settings=("half+none", "half"))
    first = audit.layers[0]
    assert [layer.layer for layer in audit.layers] == ["blocks.0.conv", "blocks.1.conv"] and first.grid == (8, 8, 8)
    assert first.input.largest == pytest.approx(float(seen[0].abs().max()), rel=1e-6)
    spectrum = torch.view_as_real(torch.fft.fftn(seen[0].double(), dim=(1, 2, 3)))
    assert first.settings[0].at(8**3) == pytest.approx(float(spectrum.abs().max()) / get_format("fp16").max, rel=1e-6)
    assert first.settings[0].overflows and not first.settings[1].overflows
    assert first.grids == (16**3, 32**3) and "blocks.0.conv" in audit.verdict
    assert "Geometry of points (100, 3), latent (1, 8, 8, 8)" in str(audit).replace("\n", " ")


@pytest.mark.parametrize("setting", ["full", "mixed"])
def test_gino_s_memory_is_what_a_planned_run_needs(setting: str) -> None:
    values = {"precision": setting, "model": SPEC, "data": {"name": "ahmed", "source": "generate", "resolution": 8}}
    spec, geometry = RunSpec.model_validate(values | {"training": {"batch_size": 1}}), body(features=2)
    model = GINO(2, 1, SPEC)
    (found,) = mpno.audit(model, geometry, settings=(setting,), loss=build_loss(spec, True)).settings
    assert found.memory is not None and found.memory == predict_bytes(spec, 2, 1, 1, body=geometry)


def test_a_geometry_and_its_model_stay_as_they_were() -> None:
    model, geometry = GINO(2, 1, SPEC), body(features=2)
    before = [t.clone() for t in model.state_dict().values()], copy.deepcopy(geometry)
    mpno.audit(model, geometry, settings=("full",))
    assert all(torch.equal(a, b) for a, b in zip(before[0], model.state_dict().values(), strict=True))
    leaves = (tree_leaves(g) for g in (before[1], geometry))
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(*leaves, strict=True))


class Weighted(nn.Module):
    """A convolution of samples chosen from a table: its argument is a mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = SpectralConv(1, 1, (4, 4))

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return self.conv(batch["x"][batch["which"]]) * batch["scale"]


def test_a_mapping_is_audited_as_its_tensors_would_be() -> None:
    model, x = Weighted(), torch.randn(3, 1, 8, 8)
    which = torch.tensor([2, 0])
    (found,) = mpno.audit(model, {"x": x, "which": which, "scale": 2.0}, settings=("half",)).settings
    (alone,) = mpno.audit(model.conv, x[which], settings=("half",)).settings
    assert found.reference == "float64" and found.error == pytest.approx(alone.error, rel=1e-6) and found.memory


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (FNO(1, 1, FNOSpec(modes=(8, 8), width=8, layers=2)), torch.randn(2, 1, 16, 16)),
        (SFNO(1, 1, SFNOSpec(modes=(8, 8), width=8, layers=2)), torch.randn(1, 1, 16, 32)),
    ],
    ids=["FNO", "SFNO"],
)
def test_models_that_want_fp32_have_a_reference_in_float64_all_the_same(model: nn.Module, x: Tensor) -> None:
    full, mixed = mpno.audit(model, x, settings=("full", "mixed")).settings
    assert full.reference == mixed.reference == "float64" and not full.why
    # Some twenty roundings one after another, each of a whole field.
    assert 0 < full.error < 20 * get_format("fp32").unit_roundoff < mixed.error < 20 * get_format("fp16").unit_roundoff
    with pytest.raises(MpnoError, match="got dtype float64"):
        model.double()(x.double())


class Refusing(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.conv, self.error = SpectralConv(1, 1, (4, 4)), error

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype is torch.float64:
            raise self.error
        return self.conv(x)


def test_what_keeps_a_model_from_float64_is_said_and_a_bug_is_not_taken_for_it() -> None:
    x = torch.randn(1, 1, 8, 8)
    for refusal in (RuntimeError("expected scalar type Float"), AssertionError("fp32!"), KeyError(torch.float64)):
        (found,) = mpno.audit(Refusing(refusal), x, settings=("half",)).settings
        assert (
            found.reference == "full" and found.why.endswith(f"does not run in float64: {refusal}") and found.error > 0
        )
    for bug in (AttributeError("no attribute conv2"), MpnoError("of mpno's own"), IndexError("5")):
        with pytest.raises(type(bug), match=str(bug)):
            mpno.audit(Refusing(bug), x, settings=("half",))


G = body()
NAN = dataclasses.replace(G, latent=G.latent.clone().fill_(math.nan))


@pytest.mark.parametrize(
    ("model", "batch", "words"),
    [
        (GINO(0, 1, SPEC), NAN, "512 of 512 numbers of the batch.latent are NaN or infinite"),
        (GINO(0, 1, SPEC), G.to("meta"), "the batch.points is on meta, the model on cpu"),
        (Weighted(), {"scale": 2.0}, "is a dict; pass the input tensor"),
        (Weighted(), [], "is a list; pass the input tensor"),
        (Weighted(), {"which": torch.tensor([1])}, "the batch['which'] is torch.int64; pass floating-point"),
        (Weighted(), {"x": torch.ones(0, 1, 8, 8)}, "the batch['x'] has shape (0, 1, 8, 8), no numbers"),
        (
            UNet(1, 1),
            torch.randn(1, 1, 16, 16),
            "no Fourier transform; compare its outputs after set_precision('full') and",
        ),
    ],
)
def test_wrong_inputs_are_answered_in_one_line(model: nn.Module, batch: Any, words: str) -> None:
    with pytest.raises(MpnoError, match=r"^[^\n]*$") as error:
        inspect.unwrap(mpno.audit)(model, batch)
    assert words in str(error.value)
