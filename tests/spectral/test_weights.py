"""Factorised spectral weights against dense contraction in float64 and against the peer's factorised contraction."""

from __future__ import annotations

import importlib
import itertools
import math
from typing import Any, get_args

import pytest
import torch
from dense_oracle import RANKS, assert_within, dense_contract, longest_way, make, sizes_of, with_gradients
from torch import Tensor

from mpno.numerics import round_to
from mpno.specs import ContractionSpec, MpnoError
from mpno.specs.names import ContractionOption, Factorization, PathStrategy, WeightLayout
from mpno.spectral.modes import kept_modes
from mpno.spectral.ranks import resolve_rank
from mpno.spectral.weights import SpectralWeight

FACTORIZATIONS: tuple[Factorization, ...] = get_args(Factorization)
OPTIONS: tuple[ContractionOption, ...] = get_args(ContractionOption)
STRATEGIES: tuple[PathStrategy, ...] = get_args(PathStrategy)
LAYOUTS: tuple[WeightLayout, ...] = get_args(WeightLayout)
# Even and odd modes and grids, grids that resolve fewer modes than are stored, one to three axes.
GRIDS = [((6,), (16,)), ((6,), (5,)), ((6, 4), (7, 20)), ((5, 6), (16, 16)), ((4, 5, 4), (3, 8, 9))]
FORMATS = [("fp16", "fp16"), ("bf16", "bf16"), ("fp32", "fp16"), ("fp16", "fp32"), ("e5m4", "e5m4")]


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("factorization", FACTORIZATIONS)
def test_values_and_gradients_follow_the_dense_weight(
    factorization: Factorization, layout: WeightLayout, option: ContractionOption
) -> None:
    for (modes, grid), path in zip(GRIDS, itertools.cycle(STRATEGIES), strict=False):
        weight, kept, s = make(factorization, modes, grid, layout=layout, option=option, path=path)
        y = weight.contract(s, kept)
        cotangent = torch.randn_like(y)
        assert_within(
            with_gradients(y, cotangent, weight, s),
            dense_contract(weight, kept, s, cotangent),
            sizes_of(weight, kept, s, cotangent),
            terms=longest_way(weight, kept, s),
        )


@pytest.mark.parametrize(("inputs", "weights"), FORMATS)
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("factorization", FACTORIZATIONS)
def test_low_formats_stay_within_their_roundings(
    factorization: Factorization, option: ContractionOption, inputs: str, weights: str
) -> None:
    """Every operand, every step and every gradient is stored once; bf16 rounds a complex product once more."""
    weight, kept, s = make(factorization, option=option)
    y = weight.contract(s, kept, inputs=inputs, weights=weights)
    cotangent = torch.randn(y.shape)
    format = weights if inputs == "fp32" else inputs
    steps = len(weight.plan(kept, 2).steps)
    got = with_gradients(y, cotangent.to(y.dtype), weight, s)
    assert all(x.dtype is torch.float32 for x in got[1:])
    if inputs == weights:
        assert torch.equal(y.float(), round_to(y.float(), format))
    assert_within(
        got,
        dense_contract(weight, kept, s, cotangent),
        sizes_of(weight, kept, s, cotangent),
        terms=longest_way(weight, kept, s),
        # Operands and cotangent, each step once as product or gradient with its value, the signs of option A.
        roundings=(steps + 1) + 2 + 2 * steps + 1,
        format=format,
    )


