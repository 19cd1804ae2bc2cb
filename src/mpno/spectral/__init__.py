"""Transforms, contraction and the spectral convolution."""

from mpno.spectral.basis import Basis, graph_basis, haar_basis, sphere_basis
from mpno.spectral.basis_conv import BasisConv
from mpno.spectral.conv import SpectralConv
from mpno.spectral.spherical import SphericalConv
from mpno.spectral.weights import SpectralWeight

__all__ = [
    "Basis",
    "BasisConv",
    "SpectralConv",
    "SpectralWeight",
    "SphericalConv",
    "graph_basis",
    "haar_basis",
    "sphere_basis",
]
