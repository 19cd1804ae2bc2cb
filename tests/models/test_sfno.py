"""The spherical FNO against the peer library's, and its behaviour across settings, grids and rotations."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mpno import MpnoError, SpectralConv, SphericalConv
from mpno.models import make_model
from mpno.models.blocks import Block
from mpno.models.peers import from_neuralop
from mpno.models.sfno import SFNO
from mpno.numerics import set_precision, trace_dtypes
from mpno.specs import PrecisionSetting, RunSpec, SFNOSpec, get_format
from mpno.specs.names import SphericalTransform

pytest.importorskip("torch_harmonics", reason="torch-harmonics is not installed")

SMALL = SFNOSpec(modes=(5, 5), width=8, layers=3)
POINTS = (12, 24)
TRANSFORMS: list[SphericalTransform] = ["sht", "matmul"]
SETTINGS = ["full", "amp", "half", "mixed", "mixed-bf16", "mixed-e5m2"]


def make(precision: str = "full", transform: SphericalTransform = "sht", **changes: Any) -> SFNO:
    torch.manual_seed(1)
    return SFNO(3, 2, SMALL.model_copy(update=changes), precision=precision, transform=transform)


def blocks(model: SFNO) -> list[Block]:
    return [block for block in model.blocks if isinstance(block, Block)]


def relative(got: Tensor | None, want: Tensor | None) -> float:
    assert got is not None and want is not None
    return float((got.detach() - want.detach()).norm() / want.detach().norm())


def tolerance(format: str, points: tuple[int, int] = POINTS) -> float:
    """Of the error in the norm: per block sixteen stored values in the convolution and eight beside it (two linear
    layers and their hidden values, two sums, two activations), as many for lifting and projection, and sums in fp32.

    Layers are taken to pass errors on as they are: skips carry most of a new model's output.
    """
    stages = SMALL.layers + 1
    return stages * (24 * get_format(format).unit_roundoff + 2 * sum(points) * get_format("fp32").unit_roundoff)


def peer_of(**changes: Any) -> Any:
    models = pytest.importorskip("neuralop.models", reason="neuraloperator is not installed")
    # Its second number counts orders of both signs.
    modes = (SMALL.modes[0], 2 * SMALL.modes[1])
    sizes: dict[str, Any] = {"n_modes": modes, "hidden_channels": SMALL.width, "n_layers": SMALL.layers}
    peer = models.SFNO(in_channels=3, out_channels=2, **(sizes | changes))
    with torch.no_grad():
        for p in peer.parameters():
            # Gains and biases begin at one and zero, where a copy that forgets them shows nothing.
            p.add_(0.1 * torch.randn_like(p))
    return peer


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stabilizer": "tanh"},
        {"norm": "group_norm"},
        {"norm": "instance_norm"},
        {"fno_skip": "soft-gating", "channel_mlp_skip": "linear"},
        {"factorization": "tucker", "rank": 0.5},
        {"n_modes": (5, 13), "channel_mlp_expansion": 1.0, "lifting_channel_ratio": 1, "projection_channel_ratio": 3},
    ],
    ids=str,
)
def test_the_peers_weights_give_its_values_and_gradients(
    changes: dict[str, Any], transform: SphericalTransform
) -> None:
    peer = peer_of(**changes)
    tanh = "full+tanh" if "stabilizer" in changes else "full"
    ours = from_neuralop(peer, precision=tanh, transform=transform)
    x = torch.randn(2, 3, *POINTS)
    cotangent = torch.randn(2, 2, *POINTS)
    outputs, gradients = [], []
    for model in (ours, peer):
        leaf = x.clone().requires_grad_()
        outputs.append(model(leaf))
        outputs[-1].backward(cotangent)
        gradients.append(leaf.grad)
    assert relative(*outputs) <= tolerance("fp32")
    assert relative(*gradients) <= 2 * tolerance("fp32")


def test_the_peer_counts_orders_of_both_signs() -> None:
    ours = from_neuralop(peer_of(n_modes=(5, 14)))
    assert isinstance(ours, SFNO) and ours.spec.modes == (5, 7)


def test_the_peer_agrees_where_the_grid_resolves_its_degrees() -> None:
    peer = peer_of()
    ours = from_neuralop(peer)
    nine, eight = (torch.randn(2, 3, n, 2 * n) for n in (9, 8))
    assert relative(ours(nine), peer(nine)) <= tolerance("fp32")
    assert relative(ours(eight), peer(eight)) > 10 * tolerance("fp32")


def test_the_peers_latitudes_come_along() -> None:
    peer = peer_of()
    for conv in peer.fno_blocks.convs:
        conv.sht_grids = ["legendre-gauss"] * 2
    x = torch.randn(2, 3, *POINTS)
    assert relative(from_neuralop(peer)(x), peer(x)) <= tolerance("fp32")
    peer.fno_blocks.convs[1].sht_grids = ["legendre-gauss", "equiangular"]
    with pytest.raises(MpnoError, match="sht_grids"):
        from_neuralop(peer)


def test_what_the_peer_has_and_we_have_not_is_refused() -> None:
    for changes, named in (({"domain_padding": 0.1}, "domain_padding"), ({"positional_embedding": None}, "embedding")):
        with pytest.raises(MpnoError, match=named):
            from_neuralop(peer_of(**changes))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("precision", SETTINGS)
@pytest.mark.parametrize("grid", ["equiangular", "legendre-gauss"])
def test_every_setting_goes_forward_and_back(precision: str, transform: SphericalTransform, grid: str) -> None:
    model = make(precision, transform, grid=grid)
    x = torch.randn(2, 3, *POINTS, requires_grad=True)
    y = model(x)
    assert y.dtype is torch.float32 and y.shape == (2, 2, *POINTS) and y.isfinite().all()
    y.square().sum().backward()
    for name, p in [*model.named_parameters(), ("x", x)]:
        assert p.grad is not None and p.grad.dtype is torch.float32 and p.grad.isfinite().all(), name
        assert p.grad.norm() > 0, name


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("setting", ["half", "mixed"])
def test_half_keeps_to_its_roundoff_and_two_bits_do_not(setting: str, transform: SphericalTransform) -> None:
    exact = make("full+tanh", transform)
    x = torch.randn(4, 3, *POINTS)
    want = exact(x)
    if setting == "half":
        # The low format has only the spherical blocks, whose share of a new model's output is a few percent.
        weights = {name: torch.zeros_like(w) for name, w in exact.named_parameters() if name.endswith("conv.weight")}
        exact.load_state_dict(weights, strict=False)
        share = (want - exact(x)).norm()
    else:
        share = want.norm()

    def distance(format: str) -> float:
        return ((make(f"{setting}-{format}", transform)(x) - want).norm() / share).item()

    half = tolerance("fp16")
    assert tolerance("fp32") < distance("fp16") <= half
    assert distance("fp16") < distance("bf16") <= tolerance("bf16")
    assert half < distance("e5m2")


def test_transforms_differ_by_rounding_alone() -> None:
    x = torch.randn(2, 3, *POINTS)
    full, half = (relative(make(p, "matmul")(x), make(p, "sht")(x)) for p in ("full", "half"))
    assert full <= 2 * tolerance("fp32") and half <= 2 * tolerance("fp16")


def computed_in(precision: str, transform: SphericalTransform = "sht") -> tuple[set[str], set[str]]:
    """The dtypes of what spherical block and channel MLP compute, changes of dtype aside."""
    trace = trace_dtypes(make(precision, transform, layers=1), (2, 3, 16, 32))
    conv, mlp = (
        {row.output for row in trace.of(f"blocks.0.{part}") if row.operation != "to_copy"} for part in ("conv", "mlp")
    )
    return conv, mlp


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_the_spherical_block_of_a_mixed_model_runs_in_half() -> None:
    """On meta tensors, which take CUDA's path. The rest of `half` stays in fp32, and of `amp` the block does."""
    low, high = {"complex32", "float16"}, {"complex64", "float32"}
    assert computed_in("mixed") == (low, {"float16"})
    assert computed_in("mixed", "matmul") == ({"float16"}, {"float16"})
    assert computed_in("half") == (low, {"float32"})
    assert computed_in("amp+tanh") == (high, {"float16"})
    assert computed_in("full+tanh") == (high, {"float32"})


