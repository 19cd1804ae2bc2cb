"""The learned spectral weight: dense or factorised, whole or in corners, contracted without being rebuilt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.numerics import hold, widest
from mpno.specs import ContractionSpec, MpnoError
from mpno.spectral.einsum import contract, expanded_equation
from mpno.spectral.modes import KeptModes, weight_modes
from mpno.spectral.paths import Plan, Shapes, plan_of
from mpno.spectral.ranks import resolve_rank


class SpectralWeight(nn.Module):
    """One complex (in_channels, out_channels) matrix per Fourier mode, dense or as learned factors.

    Args:
        in_channels, out_channels: numbers of channels.
        modes: Fourier modes kept along each axis, both signs counted.
        spec: factorisation, rank, layout and the way to contract.

    Attributes:
        parts: per corner (one alone in the joint layout) a list of parameters, real fp32 pairs (..., 2).
            Corners run over the signs of all axes before the last, negative first, the first axis slowest.
            With i = in, o = out, m_k = stored modes and N = axes + 2:
            dense: (*m, i, o); cp: weights (r), then factors (i, r), (o, r), (m_k, r); tucker: core (r_1 ... r_N),
            then (i, r_1), (o, r_2), (m_k, r_k+2); tt: (r_0, i, r_1), (r_1, o, r_2), (r_k+1, m_k, r_k+2), r_0 = r_N = 1.

    Every part is drawn so that an element of the rebuilt weight has the standard deviation sqrt(2 / (in + out)).

    Raises:
        MpnoError: ranks or modes that do not fit the weight.

    Source: Kossaifi et al., "Multi-Grid Tensorized Fourier Neural Operator", TMLR 2024, for the factorised weights;
    paper, section 4.2, for the contraction.
    """

    def __init__(self, in_channels: int, out_channels: int, modes: tuple[int, ...], *, spec: ContractionSpec) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.modes, self.spec = in_channels, out_channels, tuple(modes), spec
        self.stored = weight_modes(self.modes, spec.layout)
        if min(in_channels, out_channels, *self.stored) < 1:
            raise MpnoError(
                f"SpectralWeight({in_channels}, {out_channels}, {modes}, layout {spec.layout}): stores {self.stored} "
                "modes; channels and stored modes must be at least 1"
            )
        corners = 2 ** (len(modes) - 1) if spec.layout == "corners" else 1
        # Modes of one tensor: corners hold one sign of each axis but the last.
        self.halves = (*(m // 2 for m in self.stored[:-1]), self.stored[-1]) if corners > 1 else self.stored
        std = math.sqrt(2 / (in_channels + out_channels))
        self.parts = nn.ModuleList(
            nn.ParameterList(_draw(spec, (in_channels, out_channels, *self.halves), std)) for _ in range(corners)
        )
        self.equation = _equation(spec, len(modes))

    def contract(
        self, s: Float[Tensor, "b *modes i 2"], kept: KeptModes, *, inputs: str = "fp32", weights: str = "fp32"
    ) -> Float[Tensor, "b *modes o 2"]:
        """Multiply every kept coefficient by its matrix.

        Args:
            s: pairs, (batch, *kept.counts, in_channels, 2); frequencies ascend from the most negative.
            kept: the modes of `s`, made for this weight's modes and layout.
            inputs, weights: the formats `s` and the parameters are held in.

        Returns:
            Pairs in the format that promotion gives the two. Each pairwise step's result, and its gradient, is held
            in the format that promotion gives its operands.
        """
        results = []
        for corner in range(len(self.parts)):
            starts, own = self._place(corner, kept)
            part = s
            for axis, (start, count) in enumerate(zip(starts, own.counts, strict=True), start=1):
                part = part if count == part.shape[axis] else part.narrow(axis, start, count)
            if part.numel() == 0:  # one grid point resolves no negative frequency
                nothing = part.new_zeros(*part.shape[:-2], self.out_channels, 2)
                results.append(hold(nothing, widest(inputs, weights)))
                continue
            results.append(contract_parts(part, self._part(corner), own, self.spec, inputs=inputs, weights=weights))
        return _join(results, len(self.stored) - 1, first=1)

    def einsum(self, kept: KeptModes, batch: int) -> tuple[str, Shapes]:
        """The equation and the operands' shapes for a spectrum of these modes; of corners, the largest one's."""
        corner = len(self.parts) - 1
        _, own = self._place(corner, kept)
        spectrum = torch.empty(batch, *own.counts, self.in_channels, 2, device="meta")
        return _expression([spectrum, *_slice(self._part(corner), own, self.spec)], self.spec)

    def plan(self, kept: KeptModes, batch: int) -> Plan:
        """How that einsum is carried out."""
        return _plan(*self.einsum(kept, batch), self.spec)

    def _place(self, corner: int, kept: KeptModes) -> tuple[tuple[int, ...], KeptModes]:
        """Where a corner's modes begin among the kept ones, and which of its own stored ones they are."""
        if self.spec.layout == "joint":
            return (0,) * len(kept.counts), kept
        begins, starts, counts = [], [], []
        for axis, half in enumerate(self.halves[:-1]):
            negatives = kept.counts[axis] // 2
            # The bits of a corner's number are the signs, the first axis' the highest. The negative half ends with -1.
            positive = corner >> (len(self.halves) - 2 - axis) & 1
            begins.append(negatives if positive else 0)
            starts.append(0 if positive else half - negatives)
            counts.append(kept.counts[axis] - negatives if positive else negatives)
        return (*begins, 0), KeptModes(kept.grid, (*counts, kept.counts[-1]), (*starts, 0))

    def _part(self, corner: int) -> list[Tensor]:
        part = self.parts[corner]
        assert isinstance(part, nn.ParameterList)
        return list(part)

    def dense(self) -> Float[Tensor, "*stored i o 2"]:
        """The whole weight over all stored modes, (*stored, in, out, 2), for tests and conversion.

        In both layouts frequencies ascend along every axis, frequency 0 at m // 2 (at 0 on the last). Corners store
        m // 2 of either sign and m // 2 on the last axis.
        """
        inputs, output = self.equation.split("->")
        terms, rebuilt = inputs.split(",")[1:], []
        whole = KeptModes((), self.halves, (0,) * len(self.halves))
        for corner in range(len(self.parts)):
            part = [torch.view_as_complex(x) for x in _slice(self._part(corner), whole, self.spec)]
            full = torch.einsum(f"{','.join(terms)}->{output[1:-1]}{inputs[len(self.stored) + 1]}{output[-1]}", *part)
            rebuilt.append(torch.view_as_real(full))
        return _join(rebuilt, len(self.stored) - 1, first=0)

    def extra_repr(self) -> str:
        kind = self.spec.factorization
        return f"{self.in_channels}, {self.out_channels}, modes={self.modes}, {kind}, {self.spec.layout}"


