"""What a spectral layer of another library convolves with, read in its own layout and handed to the engine.

A kernel is made of a layer's own parameters, afresh for every forward pass, by views and permutations alone:
gradients reach the parameters, and whatever replaces them is seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from mpno.specs import ContractionSpec, MpnoError, PrecisionSetting
from mpno.specs.names import Factorization, Transform
from mpno.spectral.conv import by_pairs, convolve, products
from mpno.spectral.modes import KeptModes
from mpno.spectral.sht import SphericalGrid, Truncation
from mpno.spectral.spherical import convolve_sphere
from mpno.spectral.weights import contract_parts


class Kernel(ABC):
    """A layer's weights, where they stand in the spectrum, and how to convolve with them."""

    @property
    @abstractmethod
    def in_channels(self) -> int:
        """Channels of the field."""

    @property
    @abstractmethod
    def smallest_grid(self) -> tuple[int, ...]:
        """A grid that resolves all the modes, with another even number of points along each axis."""

    @abstractmethod
    def convolve(
        self, layer: nn.Module, x: Float[Tensor, "b *grid i"], precision: PrecisionSetting, transform: Transform
    ) -> Float[Tensor, "b *grid o"]:
        """Convolve fields, channels last.

        Raises:
            MpnoError: a grid that the layer itself does not take.
        """


