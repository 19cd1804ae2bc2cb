"""Neighbourhoods and kernel integrals, against counting and adding up by hand in float64."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mpno.models import graph
from mpno.models.graph import Geometry, KernelIntegral, Neighbours, embed, find_neighbours, grid_points
from mpno.numerics import LiveBytes, PointwiseLinear, recomputing
from mpno.specs import MpnoError

EPS = torch.finfo(torch.float32).eps / 2


def brute_force(points: Tensor, queries: Tensor, radius: float) -> list[list[int]]:
    """Which points lie within the radius of each query, distance by distance."""
    near = np.linalg.norm(queries.double().numpy()[:, None] - points.double().numpy()[None], axis=-1) <= radius
    return [np.flatnonzero(row).tolist() for row in near]


def lists(neighbours: Neighbours) -> list[list[int]]:
    return [part.tolist() for part in neighbours.index.tensor_split(neighbours.offsets[1:-1])]


@pytest.mark.parametrize("radius", [0.01, 0.2, 2.0])
def test_neighbours_are_those_of_every_distance(radius: float) -> None:
    points, queries = torch.rand(150, 3), torch.rand(60, 3)
    found = find_neighbours(points, queries, radius)
    assert lists(found) == brute_force(points, queries, radius)
    assert found.queries == 60 and found.sources == 150


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points, queries = torch.rand(150, 3), torch.rand(60, 3)
    monkeypatch.setattr(graph, "QUERIES", 7)
    for radius in (0.01, 0.2):
        found = find_neighbours(points, queries, radius)
        assert lists(found) == brute_force(points, queries, radius)
        assert found.index.dtype == found.offsets.dtype == torch.int64 and found.queries == 60
    none = find_neighbours(points, torch.empty(0, 3), 0.2)
    assert none.index.tolist() == [] and none.offsets.tolist() == [0]


def test_the_rim_counts_as_near() -> None:
    found = find_neighbours(torch.tensor([[0.5, 0.5, 0.75]]), torch.tensor([[0.5, 0.5, 0.5]]), 0.25)
    assert found.index.tolist() == [0]


def test_both_graphs_of_a_geometry() -> None:
    points = torch.rand(80, 3)
    body = Geometry.of(points, torch.zeros(1, 7, 7, 7), radius=0.2)
    grid = torch.tensor(np.stack(np.meshgrid(*[np.linspace(0, 1, 7)] * 3, indexing="ij"), -1).reshape(-1, 3))
    assert lists(body.into) == brute_force(points, grid.float(), 0.2)
    assert lists(body.out) == brute_force(grid.float(), points, 0.2)


def test_embeddings_are_sines_and_cosines_coordinate_by_coordinate() -> None:
    points = torch.rand(5, 3)
    x = points.double().numpy()
    for kind, w in (("nerf", np.pi * 2.0 ** np.arange(4)), ("transformer", 10000.0 ** (-2 * np.arange(4) / 4))):
        exact = np.stack([np.sin(x[..., None] * w), np.cos(x[..., None] * w)], -1).reshape(5, 24)
        # An angle of at most 8 pi is rounded once for w and once for the product.
        np.testing.assert_allclose(embed(points, 4, kind), exact, atol=8 * np.pi * 2 * EPS + 2 * EPS)  # type: ignore[arg-type]


def integral(reduction: Any = "mean", features: int = 2) -> tuple[KernelIntegral, list[Any]]:
    """A layer and its arguments: 40 queries, some without neighbours, among 90 sources."""
    points, queries = torch.rand(90, 3), torch.rand(40, 3)
    neighbours = find_neighbours(points, queries, 0.18)
    assert 0 < int((neighbours.counts == 0).sum()) < 20
    layer = KernelIntegral(6, features, (9, 7), 5, reduction)
    sources = torch.cat([embed(points, 1, "nerf"), torch.randn(90, features)], -1).requires_grad_()
    return layer, [
        embed(queries, 1, "nerf").requires_grad_(),
        sources,
        neighbours,
        torch.randn(90, 5, requires_grad=True),
    ]


def dense(layer: KernelIntegral, queries: Tensor, sources: Tensor, neighbours: Neighbours, f: Tensor | None) -> Tensor:
    """The same from its definition in float64: the kernel at every pair, a matrix of who is near whom."""
    parameters = [p.double() for p in layer.parameters()]
    of_query, bias, of_source, *others = parameters
    first = torch.cat([of_query, of_source], 1)
    pairs = torch.cat(
        [queries.double()[:, None].expand(-1, len(sources), -1), sources.double().expand(len(queries), -1, -1)], -1
    )
    h = pairs @ first.T + bias
    for weight, shift in zip(others[::2], others[1::2], strict=True):
        h = (h * 0.5 * (1 + torch.erf(h / 2**0.5))) @ weight.T + shift
    near = torch.zeros(len(queries), len(sources), dtype=torch.float64)
    for q, one in enumerate(lists(neighbours)):
        near[q, one] = 1
    u = torch.einsum("qs,qsc->qc", near, h if f is None else h * f.double())
    return u if layer.reduction == "sum" else u / near.sum(1, keepdim=True).clamp(min=1)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("with_f", [True, False])
def test_integrals_and_gradients_against_the_definition(reduction: str, with_f: bool) -> None:
    layer, (queries, sources, neighbours, f) = integral(reduction)
    leaves = [*layer.parameters(), queries, sources, *([f] if with_f else [])]
    f = f if with_f else None
    y, exact = layer(queries, sources, neighbours, f), dense(layer, queries, sources, neighbours, f)
    assert torch.equal(y[neighbours.counts == 0], torch.zeros_like(y[neighbours.counts == 0]))
    cotangent = torch.randn(40, 5)
    grads = torch.autograd.grad(y, leaves, cotangent)
    wanted = torch.autograd.grad(exact, leaves, cotangent.double())
    # Sums of at most 40 x 90 x 15 terms: their roundings add up as a random walk.
    for got, want in zip([y, *grads], [exact, *wanted], strict=True):
        error = float(((got.double() - want).norm() / want.norm()).detach())
        assert error < 8 * EPS * (40 * 90 * 15) ** 0.5 / 4, error


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_chunks_change_nothing(reduction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, (queries, sources, neighbours, f) = integral(reduction)
    leaves = [*layer.parameters(), queries, sources, f]
    whole = layer(queries, sources, neighbours, f)
    wanted = torch.autograd.grad(whole.sin().sum(), leaves)
    monkeypatch.setattr(graph, "CHUNK", 8)
    parts = neighbours.parts(8)
    assert len(parts) > 4 and sum(part.queries for part in parts) == 40
    assert all(len(part.index) <= 8 or part.queries == 1 for part in parts)
    chunked = layer(queries, sources, neighbours, f)
    # A product with fewer rows may add up in another order.
    assert torch.allclose(chunked, whole, rtol=0, atol=16 * EPS * float(whole.detach().abs().max()))
    for got, want in zip(torch.autograd.grad(chunked.sin().sum(), leaves), wanted, strict=True):
        assert float((got - want).norm()) <= 64 * EPS * float(want.norm())


def test_recipes_keep_nothing_of_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a low format that copies; each chunk is a checkpoint, so with recipes too it leaves what it leaves without."""
    neighbours = Neighbours(torch.randint(50, (100 * 64,)), torch.arange(101) * 64, 50)
    layer = KernelIntegral(6, 0, (32, 32), 8, "mean")
    layer.set_format("fp8_e5m2")
    queries, sources = torch.rand(100, 6), torch.rand(50, 6)
    monkeypatch.setattr(graph, "CHUNK", 640)

    def peak(recipes: bool) -> int:
        layer(queries, sources, neighbours)  # what the graph keeps is made by now
        with LiveBytes() as counter, recomputing(recipes):
            layer(queries, sources, neighbours)
        return counter.peak

    assert peak(True) <= peak(False)