def test_few_bits_are_seen() -> None:
    """The control: 2 bits must break the bound that fp16 keeps."""
    weight, kept, s = make("cp")
    y = weight.contract(s, kept, inputs="e5m2", weights="e5m2")
    cotangent = torch.randn_like(y)
    exact, sizes = dense_contract(weight, kept, s, cotangent), sizes_of(weight, kept, s, cotangent)
    with pytest.raises(AssertionError, match="relative allowed"):
        assert_within([y], exact[:1], sizes[:1], terms=longest_way(weight, kept, s), roundings=18, format="fp16")


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("factorization", FACTORIZATIONS)
def test_native_dtypes_agree_with_their_emulation(
    factorization: Factorization, option: ContractionOption, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch computes both halves on any processor, if slowly: the code a GPU runs, run here."""
    weight, kept, s = make(factorization, option=option)
    monkeypatch.setattr("mpno.numerics.rounding.matmul_is_native", lambda _format, _device: True)
    y = weight.contract(s, kept, inputs=dtype, weights=dtype)
    cotangent = torch.randn(y.shape).to(y.dtype)
    assert y.dtype is {"fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
    steps = len(weight.plan(kept, 2).steps)
    assert_within(
        with_gradients(y, cotangent, weight, s),
        dense_contract(weight, kept, s, cotangent),
        sizes_of(weight, kept, s, cotangent),
        terms=longest_way(weight, kept, s),
        roundings=(steps + 1) + 2 + 2 * steps + 1,
        format=dtype,
    )


def test_weights_alone_in_half_leave_the_spectrum_its_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that fp16 holds exactly lose nothing: the product runs in the spectrum's fp32."""
    weight, kept, s = make("dense")
    with torch.no_grad():
        for parameter in weight.parameters():
            parameter.copy_(parameter.half())
    monkeypatch.setattr("mpno.numerics.rounding.matmul_is_native", lambda _format, _device: True)
    y = weight.contract(s, kept, inputs="fp32", weights="fp16")
    cotangent = torch.randn_like(y)
    exact, sizes = dense_contract(weight, kept, s, cotangent), sizes_of(weight, kept, s, cotangent)
    got = [y.detach(), *torch.autograd.grad(y, s, cotangent)]
    assert_within(got, exact[:2], sizes[:2], terms=longest_way(weight, kept, s))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("factorization", FACTORIZATIONS)
def test_the_dense_form_is_what_tensorly_rebuilds(factorization: Factorization, layout: WeightLayout) -> None:
    tensorly = pytest.importorskip("tensorly")
    from tensorly import cp_to_tensor, tt_to_tensor, tucker_to_tensor

    tensorly.set_backend("pytorch")
    weight, _, _ = make(factorization, (4, 6, 4), layout=layout, grid=(9, 9, 9))
    dense = torch.view_as_complex(weight.dense())
    assert dense.shape == (4, 6, 2 if layout == "corners" else 3, 3, 2)
    for corner, part in enumerate(weight.parts):
        tensors = [torch.view_as_complex(x) for x in part.parameters()]
        whole = {
            "dense": lambda t: t[0].permute(3, 4, 0, 1, 2),
            "cp": lambda t: cp_to_tensor((t[0], t[1:])),
            "tucker": lambda t: tucker_to_tensor((t[0], t[1:])),
            "tt": tt_to_tensor,
        }[factorization](tensors)
        # The corner's signs: negative frequencies stand before frequency 0, at the middle.
        x, y = (slice(None), slice(None)) if layout == "joint" else (_half(corner // 2, 4), _half(corner % 2, 6))
        assert torch.allclose(dense[x, y], whole.permute(2, 3, 4, 0, 1), rtol=1e-5, atol=1e-5)


def _half(positive: int, modes: int) -> slice:
    return slice(modes // 2, None) if positive else slice(None, modes // 2)


PEER = {"dense": None, "cp": "cp", "tucker": "tucker", "tt": "tt"}


@pytest.mark.parametrize("modes", [(8,), (6, 8), (4, 6, 4)])
@pytest.mark.parametrize("factorization", FACTORIZATIONS)
def test_the_peer_contracts_the_same_factors_to_the_same_numbers(
    factorization: Factorization, modes: tuple[int, ...]
) -> None:
    layers = pytest.importorskip("neuralop.layers.spectral_convolution", reason="neuraloperator is not installed")
    peer = layers.SpectralConv(3, 2, modes, factorization=PEER[factorization], rank=0.6, implementation="factorized")
    rank = None if factorization == "dense" else 0.6
    weight = SpectralWeight(3, 2, modes, spec=ContractionSpec(factorization=factorization, rank=rank))
    theirs = _peer_tensors(peer.weight, factorization)
    with torch.no_grad():
        for own, other in zip(weight.parameters(), theirs, strict=True):
            # As many and of the same shape: the ranks agree. Drawn anew, with numbers of order one.
            own.copy_(torch.view_as_real(other.normal_()))
    kept = kept_modes((16,) * len(modes), modes)
    s = torch.randn(2, *kept.counts, 3, 2, requires_grad=True)
    y = weight.contract(s, kept)
    x = torch.view_as_complex(s.movedim(-2, 1).contiguous())
    z = torch.view_as_real(peer._contract(x, peer.weight, separable=False)).movedim(1, -2)
    cotangent = torch.randn_like(y)
    mine = with_gradients(y, cotangent, weight, s)
    sizes = sizes_of(weight, kept, s, cotangent)
    # Both sides are off by at most the bound.
    terms = 2 * longest_way(weight, kept, s)
    assert_within(mine[:2], [z.detach(), *torch.autograd.grad(z, s, cotangent)], sizes[:2], terms=terms)


def _peer_tensors(weight: Any, factorization: Factorization) -> list[Tensor]:
    if factorization == "dense":
        return [weight.tensor.data.permute(*range(2, weight.tensor.ndim), 0, 1)]
    factors = [factor.data for factor in weight.factors]
    return {"cp": lambda: [weight.weights.data, *factors], "tucker": lambda: [weight.core.data, *factors]}.get(
        factorization, lambda: factors
    )()


SHAPES = [(64, 64, 32, 32), (32, 32, 32, 32), (64, 64, 16, 16, 9), (86, 86, 32, 32, 17), (3, 2, 7), (5, 4, 8, 5)]


@pytest.mark.parametrize("rank", [0.05, 0.4, 1.0, 1.5, 6])
@pytest.mark.parametrize("shape", SHAPES)
def test_ranks_are_tensorlys(shape: tuple[int, ...], rank: float) -> None:
    pytest.importorskip("tensorly")
    # Their annotations say str, their documentation float and int.
    validate_cp_rank: Any = importlib.import_module("tensorly.cp_tensor").validate_cp_rank
    validate_tt_rank: Any = importlib.import_module("tensorly.tt_tensor").validate_tt_rank
    validate_tucker_rank: Any = importlib.import_module("tensorly.tucker_tensor").validate_tucker_rank

    def ours(kind: Factorization) -> list[int]:
        return list(resolve_rank(ContractionSpec(factorization=kind, rank=rank), shape))

    assert ours("tt") == list(validate_tt_rank(shape, rank))
    if isinstance(rank, int):
        assert ours("tucker") == [rank] * len(shape)
    else:
        assert ours("tucker") == list(validate_tucker_rank(shape, rank))
    if (cp := validate_cp_rank(shape, rank)) > 0:
        assert ours("cp") == [cp]


def test_the_papers_ranks() -> None:
    spec = ContractionSpec(factorization="cp", rank=0.05, layout="corners")
    with torch.device("meta"):
        assert SpectralWeight(64, 64, (64, 64), spec=spec).parts[0].get_parameter("0").shape == (1092, 2)
        assert SpectralWeight(32, 32, (64, 64), spec=spec).parts[1].get_parameter("4").shape == (32, 410, 2)


@pytest.mark.parametrize("factorization", FACTORIZATIONS)
def test_rebuilt_elements_have_the_stated_spread(factorization: Factorization) -> None:
    """The mean square over independent draws, within four standard errors of 2 / (in + out)."""
    spec = ContractionSpec(factorization=factorization, rank=RANKS[factorization])
    squares = torch.stack(
        [SpectralWeight(4, 6, (4, 4), spec=spec).dense().square().sum(-1).mean() for _ in range(150)]
    ).detach()
    assert abs(squares.mean() - 2 / 10) < 4 * squares.std() / math.sqrt(150)
    assert 4 * squares.std() / math.sqrt(150) < 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factorization": "tucker", "rank": (2, 2)}, r"rank \(2, 2\) of a tucker weight .* give 4 numbers, or one"),
        ({"factorization": "tt", "rank": (2, 2, 2, 2, 2)}, "give 5 numbers, the first and last 1"),
        ({"factorization": "cp", "rank": 1e-4}, "comes to 0; raise it"),
    ],
)
def test_ranks_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MpnoError, match=message):
        SpectralWeight(3, 2, (4, 4), spec=ContractionSpec(**settings))


def test_corners_need_two_modes_per_axis() -> None:
    with pytest.raises(MpnoError, match="stores"):
        SpectralWeight(3, 2, (1, 4), spec=ContractionSpec(layout="corners"))
    with pytest.raises(MpnoError, match="use at least 2"):
        kept_modes((8, 8), (4, 1), "corners")