@dataclass(frozen=True)
class CornerKernel(Kernel):
    """Complex weights by corners of the spectrum, as the Fourier layers of 2020 hold them.

    Attributes:
        corners: 2^(axes - 1) tensors, (in, out, *modes), one for each choice of signs of all axes but the last. A
            corner's place in the sequence, in binary, has a 1 where an axis is negative, the first axis in the lowest
            bit: in 3-D (+, +), (-, +), (+, -), (-, -). Frequencies ascend: 0 ... m - 1 or -m ... -1.
        bias: (out,) or None.

    Where a grid of n < 2m points lets two corners overlap, the negative one holds, as where it is written last.
    """

    corners: tuple[Shaped[Tensor, "i o ..."], ...]
    bias: Float[Tensor, " o"] | None = None

    @property
    def in_channels(self) -> int:
        return self.corners[0].shape[0]

    @property
    def modes(self) -> tuple[int, ...]:
        """Frequencies that one corner holds along each axis."""
        return tuple(self.corners[0].shape[2:])

    @property
    def smallest_grid(self) -> tuple[int, ...]:
        return tuple(2 * m + 2 * axis + 2 for axis, m in enumerate(self.modes))

    def convolve(
        self, layer: nn.Module, x: Float[Tensor, "b *grid i"], precision: PrecisionSetting, transform: Transform
    ) -> Float[Tensor, "b *grid o"]:
        grid = tuple(x.shape[1:-1])
        for n, m in zip((*grid[:-1], grid[-1] // 2 + 1), self.modes, strict=True):
            if n < m:
                least = (*self.modes[:-1], 2 * (self.modes[-1] - 1))
                raise MpnoError(
                    f"{_name(layer)} got a grid of {grid} points; its modes {self.modes} want {least} or more"
                )
        weight = self.joined(grid)
        kept = KeptModes(grid, tuple(weight.shape[2:]), (0,) * len(grid))
        return _convolve_dense(layer, x, kept, weight, self.bias, precision, transform)

    def joined(self, grid: tuple[int, ...]) -> Tensor:
        """One tensor whose frequencies ascend along every axis."""
        corners: Sequence[Tensor] = self.corners
        for axis, (n, m) in enumerate(zip(grid[:-1], self.modes, strict=False), start=2):
            pairs = zip(corners[::2], corners[1::2], strict=True)
            if n >= 2 * m:
                corners = [torch.cat([negative, positive], axis) for positive, negative in pairs]
            else:
                whole = [torch.cat([positive.narrow(axis, 0, n - m), negative], axis) for positive, negative in pairs]
                corners = [torch.fft.fftshift(weight, axis) for weight in whole]
        return corners[0]


@dataclass(frozen=True)
class JointKernel(Kernel):
    """Complex weights over all modes together, dense or factorised.

    Of m frequencies, which ascend, 0 stands at m // 2, on the last axis at 0.

    Attributes:
        parts: dense: (in, out, *modes); cp: weights (r), then one matrix (size, r) per axis of the dense tensor;
            tucker: the core, then (size, rank) per axis; tt: (rank, size, next rank) per axis.
        factorization: which of these.
        modes: frequencies stored along each axis.
        used: frequencies of these that the layer uses, the middle ones (last axis: the first).
        bias: (out,) or None.
    """

    parts: tuple[Shaped[Tensor, "..."], ...]
    factorization: Factorization
    modes: tuple[int, ...]
    used: tuple[int, ...]
    bias: Float[Tensor, " o"] | None = None

    @property
    def in_channels(self) -> int:
        index, dim = {"dense": (0, 0), "cp": (1, 0), "tucker": (1, 0), "tt": (0, 1)}[self.factorization]
        return self.parts[index].shape[dim]

    @property
    def smallest_grid(self) -> tuple[int, ...]:
        sizes = (*self.modes[:-1], 2 * self.modes[-1] - 2)
        return tuple(size + size % 2 + 2 * axis + 2 for axis, size in enumerate(sizes))

    def convolve(
        self, layer: nn.Module, x: Float[Tensor, "b *grid i"], precision: PrecisionSetting, transform: Transform
    ) -> Float[Tensor, "b *grid o"]:
        kept = self.kept(tuple(x.shape[1:-1]), layer)
        if self.factorization == "dense":
            weight = self.parts[0]
            for axis, (start, count) in enumerate(zip(kept.starts, kept.counts, strict=True), start=2):
                weight = weight if count == weight.shape[axis] else weight.narrow(axis, start, count)
            return _convolve_dense(layer, x, kept, weight, self.bias, precision, transform)
        # The rank only matters where parameters are drawn.
        spec = ContractionSpec(factorization=self.factorization, rank=1)
        parts = [torch.view_as_real(part) for part in self.parts]

        def contract(s: Tensor, kept: KeptModes) -> Tensor:
            formats = {"inputs": precision.contraction, "weights": precision.weights}
            return by_pairs(s, kept, lambda v: contract_parts(v, parts, kept, spec, **formats))

        return convolve(layer, x, kept, contract, precision, transform=transform, bias=self.bias)

    def kept(self, grid: tuple[int, ...], layer: nn.Module) -> KeptModes:
        """The modes kept on a grid, and where they stand among those stored."""
        if any(n % 2 for n in grid[:-1]):
            raise MpnoError(
                f"{_name(layer)} got a grid of {grid} points; allowed are even numbers on all axes but the last: the "
                "original shifts the spectrum of an odd axis by one frequency; use even grids, or mpno.revert"
            )
        sizes = (*grid[:-1], grid[-1] // 2 + 1)
        counts = tuple(min(size, used) for size, used in zip(sizes, self.used, strict=True))
        # The middle as the original rounds it, which where counts are odd is not where mpno's own layers cut.
        starts = tuple((stored - count) // 2 for stored, count in zip(self.modes[:-1], counts[:-1], strict=True))
        return KeptModes(grid, counts, (*starts, 0))


@dataclass(frozen=True)
class SphericalKernel(Kernel):
    """One complex matrix per degree of the spherical harmonics.

    Attributes:
        weight: (in, out, degrees).
        orders: orders kept, below this in size.
        grid: which latitudes.
        bias: (out,) or None.
    """

    weight: Shaped[Tensor, "i o degrees"]
    orders: int
    grid: SphericalGrid
    bias: Float[Tensor, " o"] | None = None

    @property
    def in_channels(self) -> int:
        return self.weight.shape[0]

    @property
    def smallest_grid(self) -> tuple[int, ...]:
        return 2 * self.weight.shape[2], 2 * self.weight.shape[2] + 2

    def convolve(
        self, layer: nn.Module, x: Float[Tensor, "b lat lon i"], precision: PrecisionSetting, transform: Transform
    ) -> Float[Tensor, "b lat lon o"]:
        kept = self.kept(tuple(x.shape[1:-1]), layer)
        weight = torch.view_as_real(self.weight).permute(2, 0, 3, 1)
        where = "sht" if transform == "fft" else transform
        return convolve_sphere(layer, x, kept, weight, precision, transform=where, bias=self.bias)

    def kept(self, grid: tuple[int, ...], layer: nn.Module) -> Truncation:
        """The harmonics kept on a grid."""
        nlat, nlon = grid
        degrees = self.weight.shape[2]
        orders = min(self.orders, degrees)
        if nlon // 2 + 1 < orders:
            raise MpnoError(f"{_name(layer)} got {nlon} longitudes; its {orders} orders want {2 * orders - 2} or more")
        return Truncation(nlat, nlon, degrees, orders, self.grid)


def _convolve_dense(
    layer: nn.Module,
    x: Tensor,
    kept: KeptModes,
    weight: Shaped[Tensor, "i o ..."],
    bias: Tensor | None,
    precision: PrecisionSetting,
    transform: Transform,
) -> Tensor:
    def contract(s: Tensor, kept: KeptModes) -> Tensor:
        # (in, out, *modes, 2) -> (modes, in, 2 · out): the one copy that a foreign layout costs.
        pairs = torch.view_as_real(weight).flatten(2, -2).permute(2, 0, 3, 1).flatten(-2)
        return products(s, pairs, precision.contraction, precision.weights)

    return convolve(layer, x, kept, contract, precision, transform=transform, bias=bias)


def _name(layer: nn.Module) -> str:
    return type(layer).__name__
