"""Neighbourhoods among points in the unit cube, and kernel integrals over them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._pytree import register_dataclass
from torch.utils.checkpoint import checkpoint

from mpno.numerics import PointwiseLinear, gelu, hold, recomputing
from mpno.specs import MpnoError
from mpno.specs.names import Embedding

Reduction = Literal["mean", "sum"]
CHUNK = 2**17
"""Edges whose values a kernel integral holds at a time: a hundred megabytes or so of hidden channels."""
QUERIES = 2**12
"""Queries whose neighbours are looked up at a time."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """For every query the sources within a radius, as compressed sparse rows.

    Attributes:
        index: (edges,) int64; which source, ascending within a query.
        offsets: (queries + 1,) int64; edges ``offsets[q]`` to ``offsets[q + 1]`` are those of query q.
        sources: how many sources there are.
    """

    index: Int[Tensor, " edges"]
    offsets: Int[Tensor, " bounds"]
    sources: int

    @property
    def queries(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def counts(self) -> Int[Tensor, " queries"]:
        """Neighbours of each query."""
        return self.offsets.diff()

    @property
    def edges(self) -> Int[Tensor, " edges"]:
        """The edges' own numbers."""
        return torch.arange(len(self.index), device=self.index.device)

    @cached_property
    def rows(self) -> Int[Tensor, " edges"]:
        """The query of each edge."""
        return torch.searchsorted(self.offsets, self.edges, right=True) - 1

    @cached_property
    def transposed(self) -> tuple[Int[Tensor, " edges"], Int[Tensor, " bounds"]]:
        """The edges in the order of their sources, and where those of each source begin."""
        order = torch.argsort(self.index, stable=True)
        sources = torch.arange(self.sources + 1, device=self.index.device)
        return order, torch.searchsorted(self.index[order], sources)

    def to(self, device: torch.device | str) -> Neighbours:
        return Neighbours(self.index.to(device), self.offsets.to(device), self.sources)

    def parts(self, edges: int) -> tuple[Neighbours, ...]:
        """The same graph in stretches of queries with at most `edges` edges each, or one query.

        Cut once per graph. On meta tensors, which have no counts, the edges are taken to lie evenly.
        """
        if len(self.index) <= edges:
            return (self,)
        kept: dict[int, tuple[Neighbours, ...]] = self.__dict__.setdefault("_parts", {})
        if edges not in kept:
            kept[edges] = self._cut(edges)
        return kept[edges]

    def _cut(self, edges: int) -> tuple[Neighbours, ...]:
        total = len(self.index)
        if self.offsets.is_meta:
            bounds = [total * q // self.queries for q in range(self.queries + 1)]
        else:
            bounds = self.offsets.tolist()
        parts, first = [], 0
        while first < self.queries:
            last = first + 1
            while last < self.queries and bounds[last + 1] - bounds[first] <= edges:
                last += 1
            index = self.index[bounds[first] : bounds[last]]
            parts.append(Neighbours(index, self.offsets[first : last + 1] - bounds[first], self.sources))
            first = last
        return tuple(parts)


def find_neighbours(points: Float[Tensor, "n 3"], queries: Float[Tensor, "q 3"], radius: float) -> Neighbours:
    """The points within `radius` of each query, the rim included. On the CPU; the distances are float64.

    Raises:
        MpnoError: scipy is missing.
    """
    try:
        from scipy.spatial import KDTree
    except ModuleNotFoundError as error:
        raise MpnoError("find_neighbours: scipy is missing; pip install 'mpno[data]'") from error
    tree = KDTree(points.cpu().double().numpy())
    counts, index = [], []
    # The tree answers in lists, which need several times their numbers' memory: a block of queries at a time.
    for block in queries.cpu().double().split(QUERIES):
        found = tree.query_ball_point(block.numpy(), radius, return_sorted=True)
        counts.append(np.fromiter(map(len, found), np.int64, len(found)))
        index.append(np.fromiter(chain.from_iterable(found), np.int64, counts[-1].sum()))
    offsets = np.concatenate([[0], *counts]).cumsum()
    return Neighbours(torch.from_numpy(np.concatenate(index)), torch.from_numpy(offsets), len(points))


def grid_points(n: int, device: torch.device | str = "cpu") -> Float[Tensor, "points 3"]:
    """The points of a grid of n per axis from corner to corner of the unit cube, the last axis fastest."""
    axis = torch.linspace(0, 1, n, device=device)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).flatten(0, 2)