def test_a_mean_over_more_than_fp16_can_count() -> None:
    """70 000 neighbours, each told 1 by the kernel: neither their sum nor their number is below fp16's 65 504."""
    count = 70_000
    layer = KernelIntegral(1, 0, (1,), 1, "mean")
    layer.set_format("fp16")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        last = layer.layers[-1]
        assert isinstance(last, PointwiseLinear) and last.bias is not None
        last.bias.fill_(1.0)
    neighbours = Neighbours(torch.arange(count), torch.tensor([0, count]), count)
    y = layer(torch.zeros(1, 1), torch.zeros(count, 1), neighbours)
    y.sum().backward()
    assert y.item() == 1.0
    # Each edge's share, 1 / 70 000, is a subnormal of fp16, whose spacing is 2^-24.
    assert last.bias.grad is not None and abs(last.bias.grad.item() - 1.0) < count * 2.0**-25


def test_a_geometry_counts_what_its_graphs_keep_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "CHUNK", 2000)
    body = Geometry.of(torch.rand(300, 3), torch.zeros(1, 12, 12, 12), radius=0.25)
    body = body.to("cpu")
    with LiveBytes(apart=[t for g in (body.into, body.out) for t in (g.index, g.offsets)]) as counter:
        kept = [part.transposed for g in (body.into, body.out) for part in g.parts(2000)]
        kept += [part.rows for g in (body.into, body.out) for part in g.parts(2000)]
    assert len(kept) > 20
    given = sum(t.nbytes for g in (body.into, body.out) for t in (g.index, g.offsets))
    given += body.points.nbytes + body.latent.nbytes
    # Uneven cuts may need a part more or two.
    assert 0.9 * body.nbytes < given + counter.live < 1.1 * body.nbytes