def contract_parts(
    s: Float[Tensor, "b *modes i 2"],
    parts: Sequence[Float[Tensor, "*_ 2"]],
    kept: KeptModes,
    spec: ContractionSpec,
    *,
    inputs: str = "fp32",
    weights: str = "fp32",
) -> Float[Tensor, "b *modes o 2"]:
    """Multiply coefficients by the matrices that the `parts` of one tensor, as of :class:`SpectralWeight`, stand for.

    Arguments as of its `contract`; `kept.starts` says where the kept frequencies begin in the parts.
    """
    operands = [s, *_slice(parts, kept, spec)]
    return contract(_plan(*_expression(operands, spec), spec), spec.option, operands, [inputs, *[weights] * len(parts)])


def _expression(operands: Sequence[Tensor], spec: ContractionSpec) -> tuple[str, Shapes]:
    equation = _equation(spec, operands[0].ndim - 3)
    if spec.option == "A":
        return expanded_equation(equation), tuple(tuple(x.shape) for x in operands)
    return equation, tuple(tuple(x.shape[:-1]) for x in operands)


def _plan(equation: str, shapes: Shapes, spec: ContractionSpec) -> Plan:
    return plan_of(equation, shapes, spec.path, spec.option, cached=spec.cached)


def _slice(parts: Sequence[Tensor], own: KeptModes, spec: ContractionSpec) -> list[Tensor]:
    """The parameters of one tensor, cut to a range of its modes; TT without its two unit axes."""
    part, kind = list(parts), spec.factorization
    for axis, (start, count) in enumerate(zip(own.starts, own.counts, strict=True)):
        # Which tensor holds the axis, and where in it.
        index, dim = {"dense": (0, axis), "cp": (axis + 3, 0), "tucker": (axis + 3, 0), "tt": (axis + 2, 1)}[kind]
        if (start, count) != (0, part[index].shape[dim]):
            part[index] = part[index].narrow(dim, start, count)
    if kind == "tt":
        part = [part[0].squeeze(0), *part[1:-1], part[-1].squeeze(2)]
    return part


