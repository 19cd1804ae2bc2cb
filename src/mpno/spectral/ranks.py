"""Ranks of a factorised weight from a fraction of the dense weight's parameters."""

from __future__ import annotations

import itertools
import math

from mpno.specs import ContractionSpec, MpnoError


def resolve_rank(spec: ContractionSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The ranks of a weight of `shape` (in, out, *modes): one for CP, one per axis for Tucker, one per bond for TT.

    A fraction keeps that share of the dense weight's parameters, its ranks in proportion to the axes for
    Tucker and to the mean of the two axes they join for TT; ranks are rounded to nearest, ties to even.

    Raises:
        MpnoError: a number of ranks that does not fit the weight, or a fraction that leaves CP without rank.

    Source: the conventions of the tensorly library (0.9), so that ranks agree with the paper's.
    """
    kind, rank = spec.factorization, spec.rank
    if rank is None:
        return ()
    if isinstance(rank, float):
        return {"cp": _cp, "tucker": _tucker, "tt": _tt}[kind](shape, rank)
    if kind == "cp":
        assert isinstance(rank, int)
        return (rank,)
    if isinstance(rank, int):
        return (rank,) * len(shape) if kind == "tucker" else (1, *[rank] * (len(shape) - 1), 1)
    want = len(shape) + (kind == "tt")
    if len(rank) != want or (kind == "tt" and (rank[0], rank[-1]) != (1, 1)):
        ends = ", the first and last 1" if kind == "tt" else ""
        raise MpnoError(f"rank {rank} of a {kind} weight of shape {shape}: give {want} numbers{ends}, or one")
    return rank


def _cp(shape: tuple[int, ...], fraction: float) -> tuple[int]:
    rank = round(math.prod(shape) * fraction / sum(shape))
    if rank < 1:
        raise MpnoError(f"rank {fraction} of a cp weight of shape {shape} comes to 0; raise it, or give an integer")
    return (rank,)


def _tucker(shape: tuple[int, ...], fraction: float) -> tuple[int, ...]:
    """Ranks c·n_k with c the root of c^N·P + c·Σ n_k² = fraction·P, P the dense parameters."""
    full, squares = math.prod(shape), sum(size**2 for size in shape)
    low, high = 0.0, max(fraction, 1.0)
    for _ in range(200):
        middle = (low + high) / 2
        if full * middle ** len(shape) + squares * middle < fraction * full:
            low = middle
        else:
            high = middle
    return tuple(max(round(size * high), 1) for size in shape)


def _tt(shape: tuple[int, ...], fraction: float) -> tuple[int, ...]:
    """Bonds c·(n_k + n_k+1)/2 with c the positive root of the parameter count, a quadratic in c."""
    means = [(one + two) / 2 for one, two in itertools.pairwise(shape)]
    a = sum(one * size * two for one, size, two in zip(means[:-1], shape[1:-1], means[1:], strict=True))
    b = shape[0] * means[0] + shape[-1] * means[-1]
    c = (-b + math.sqrt(b**2 + 4 * a * fraction * math.prod(shape))) / (2 * a)
    return (1, *(max(round(mean * c), 1) for mean in means), 1)