def test_the_peers_mixed_block_is_its_full_one() -> None:
    """Why there is nothing to compare a half block with: the peer takes the option and leaves it unused."""
    full, mixed = peer_of(), peer_of(fno_block_precision="mixed")
    mixed.load_state_dict(full.state_dict())
    x = torch.randn(2, 3, *POINTS)
    assert torch.equal(mixed(x), full(x))


def test_a_trained_model_changes_its_setting() -> None:
    """A schedule's phases are those settings, and the weights stay what training made them."""
    model = make("mixed")
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    x = torch.randn(2, 3, *POINTS)
    schedule = PrecisionSetting.model_validate("schedule")
    outputs = []
    for progress in (0.0, 0.5, 1.0):
        set_precision(model, schedule.at(progress))
        model(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        fresh = SFNO(3, 2, SMALL, precision=schedule.at(progress))
        fresh.load_state_dict(model.state_dict())
        outputs.append(model(x))
        assert torch.equal(outputs[-1], fresh(x))
    last = {}
    for setting in ("mixed", "full+tanh"):
        set_precision(model, setting)
        last[setting] = model(x)
    assert tolerance("fp32") < relative(last["mixed"], last["full+tanh"]) <= tolerance("fp16")


def test_both_spectral_layers_name_the_setting_alike() -> None:
    for layer in (SpectralConv(2, 2, (4, 4)), SphericalConv(2, 2, (4, 4))):
        layer.set_precision(precision="mixed")
        assert layer.precision.label == "mixed"


def test_a_layer_has_the_setting_it_is_given() -> None:
    model = make("mixed [1: full]")
    assert [block.precision.label for block in blocks(model)] == ["mixed", "full", "mixed"]


def smooth(points: tuple[int, int]) -> Tensor:
    """Polynomials of x, y, z on the unit sphere, on an equiangular grid with both poles."""
    theta = np.linspace(0.0, np.pi, points[0])[:, None]
    phi = 2 * np.pi * np.arange(points[1]) / points[1]
    x, y, z = np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta) + 0 * phi
    return torch.from_numpy(np.stack([x * y + z, z * z - 0.3 * x, y])[None]).float()