def _join(corners: list[Tensor], axes: int, first: int) -> Tensor:
    """Join corners, if there are several, the negative half before the positive, along `axes` axes from `first` on."""
    for axis in reversed(range(axes if len(corners) > 1 else 0)):
        corners = [torch.cat(pair, first + axis) for pair in zip(corners[::2], corners[1::2], strict=True)]
    return corners[0]


def _equation(spec: ContractionSpec, axes: int) -> str:
    """The einsum of spectrum and parameters: b the batch, i and o the channels, then one letter per axis."""
    modes, ranks = "acd"[:axes], "efghj"[: axes + 2]
    term = {
        "dense": f"{modes}io",
        "cp": "e,ie,oe," + ",".join(f"{m}e" for m in modes),
        "tucker": f"{ranks}," + ",".join(f"{x}{r}" for x, r in zip(f"io{modes}", ranks, strict=True)),
        "tt": _chain(f"io{modes}", ranks),
    }[spec.factorization]
    return f"b{modes}i,{term}->b{modes}o"


def _chain(axes: str, bonds: str) -> str:
    inner = [f"{bonds[k]}{axes[k + 1]}{bonds[k + 1]}" for k in range(len(axes) - 2)]
    return ",".join([f"{axes[0]}{bonds[0]}", *inner, f"{bonds[len(axes) - 2]}{axes[-1]}"])


def _draw(spec: ContractionSpec, shape: tuple[int, ...], std: float) -> Iterator[nn.Parameter]:
    """Parameters of one tensor (in, out, *modes) whose elements have standard deviation `std` when rebuilt.

    An element of a factorised weight sums products of independent numbers, as many as the ranks multiply to.
    """
    order, rank = len(shape), resolve_rank(spec, shape)
    if spec.factorization == "dense":
        yield _normal((*shape[2:], *shape[:2]), std)
    elif spec.factorization == "cp":
        yield nn.Parameter(torch.tensor([1.0, 0.0]).repeat(rank[0], 1))
        yield from (_normal((size, rank[0]), (std / math.sqrt(rank[0])) ** (1 / order)) for size in shape)
    elif spec.factorization == "tucker":
        each = (std / math.sqrt(math.prod(rank))) ** (1 / (order + 1))
        yield _normal(rank, each)
        yield from (_normal((size, r), each) for size, r in zip(shape, rank, strict=True))
    else:
        each = (std / math.sqrt(math.prod(rank))) ** (1 / order)
        yield from (_normal((rank[k], size, rank[k + 1]), each) for k, size in enumerate(shape))


def _normal(shape: tuple[int, ...], std: float) -> nn.Parameter:
    # A complex number of standard deviation std has parts of std / sqrt(2).
    return nn.Parameter(torch.randn(*shape, 2) * (std / math.sqrt(2)))