@dataclass(frozen=True, eq=False)
class Geometry:
    """One body: points of its surface, fields on a latent grid around it, and the graphs between the two.

    Attributes:
        points: (n, 3) fp32 in the unit cube.
        features: (n, f) fp32, or None.
        latent: (c, g, g, g) fp32 fields on the grid that reaches from corner to corner of the cube.
        into: for each point of the latent grid, the surface points near it.
        out: for each surface point, the points of the latent grid near it.
    """

    points: Float[Tensor, "n 3"]
    latent: Float[Tensor, "c g g g"]
    into: Neighbours
    out: Neighbours
    features: Float[Tensor, "n f"] | None = None

    @classmethod
    def of(
        cls,
        points: Float[Tensor, "n ..."],
        latent: Float[Tensor, "c ..."],
        features: Float[Tensor, "m f"] | None = None,
        *,
        radius: float,
    ) -> Geometry:
        """Build both graphs, on the CPU; see :meth:`to`.

        Raises:
            MpnoError: values that are not finite, points outside the cube, shapes that do not fit each other, or a
                radius that leaves a point without a neighbour on the latent grid.
        """
        given = {"points": points, "latent": latent} | ({} if features is None else {"features": features})
        for name, values in given.items():
            if not values.isfinite().all():
                raise MpnoError(f"Geometry: {int((~values.isfinite()).sum())} {name} are not finite; mend the data")
        if latent.ndim != 4 or len(set(latent.shape[1:])) > 1 or latent.shape[-1] < 2:
            raise MpnoError(
                f"Geometry got a latent grid {tuple(latent.shape)}; it wants (channels, g, g, g), g at least 2"
            )
        if points.ndim != 2 or points.shape[1] != 3:
            raise MpnoError(f"Geometry got points {tuple(points.shape)}; it wants (n, 3), x, y and z of each")
        if len(points) == 0 or (features is not None and len(features) != len(points)):
            raise MpnoError(
                f"Geometry got {len(points)} points and {0 if features is None else len(features)} features; "
                "it wants at least one point, and features of each or None"
            )
        if not radius > 0:
            raise MpnoError(f"Geometry: radius {radius:g}; it wants one above 0, as 0.1")
        low, high = float(points.min()), float(points.max())
        if low < 0 or high > 1:
            raise MpnoError(f"Geometry: coordinates from {low:g} to {high:g}; scale them to the unit cube, 0 to 1")
        size = latent.shape[-1]
        grid = grid_points(size)
        out = find_neighbours(grid, points, radius)
        alone = int((out.counts == 0).sum())
        if alone:
            raise MpnoError(
                f"Geometry: {alone} of {len(points)} points have no point of the latent grid, {size} per axis, within "
                f"radius {radius:g}; take at least {math.sqrt(3) / 2 / (size - 1):.2g}, or a finer grid"
            )
        # Near is near both ways.
        order, offsets = out.transposed
        into = Neighbours(out.rows[order], offsets, len(points))
        return cls(
            points.float().cpu(), latent.float().cpu(), into, out, None if features is None else features.float().cpu()
        )

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors, with those that the graphs keep for their sums once they were used."""
        given = [self.points, self.latent, *([] if self.features is None else [self.features])]
        graphs = 0
        for g in (self.into, self.out):
            parts = 1 + len(g.index) // CHUNK  # each keeps where the edges of every source begin
            graphs += 3 * g.index.nbytes + 2 * g.offsets.nbytes + 8 * g.sources * parts
        return graphs + sum(t.nbytes for t in given)

    def to(self, device: torch.device | str) -> Geometry:
        features = None if self.features is None else self.features.to(device)
        return Geometry(
            self.points.to(device), self.latent.to(device), self.into.to(device), self.out.to(device), features
        )


register_dataclass(Neighbours)
register_dataclass(Geometry)


class _Gather(torch.autograd.Function):
    """A row per edge, that of its source; the gradient is summed in a fixed order, as a scattered addition's is not."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, part: Neighbours) -> Tensor:
        ctx.part = part
        return table.index_select(0, part.index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _summed(grads[0], *ctx.part.transposed), None


class _Join(torch.autograd.Function):
    """What the edges are told by their queries plus what they are told by their sources, in one tensor."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, source: Tensor, part: Neighbours) -> Tensor:
        ctx.part = part
        return query.index_select(0, part.rows).add_(source.index_select(0, part.index))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        part: Neighbours = ctx.part
        return _summed(grads[0], part.edges, part.offsets), _summed(grads[0], *part.transposed), None


class _Reduce(torch.autograd.Function):
    """The sum or the mean over the edges of each query, 0 without any.

    A mean is divided before it is stored: neither the sum nor the count need fit into a low format.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, part: Neighbours, reduction: Reduction) -> Tensor:
        ctx.part, ctx.reduction = part, reduction
        return _summed(values, part.edges, part.offsets, reduction)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        gradient, part = grads[0], ctx.part
        if ctx.reduction == "mean":
            gradient = (gradient.float() / part.counts.clamp(min=1)[:, None]).to(gradient.dtype)
        return gradient.index_select(0, part.rows), None, None


