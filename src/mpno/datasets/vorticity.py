"""The vorticity equation on the torus, d_t w + u . grad w = nu Laplacian w + f, solved by a Fourier method.

The domain is [0, 2 pi)^2 with n x n points 2 pi (i, j) / n; the first axis of a field is x, the second y. The velocity
(u, v) = (d_y psi, -d_x psi) with -Laplacian psi = w has no mean, and neither have w and f. All is dimensionless.

Space. Fourier-Galerkin with the wavenumbers |k_x|, |k_y| <= (n - 1) // 3. Products are formed on the n x n points,
where at this cut no mode of theirs is aliased onto a kept one (Orszag's 2/3 rule): without viscosity and forcing the
scheme conserves energy and enstrophy but for the time step.

Time. The classical fourth-order Runge-Kutta method for exp(nu |k|^2 t) w(k) (integrating factor), with a fixed step:
viscosity is exact and sets no bound on the step. Advection does, (|u| + |v|) dt n / (2 pi) <= COURANT_LIMIT.

Cost. The advection term is written with two products, u v and v^2 - u^2 (Basdevant, J. Comput. Phys. 50, 1983),

    u . grad w = (d_xx - d_yy)(u v) + d_xy (v^2 - u^2),

so that a stage takes two inverse and two forward real transforms, where u . grad w itself takes four and one. Of each
transform the pass along x is taken for the kept k_y alone. The state is laid out for that pass: real and imaginary
parts of the coefficients w(k_x, k_y) with 0 <= k_y <= (n - 1) // 3, of shape (batch, k_y, k_x, 2), k_x in the order of
an FFT.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mpno.datasets import fourier
from mpno.specs import MpnoError

COURANT_LIMIT = 1.35
"""Stable up to here: the method is for frequencies up to 2 sqrt(2) / dt, the highest is (|u| + |v|) n / 3, and
3 sqrt(2) / pi = 1.3505."""
CHECK_EVERY = 16
"""Steps between two looks at the velocity, which changes little over them under a steady forcing."""


def kept(n: int) -> int:
    """Largest wavenumber per axis of an n x n grid whose products are free of aliasing."""
    return (n - 1) // 3


class Solver:
    """Advances batches of vorticity fields, on one grid and by one step.

    Args:
        n: points per axis, at least 4.
        viscosity: nu, at least 0.
        dt: time step, above 0.
        dtype: ``torch.float32`` or ``torch.float64``: of the state and of all arithmetic.

    Raises:
        MpnoError: an argument is out of range.
    """

    def __init__(self, n: int, *, viscosity: float, dt: float, dtype: torch.dtype = torch.float32) -> None:
        if not (n >= 4 and viscosity >= 0 and dt > 0):
            raise MpnoError(
                f"vorticity: {n} points, viscosity {viscosity:g}, step {dt:g}; allowed: at least 4, at least 0, above 0"
            )
        self.n, self.dt, self.dtype = n, dt, dtype
        kx = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)[None, :]
        ky = torch.arange(kept(n) + 1, dtype=torch.float64)[:, None]
        squares = kx**2 + ky**2
        self._kept = ((kx.abs() <= kept(n)) & (squares > 0)).to(torch.float64)
        inverse = self._kept / squares.clamp(min=1)
        self._velocity = (1j * torch.stack([ky * inverse, -kx * inverse])).to(self._complex)
        # Transforms are unscaled both ways inside a step: 1/n^2 stands here.
        self._of_uv = self._paired((kx**2 - ky**2) * self._kept / n**2)
        self._of_squares = self._paired(kx * ky * self._kept / n**2)
        # Less one: rounded itself, a factor near one would be the same small error in every step.
        self._half_loss = self._paired(torch.expm1(-viscosity * squares * dt / 2))

    @property
    def _complex(self) -> torch.dtype:
        return torch.complex64 if self.dtype == torch.float32 else torch.complex128

    def _paired(self, factor: Tensor) -> Tensor:
        """A real factor of complex numbers, once for each of their two parts."""
        return factor[..., None].expand(*factor.shape, 2).to(self.dtype).contiguous()

    def state(self, modes: np.ndarray) -> Tensor:
        """State of fields given as :mod:`mpno.datasets.fourier` modes (batch, ...): what is kept, less the mean."""
        cut = kept(self.n)
        fitted = torch.from_numpy(fourier.resize(modes, cut)).mT
        state = torch.zeros(len(modes), cut + 1, self.n, dtype=torch.complex128)
        state[..., : cut + 1], state[..., self.n - cut :] = fitted[..., : cut + 1], fitted[..., cut + 1 :]
        return torch.view_as_real((state * self._kept).to(self._complex))

    def modes(self, state: Tensor) -> np.ndarray:
        """Modes of a state, complex128 (batch, 2 K + 1, K + 1) with K = (n - 1) // 3."""
        cut = kept(self.n)
        columns = torch.view_as_complex(state).mT.to(torch.complex128)
        return torch.cat([columns[:, : cut + 1], columns[:, self.n - cut :]], dim=1).numpy()

    def run(self, state: Tensor, forcing: Tensor, steps: int) -> tuple[Tensor, np.ndarray]:
        """Advance `state` by `steps` steps under the steady `forcing`, both as :meth:`state` gives them.

        Returns:
            The new state, and per sample the largest Courant number (|u| + |v|) dt n / (2 pi) seen, at every
            16th step and at the end. Above ``COURANT_LIMIT``, or not a number, the result is worth nothing.
        """
        largest = np.zeros(len(state))
        work = Workspace(self, len(state))
        for index in range(steps):
            if index % CHECK_EVERY == 0:
                largest = np.maximum(largest, self._courant(state, work))
            state = self._step(state, forcing, work)
        return state, np.maximum(largest, self._courant(state, work))

    def _step(self, w: Tensor, forcing: Tensor, work: Workspace) -> Tensor:
        h = self.dt
        decayed = self._decay(w)
        a = self._decay(self._tendency(w, forcing, work))
        b = self._tendency(torch.add(decayed, a, alpha=h / 2), forcing, work)
        c = self._tendency(torch.add(decayed, b, alpha=h / 2), forcing, work)
        d = self._tendency(self._decay(torch.add(decayed, c, alpha=h)), forcing, work)
        return self._decay(decayed.add_(a, alpha=h / 6).add_(b.add_(c), alpha=h / 3)).add_(d, alpha=h / 6)

    def _decay(self, w: Tensor) -> Tensor:
        """What viscosity leaves of w after half a step."""
        return torch.addcmul(w, w, self._half_loss)

    def _tendency(self, w: Tensor, forcing: Tensor, work: Workspace) -> Tensor:
        """Forcing less advection."""
        velocity = self._velocity_on_points(w, work)
        u, v = velocity[:, 0], velocity[:, 1]
        torch.mul(u, v, out=work.products[:, 0])
        torch.mul(v, v, out=work.products[:, 1]).addcmul_(u, u, value=-1)
        columns = torch.fft.rfft(work.products)[..., : kept(self.n) + 1]
        # The pass along x returns its result with x contiguous: transposed it is laid out as the state.
        products = torch.view_as_real(torch.fft.fft(columns, dim=-2).mT)
        return torch.addcmul(forcing, products[:, 0], self._of_uv).addcmul_(products[:, 1], self._of_squares)

    def _velocity_on_points(self, w: Tensor, work: Workspace) -> Tensor:
        """(batch, 2, n, n): u and v."""
        torch.mul(torch.view_as_complex(w)[:, None], self._velocity, out=work.modes)
        work.columns[..., : kept(self.n) + 1] = torch.fft.ifft(work.modes, norm="forward").mT
        return torch.fft.irfft(work.columns, n=self.n, norm="forward")

    def _courant(self, w: Tensor, work: Workspace) -> np.ndarray:
        speed = self._velocity_on_points(w, work).abs().sum(1).amax((-2, -1))
        return speed.double().numpy() * (self.dt * self.n / (2 * np.pi))


class Workspace:
    """Arrays that are written anew in every stage; the columns of wavenumbers that are not kept stay zero."""

    def __init__(self, solver: Solver, batch: int) -> None:
        n, complex_ = solver.n, solver._complex
        self.modes = torch.empty(batch, 2, kept(n) + 1, n, dtype=complex_)
        self.columns = torch.zeros(batch, 2, n, n // 2 + 1, dtype=complex_)
        self.products = torch.empty(batch, 2, n, n, dtype=solver.dtype)