def blind(model: SFNO) -> SFNO:
    """The model without the coordinates, which come last."""
    with torch.no_grad():
        model.lifting.first.weight[:, model.in_channels :] = 0.0
    return model


def errors_by_grid(model: SFNO) -> list[float]:
    """Of four grids against the finest, each half as coarse as the one before, at the points that both have."""
    outputs = [model(4.0 * smooth((4 * 2**k + 1, 8 * 2**k))) for k in range(5)]
    finest = outputs.pop()
    return [relative(y, finest[..., :: 2 ** (4 - k), :: 2 ** (4 - k)]) for k, y in enumerate(outputs)]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_finer_grid_gives_the_same_function(transform: SphericalTransform) -> None:
    """Spectrally without the coordinates, down to rounding; with them to first order (see the class)."""
    spectral = errors_by_grid(blind(make(transform=transform, modes=(3, 3))))
    assert spectral[1] < spectral[0] / 30, spectral
    assert max(spectral[2:]) <= tolerance("fp32"), spectral
    first = errors_by_grid(make(transform=transform, modes=(3, 3)))
    # Errors of order h, against a grid of 1/16 the coarsest step, are as 15 : 7 : 3 : 1.
    ratios = [coarse / fine for coarse, fine in pairwise(first)]
    assert ratios == pytest.approx([15 / 7, 7 / 3, 3], rel=0.1), first


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_without_coordinates_turning_about_the_axis_commutes(transform: SphericalTransform) -> None:
    model = make("full+tanh", transform)
    x = torch.randn(2, 3, *POINTS)

    def defect() -> float:
        return relative(model(x.roll(5, -1)), model(x).roll(5, -1))

    assert defect() > 100 * tolerance("fp32")
    blind(model)
    assert defect() <= 2 * tolerance("fp32")


@pytest.mark.parametrize("precision", ["full+tanh", "mixed"])
def test_recomputing_changes_no_number(precision: str) -> None:
    x = torch.randn(2, 3, *POINTS)
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = SFNO(3, 2, SMALL, precision=precision, recompute=recompute)
        model(x).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True) if a is not None and b is not None)


def test_a_run_says_it_is_spherical() -> None:
    data = {"source": "generate", "name": "shallow-water", "resolution": 32, "test_resolutions": [32]}
    run = RunSpec.model_validate({"data": data, "model": {"name": "sfno"}})
    model = make_model(run.model, 3, 3, precision="mixed", transform=run.transform)
    assert isinstance(model, SFNO) and model.spec == SFNOSpec() and blocks(model)[0].conv.transform == "sht"
    with pytest.raises(MpnoError, match=r"sfno with transform fft.*sht"):
        make_model(run.model, 3, 3, transform="fft")


def test_wrong_shapes_are_named() -> None:
    for wrong in ((2, 1, 12, 24), (2, 3, 12)):
        with pytest.raises(MpnoError, match=r"SFNO got shape .* it wants \(batch, 3, lat, lon\)"):
            make()(torch.ones(wrong))
