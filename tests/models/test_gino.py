"""The geometry-informed neural operator: symmetry, precision, memory and what it refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from mpno.models import gino, make_model
from mpno.models.blocks import Block
from mpno.models.gino import GINO
from mpno.models.graph import Geometry
from mpno.specs import ContractionSpec, FNOSpec, GINOSpec, MpnoError, PrecisionSetting, get_format
from mpno.specs.names import Transform
from mpno.spectral.fft import NotOnGPU

EPS = get_format("fp32").unit_roundoff
SPEC = GINOSpec(modes=(4, 4, 4), width=8, layers=2, radius=0.2, frequencies=3)


def body(count: int = 100, size: int = 8, features: int = 0, channels: int = 1, radius: float = 0.2) -> Geometry:
    """Points on a sphere, with its signed distance on the latent grid."""
    directions = nn.functional.normalize(torch.randn(count, 3), dim=1)
    axis = torch.linspace(-0.5, 0.5, size)
    distance = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0) - 0.3
    return Geometry.of(
        0.5 + 0.3 * directions,
        torch.stack([distance * (i + 1) for i in range(channels)]),
        torch.randn(count, features) if features else None,
        radius=radius,
    )


def results(model: nn.Module, geometry: Geometry) -> list[Tensor]:
    """Output and gradients of all parameters."""
    y = model(geometry)
    weight = torch.cos(torch.arange(y.numel()) * 1.0).reshape(y.shape)
    return [y.detach(), *torch.autograd.grad((y * weight).sum(), list(model.parameters()))]


def apart(ones: Tensor, others: Tensor) -> float:
    return ((ones - others).norm() / others.norm()).item()


def test_reordered_points_give_reordered_outputs() -> None:
    geometry = body(features=2)
    order = torch.randperm(100)
    assert geometry.features is not None
    other = Geometry.of(geometry.points[order], geometry.latent, geometry.features[order], radius=0.2)
    model = GINO(2, 3, SPEC)
    with torch.no_grad():
        y = model(geometry)
        assert y.shape == (1, 3, 100) and y.dtype is torch.float32
        # The sums run in another order: a few roundings of the result, which varies from point to point.
        assert apart(model(other), y[:, :, order]) < 16 * EPS
        assert float(y.std(dim=2).min()) > 1000 * EPS * float(y.abs().max())


def test_every_input_reaches_the_output() -> None:
    geometry = body(features=2, channels=2)
    model = GINO(2, 1, SPEC, latent_channels=2)
    assert geometry.features is not None
    features, latent = geometry.features.requires_grad_(), geometry.latent.requires_grad_()
    for gradient in torch.autograd.grad(model(geometry).sum(), [features, latent]):
        assert bool((gradient != 0).all())
    assert all(bool((p.grad != 0).any()) for p in filled(model, geometry))


def filled(model: nn.Module, geometry: Geometry) -> list[nn.Parameter]:
    model(geometry).square().sum().backward()
    return list(model.parameters())


SETTINGS = {"amp": 1, "half": 1, "mixed": 1, "mixed-bf16": 8}
"""Settings, and the unit roundoff of their format over that of fp16."""


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_low_precision_is_near_full_and_two_bits_are_far(setting: str, transform: Transform) -> None:
    geometry, model = body(), GINO(0, 1, SPEC, transform=transform)
    model.set_precision("full+tanh" if PrecisionSetting.model_validate(setting).stabiliser == "tanh" else "full")
    full = results(model, geometry)
    model.set_precision(setting)
    low = results(model, geometry)
    assert all(bool(one.isfinite().all()) for one in low)
    # Some twenty roundings one after another, each of a whole field.
    error, u = apart(low[0], full[0]), SETTINGS[setting] * get_format("fp16").unit_roundoff
    assert EPS < error < 20 * u
    model.set_precision(f"{setting.partition('-')[0]}-e5m2")
    assert apart(model(geometry), full[0]) > 5 * error


def test_each_block_runs_in_its_own_setting_and_the_rest_in_the_whole_model_s() -> None:
    model = GINO(0, 1, SPEC, precision=PrecisionSetting.model_validate("mixed"))
    for part in (model.into, model.lifting, model.out, model.projection):
        assert part.format == "fp16"
    model.set_precision("half")
    for part in (model.into, model.lifting, model.out, model.projection):
        assert part.format == "fp32"
    for block in model.blocks:
        assert isinstance(block, Block) and block.conv.precision.forward == "fp16"


PADDED = GINOSpec(
    modes=(8, 8, 8),
    width=4,
    layers=1,
    radius=0.05,
    frequencies=3,
    padding=0.125,
    norm="instance",
    contraction=ContractionSpec(factorization="tucker", rank=0.4),
)
"""As the published recipe for cars: 32 points and 4 more on each side make 40, which a GPU's half fft does not take."""