def _summed(values: Tensor, order: Tensor, offsets: Tensor, reduction: Reduction = "sum") -> Tensor:
    """Sums, or means, of values[order] from offset to offset; low formats are accumulated in fp32."""
    return nn.functional.embedding_bag(order, values.contiguous(), offsets, mode=reduction, include_last_offset=True)


def embed(points: Float[Tensor, "n 3"], frequencies: int, kind: Embedding) -> Float[Tensor, "n embedded"]:
    """Sine and cosine of w x for every frequency w and every coordinate x, (n, 6 frequencies).

    Args:
        points: coordinates.
        frequencies: how many; L below.
        kind: ``nerf``, w = 2^k π for k below L; or ``transformer``, w = 10000^(-2k/L).

    Source: Mildenhall et al., "NeRF", ECCV 2020, equation 4; Vaswani et al., "Attention is all you need", 2017,
    section 3.5.
    """
    k = torch.arange(frequencies, device=points.device)
    w = math.pi * 2.0**k if kind == "nerf" else 1e-4 ** (k / frequencies * 2)
    angles = points[..., None] * w
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class KernelIntegral(nn.Module):
    """Integral of a learned kernel over the neighbours of every query: a sum or a mean over the edges of a graph.

    u(x) = sum over neighbours y of κ(x, y, a(y)) f(y), with κ an MLP; without f it is the kernel alone that is
    summed. A query without neighbours gets zero.

    The first layer of the MLP is linear in what it is given about x and about y, so it is applied to each once and
    the results are added on the edges.

    Args:
        embedded: channels that describe a point.
        features: channels of a, which enter the kernel beside the source.
        hidden: hidden channels of the MLP.
        out_channels: of the kernel and of f.
        reduction: ``mean`` or ``sum``.

    Source: Li et al., "Neural Operator: Graph Kernel Network for Partial Differential Equations", 2020.
    """

    def __init__(
        self,
        embedded: int,
        features: int,
        hidden: tuple[int, ...],
        out_channels: int,
        reduction: Reduction,
    ) -> None:
        super().__init__()
        self.reduction: Reduction = reduction
        self.of_query = PointwiseLinear(embedded, hidden[0])
        self.of_source = PointwiseLinear(embedded + features, hidden[0], bias=False)
        # Together they are one layer, and start as one.
        bound = (2 * embedded + features) ** -0.5
        for parameter in (*self.of_query.parameters(), *self.of_source.parameters()):
            nn.init.uniform_(parameter, -bound, bound)
        widths = (*hidden, out_channels)
        self.layers = nn.ModuleList(PointwiseLinear(a, b) for a, b in pairwise(widths))
        self.set_format("fp32")

    def set_format(self, format: str) -> None:
        self.format = format
        for layer in (self.of_query, self.of_source, *self.layers):
            assert isinstance(layer, PointwiseLinear)
            layer.format = format

    def forward(
        self,
        queries: Float[Tensor, "q e"],
        sources: Float[Tensor, "s i"],
        neighbours: Neighbours,
        f: Float[Tensor, "s c"] | None = None,
    ) -> Float[Tensor, "q c"]:
        """
        Args:
            queries: (queries, embedded).
            sources: (sources, embedded + features).
            neighbours: the graph.
            f: (sources, out_channels), or None.
        """
        query, source = self.of_query(queries), self.of_source(sources)
        f = None if f is None else hold(f, self.format)
        parts = neighbours.parts(CHUNK)
        if len(parts) == 1:
            return self._over(query, source, f, neighbours)
        results, first = [], 0
        for part in parts:
            rows = query[first : first + part.queries]
            results.append(
                checkpoint(self._alone, rows, source, f, part, use_reentrant=False, preserve_rng_state=False)
            )
            first += part.queries
        return torch.cat(results)

    def _alone(self, query: Tensor, source: Tensor, f: Tensor | None, part: Neighbours) -> Tensor:
        with recomputing(False):
            return self._over(query, source, f, part)

    def _over(self, query: Tensor, source: Tensor, f: Tensor | None, part: Neighbours) -> Tensor:
        h = hold(_Join.apply(query, source, part), self.format)
        for layer in self.layers:
            h = layer(gelu(h, self.format))
        if f is not None:
            h = hold(h * _Gather.apply(f, part), self.format)
        return hold(_Reduce.apply(h, part, self.reduction), self.format)
