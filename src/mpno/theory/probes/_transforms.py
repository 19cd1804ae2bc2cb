"""The bases that layers are tried in, and a problem on the points of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from mpno.spectral import Basis, graph_basis, haar_basis, sphere_basis


@dataclass(frozen=True)
class Domain:
    """A basis with what diffuses on its points: `stiffness`, (n, n) in float64, is the diffusion's matrix."""

    name: str
    basis: Basis
    stiffness: Float[Tensor, "n n"]

    def fields(self, count: int, seed: int) -> Float[Tensor, "count n"]:
        """Random sums of the basis' functions, the k-th of size (1 + k)^-3/4, over their root mean square."""
        drawn = torch.from_numpy(np.random.default_rng(seed).standard_normal((count, self.basis.synthesis.shape[1])))
        found = drawn * (1 + torch.arange(drawn.shape[1])) ** -0.75 @ self.basis.synthesis.T
        return found / found.square().mean().sqrt()

    def solve(self, fields: Float[Tensor, "count n"]) -> Float[Tensor, "count n"]:
        """u with stiffness u + exp(g) u = 1, for every field g."""
        matrices = self.stiffness + torch.diag_embed(fields.exp())
        return torch.linalg.solve(matrices, torch.ones_like(fields))


def domains() -> Iterator[Domain]:
    """A circle in Haar wavelets, the sphere in harmonics, a graph in its eigenvectors."""
    n = 128
    circle = torch.eye(n, dtype=torch.float64)
    second = n**2 * (2 * circle - circle.roll(1, 0) - circle.roll(-1, 0))
    yield Domain("wavelet", haar_basis(n, 5), 0.002 * second)
    sphere = sphere_basis(17, 32, 8)
    degrees = sphere.groups.double()
    yield Domain("sphere", sphere, 0.05 * (sphere.synthesis * (degrees * (degrees + 1))) @ sphere.analysis)
    laplacian = _points_graph(200, 0)
    yield Domain("graph", graph_basis(laplacian, 32), 0.2 * laplacian)


def _points_graph(nodes: int, seed: int) -> Float[Tensor, "n n"]:
    """The Laplacian of random points of the unit square, each tied to its six nearest."""
    points = np.random.default_rng(seed).random((nodes, 2))
    near = np.asarray(KDTree(points).query(points, k=7)[1])
    tied = torch.zeros(nodes, nodes, dtype=torch.float64)
    for i, others in enumerate(near):
        tied[i, others[1:]] = tied[others[1:], i] = 1.0
    return torch.diag(tied.sum(1)) - tied