def test_half_by_matrix_products_works_on_the_padded_grid_of_the_published_recipe() -> None:
    geometry = body(200, 32, radius=0.05)
    model = GINO(0, 1, PADDED, transform="matmul", precision="full+tanh")
    grids: list[tuple[int, ...]] = []
    block = model.blocks[0]
    assert isinstance(block, Block)
    block.conv.register_forward_pre_hook(lambda _, args: grids.append(tuple(args[0].shape[1:4])))
    with torch.no_grad():
        full = model(geometry)
        model.set_precision("mixed")
        assert EPS < apart(model(geometry), full) < 20 * get_format("fp16").unit_roundoff
    assert grids == [(40, 40, 40)] * 2


def test_half_fft_on_a_gpu_refuses_that_grid_and_the_rest_is_traced() -> None:
    geometry = body(200, 32, radius=0.05).to("meta")
    with torch.device("meta"):
        model = GINO(0, 1, PADDED, precision="mixed")
        other = GINO(0, 1, PADDED, precision="mixed", transform="matmul")
        unpadded = GINO(0, 1, PADDED.model_copy(update={"padding": 0.0}), precision="mixed")
    with pytest.raises(NotOnGPU, match=r"grid 40 x 40 x 40; allowed: powers of two along each axis; .* matmul"):
        model(geometry)
    for one in (other, unpadded):
        y = one(geometry)
        assert y.shape == (1, 1, 200) and y.dtype is torch.float32
        y.sum().backward()
        assert all(p.grad is not None and p.grad.shape == p.shape for p in one.parameters())


def test_recomputing_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry, model = body(), GINO(0, 1, SPEC, precision="mixed", transform="matmul")
    kept = results(model, geometry)
    monkeypatch.setattr(gino, "LARGE", 0)
    assert all(torch.equal(a, b) for a, b in zip(results(model, geometry), kept, strict=True))


def test_the_spec_makes_the_model() -> None:
    model = make_model(SPEC, 2, 3, precision="mixed", transform="matmul", latent_channels=4)
    assert isinstance(model, GINO) and model.spec == SPEC
    assert (model.in_channels, model.out_channels, model.latent_channels) == (2, 3, 4)
    with pytest.raises(MpnoError, match="sht"):
        make_model(SPEC, 2, 3, transform="sht")
    assert not isinstance(make_model(FNOSpec(), 1, 1), GINO)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": 3}, "GINO got 3 features of a point; it wants 0; .*in_channels=3"),
        ({"channels": 2}, "GINO got 2 latent fields; it wants 1; .*latent_channels=2"),
        ({"size": 3, "radius": 0.5}, "latent grid of 3 points per axis, too few for modes .*give at least 4"),
    ],
)
def test_bodies_that_do_not_fit_the_model_are_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(MpnoError, match=message) as error:
        GINO(0, 1, SPEC)(body(**change))
    assert "\n" not in str(error.value)


def test_what_is_no_geometry_or_lies_elsewhere_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        MpnoError, match=r"GINO got a geometry on meta, its parameters are on cpu; .*geometry\.to\('cpu'"
    ):
        GINO(0, 1, SPEC)(body().to("meta"))
    with pytest.raises(MpnoError, match="in_channels -1 and latent_channels 1 must be at least 0"):
        GINO(-1, 1, SPEC)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(MpnoError, match=r"GINO got a Tensor; it wants a Geometry, one body .* mpno\.Geometry\.of"):
        GINO(0, 1, SPEC)(torch.zeros(1, 3, 10))


def test_autocast_has_no_part_in_it() -> None:
    geometry, model = body(), GINO(0, 1, SPEC)
    with torch.no_grad():
        full = model(geometry)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model(geometry), full)


def test_a_geometry_moves_whole() -> None:
    geometry = body(features=1).to("meta")
    tensors = [geometry.points, geometry.features, geometry.latent]
    tensors += [t for g in (geometry.into, geometry.out) for t in (g.index, g.offsets, g.rows, *g.transposed)]
    assert all(isinstance(t, Tensor) and t.is_meta for t in tensors)
    assert {f.name for f in dataclasses.fields(geometry)} == {"points", "features", "latent", "into", "out"}
