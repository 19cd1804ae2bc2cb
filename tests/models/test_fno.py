"""The FNO's behaviour across settings, its memory, and a TFNO's ranks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mpno import FNO, MpnoError
from mpno.models import make_model
from mpno.numerics import LiveBytes
from mpno.specs import ContractionSpec, FNOSpec, SFNOSpec, get_format
from mpno.specs.names import Transform
from mpno.spectral.weights import SpectralWeight

SMALL = FNOSpec(modes=(6, 6), width=8, layers=3)
STORED = 12 * 2 + 6
"""Roundings to a format on the way through two blocks, a dozen each, and through lifting and projection."""


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


@pytest.mark.parametrize(("modes", "width", "rank"), [((64, 64), 64, 1092), ((64, 64), 32, 410)])
def test_a_tfno_of_published_size_has_the_papers_ranks(modes: tuple[int, int], width: int, rank: int) -> None:
    """Navier-Stokes and Darcy: CP factors of rank 0.05 in each of the two corners of a 2-D spectrum."""
    corners = ContractionSpec(factorization="cp", rank=0.05, layout="corners")
    spec = FNOSpec(name="tfno", modes=modes, width=width, contraction=corners)
    with torch.device("meta"):
        model = FNO(1, 1, spec)
    weights = [module for module in model.modules() if isinstance(module, SpectralWeight)]
    assert len(weights) == spec.layers
    for weight in weights:
        factors = [[tuple(p.shape) for p in part.parameters()] for part in weight.parts]
        assert factors == [[(rank, 2), *((size, rank, 2) for size in (width, width, 32, 32))]] * 2


def test_a_tfno_is_factorised_as_in_the_paper_unless_told_otherwise() -> None:
    spec = FNOSpec.model_validate({"name": "tfno", "modes": [6, 6], "width": 8})
    assert spec.contraction == ContractionSpec(factorization="cp", rank=0.05)
    dense = FNOSpec.model_validate({"name": "tfno", "modes": [6, 6], "width": 8, "contraction": {}})
    assert dense == FNOSpec(name="tfno", modes=(6, 6), width=8, contraction=ContractionSpec(factorization="dense"))
    assert FNOSpec().contraction is None
    # One pair for each of 8 in, 8 out and 6 x 4 stored modes.
    assert make_model(dense, 1, 1).get_parameter("blocks.0.conv.weight.parts.0.0").numel() == 2 * 8 * 8 * 6 * 4


@pytest.mark.parametrize("precision", ["amp", "half", "mixed-bf16"])
@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize(
    "spec",
    [
        FNOSpec(modes=(6,), width=8, layers=2, padding=0.25, norm="instance", skip="soft-gating"),
        FNOSpec(name="tfno", modes=(4, 6), width=8, layers=2, padding=0.1, skip="identity", mlp_skip="linear"),
        FNOSpec(name="tfno", modes=(4, 4, 4), width=8, layers=2, norm="group", mlp_skip="identity"),
    ],
)
def test_every_option_runs_in_every_setting(spec: FNOSpec, transform: Transform, precision: str) -> None:
    model = make_model(spec, 2, 1, precision=precision, transform=transform)
    full = make_model(spec, 2, 1, precision="full+tanh", transform=transform)
    full.load_state_dict(model.state_dict())
    x = torch.randn(2, 2, *(8, 10, 9)[: len(spec.modes)])
    y = model(x)
    assert y.shape == (2, 1, *x.shape[2:]) and y.dtype is torch.float32
    y.square().sum().backward()
    # An instance norm takes out what a convolution's bias adds: its gradient is rounding alone.
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    if precision != "amp":  # which has no tanh
        u = get_format("bf16" if precision.endswith("bf16") else "fp16").unit_roundoff
        distance = ((y - full(x)).norm() / full(x).norm()).item()
        assert 0 < distance < u * STORED**0.5, distance


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


@pytest.mark.parametrize("spec", [FNOSpec(modes=(4, 4), width=4, layers=1), SFNOSpec(modes=(4, 4), width=4, layers=1)])
def test_autocast_has_no_part_in_it(spec: FNOSpec | SFNOSpec) -> None:
    model, x = make_model(spec, 1, 1, transform="matmul"), torch.randn(1, 1, 8, 16)
    with torch.no_grad():
        full = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model(x), full)


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
