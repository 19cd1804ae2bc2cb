"""Transforms, contraction and the spectral convolution."""

from mpno.spectral.conv import SpectralConv
from mpno.spectral.spherical import SphericalConv
from mpno.spectral.weights import SpectralWeight

__all__ = ["SpectralConv", "SpectralWeight", "SphericalConv"]
