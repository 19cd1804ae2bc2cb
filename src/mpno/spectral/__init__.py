"""Transforms, contraction and the spectral convolution."""

from mpno.spectral.conv import SpectralConv

__all__ = ["SpectralConv"]
