"""Energy spectra of fields on grids: how much of the mean square lies at each wavenumber."""

from __future__ import annotations

import numpy as np


def energy_spectrum(fields: np.ndarray, *, periodic: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Energy at each radial wavenumber, mean over samples.

    E(k) is half the sum of the squared moduli of the Fourier coefficients with k - 1/2 <= abs(wavenumber) < k + 1/2,
    so that over all wavenumbers it sums to half the variance. Of white noise of variance s on n x n points it is about
    pi k s / n^2, of a wave of amplitude a it is a^2 / 4 at its own k.

    Args:
        fields: (n, *grid), of one to three axes.
        periodic: whether the fields are so along every axis. If not, each is multiplied by a Hann window, scaled to
            keep the mean square, so that the jump from edge to edge does not show; that widens peaks by one wavenumber.

    Returns:
        The wavenumbers 1, 2, ... below half the points of the shortest axis, in waves per side, and their energies in
        the square of the fields' unit. The mean of each field is taken out before.
    """
    grid = fields.shape[1:]
    axes = tuple(range(1, fields.ndim))
    weights = np.ones(grid)
    if not periodic:
        for axis, points in enumerate(grid):
            hann = np.sin(np.pi * np.arange(points) / points) ** 2 * np.sqrt(8 / 3)
            weights = weights * hann.reshape([-1 if own == axis else 1 for own in range(len(grid))])
    values = fields.astype(np.float64)
    values -= (values * weights).mean(axis=axes, keepdims=True) / weights.mean()
    power = (np.abs(np.fft.fftn(values * weights, axes=axes, norm="forward")) ** 2).mean(axis=0) / 2
    waves = np.meshgrid(*(np.fft.fftfreq(points, 1 / points) for points in grid), indexing="ij")
    shell = np.floor(np.sqrt(sum(wave**2 for wave in waves)) + 0.5).astype(int)
    most = (min(grid) - 1) // 2
    energy = np.bincount(shell.ravel(), power.ravel(), minlength=most + 1)
    return np.arange(1, most + 1), energy[1 : most + 1]


def zonal_spectrum(fields: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy at each wavenumber along circles of latitude, mean over samples and the sphere.

    Args:
        fields: (n, latitudes, longitudes), with equidistant latitudes from pole to pole.

    Returns:
        Waves per circle 1, 2, ... below half the longitudes, and their energies: a wave of amplitude a on every
        latitude has a^2 / 4.
    """
    latitudes, longitudes = fields.shape[1:]
    area = np.sin(np.pi * np.arange(latitudes) / (latitudes - 1))
    # Both signs of the wavenumber are counted.
    power = np.abs(np.fft.rfft(fields.astype(np.float64), axis=-1, norm="forward")) ** 2
    energy = np.average(power.mean(axis=0), axis=0, weights=area)
    most = (longitudes - 1) // 2
    return np.arange(1, most + 1), energy[1 : most + 1]