def test_chunks_bound_the_memory_of_the_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the edges in chunks of a size need hardly more, where whole they need twice as much."""

    def peak(queries: int, device: str) -> int:
        neighbours = Neighbours(torch.randint(50, (queries * 64,)), torch.arange(queries + 1) * 64, 50).to(device)
        layer = KernelIntegral(6, 0, (32, 32), 8, "sum").to(device)
        args = torch.rand(queries, 6, device=device), torch.rand(50, 6, device=device), neighbours
        f = torch.rand(50, 8, device=device, requires_grad=True)
        layer(*args, f).sum().backward()  # what the graph keeps is made by now
        with LiveBytes() as counter:
            layer(*args, f).sum().backward()
        return counter.peak

    for device in ("cpu", "meta"):
        whole = peak(40, device), peak(80, device)
        monkeypatch.setattr(graph, "CHUNK", 640)
        chunked = peak(40, device), peak(80, device)
        monkeypatch.undo()
        assert whole[1] > 1.8 * whole[0]
        # What grows are the queries' own channels, 64 bytes against 6 kB or so of 64 edges' each.
        assert chunked[1] - chunked[0] < 0.1 * (whole[1] - whole[0]) and chunked[1] < whole[1] / 3


def test_the_sum_over_sampled_points_converges_to_the_integral() -> None:
    """The mean over n uniform points misses that over the ball by n^(-1/2) times the kernel's deviation there."""
    layer = KernelIntegral(6, 0, (8,), 3, "mean")
    query = torch.tensor([[0.5, 0.5, 0.5]])

    def at(count: int, seed: int) -> Tensor:
        points = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            return layer(embed(query, 1, "nerf"), embed(points, 1, "nerf"), find_neighbours(points, query, 0.4))

    exact = at(400_000, 99)
    errors = [
        float(torch.stack([at(n, seed) - exact for seed in range(100)]).square().mean().sqrt()) for n in (200, 3200)
    ]
    rate = np.log(errors[0] / errors[1]) / np.log(16)
    # 100 squared errors of one kernel know a deviation to a relative 1 / sqrt(200), two of them the rate to this.
    assert abs(rate - 0.5) < 3 * 0.1 / np.log(16), errors


def test_missing_scipy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.spatial", None)
    with pytest.raises(MpnoError, match=r"scipy is missing; pip install 'mpno\[data\]'"):
        find_neighbours(torch.rand(3, 3), torch.rand(2, 3), 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": torch.tensor([[0.5, 0.5, 1.25]])}, "from 0.5 to 1.25; scale them to the unit cube"),
        ({"points": torch.tensor([[0.5, 0.5, float("nan")]])}, "1 points are not finite"),
        ({"points": torch.empty(0, 3)}, "0 points"),
        ({"points": torch.rand(20, 2)}, r"points \(20, 2\); it wants \(n, 3\)"),
        ({"points": torch.rand(1, 20, 3)}, r"points \(1, 20, 3\); it wants \(n, 3\)"),
        ({"latent": torch.full((1, 5, 5, 5), float("inf"))}, "125 latent are not finite"),
        ({"latent": torch.zeros(1, 5, 5, 4)}, r"latent grid \(1, 5, 5, 4\); it wants \(channels, g, g, g\)"),
        ({"latent": torch.zeros(1, 1, 1, 1)}, "g at least 2"),
        ({"features": torch.zeros(3, 2)}, "20 points and 3 features"),
        ({"features": torch.full((20, 1), float("nan"))}, "20 features are not finite"),
        ({"radius": 1e-6}, "20 of 20 points have no point of the latent grid.* radius 1e-06; take at least 0.22"),
        ({"radius": 0.0}, "radius 0; it wants one above 0"),
    ],
)
def test_wrong_geometries_are_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    given = {"points": torch.rand(20, 3), "latent": torch.zeros(1, 5, 5, 5), "features": None, "radius": 0.3, **change}
    with pytest.raises(MpnoError, match=message) as error:
        Geometry.of(given["points"], given["latent"], given["features"], radius=given["radius"])
    assert "\n" not in str(error.value)


def test_points_on_the_faces_of_the_cube_are_inside() -> None:
    body = Geometry.of(torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), torch.zeros(1, 3, 3, 3), radius=0.1)
    assert body.out.index.tolist() == [0, 26]
    assert torch.equal(grid_points(3)[body.out.index], body.points)
