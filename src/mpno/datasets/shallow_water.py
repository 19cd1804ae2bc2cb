"""Shallow water on the rotating Earth: from a random state to the state one hour later.

The equations, constants and random states are those of torch-harmonics' ShallowWaterSolver, which the paper used:
geopotential, vorticity and divergence with independent Gaussian coefficients of equal variance, at "Mach 0.2".
There, the number of random modes, the damping and the time step all follow the grid, so that another grid is another
problem. Here they belong to the problem, so that a seed means one function on every grid:

- Random modes. Degrees below `degrees` are drawn, coefficient by coefficient. By default these are the ceil(n / 3)
  that the paper's solver keeps on the coarsest grid asked for. Raising `degrees` adds modes and changes none.
- Damping. Vorticity and divergence decay as exp(-t / 2 h · (λ_l / λ_top)^4), λ_l = l (l + 1), with `top` the
  highest degree drawn: what the paper's solver has on its own grid, kept on finer ones.
- Solver. A spectrum of twice as many degrees, on Legendre-Gauss points dense enough for exact products of two fields,
  in float64 (but for one factor that the library rounds to float32), by a Runge-Kutta method of order 4 that treats
  the damping exactly.

Every sample is solved once; data grids are synthesised from its spectrum, cut to the (n + 1) // 2 degrees that n
equiangular latitudes resolve. Measured for 11 degrees drawn: twice the degrees, points and steps of the solver change
the fields one hour later by at most 0.02 %, and 32 latitudes leave out 0.07 % of what 64 hold. (Cut to ceil(n / 3),
32 latitudes would leave out 2 to 5 %, since the Coriolis force carries each degree into its neighbours.)

So small an amplitude is nearly linear: products of fields make up 0.3 % of the result for 11 degrees, 1.5 % for 43.

Values are dimensionless: see :func:`scales`.

Source: Bonev et al., "Spherical Fourier Neural Operators", ICML 2023, and its library; paper, Appendix B.1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mpno.datasets.draws import stream_normals
from mpno.datasets.solved import write_solved
from mpno.datasets.store import Split
from mpno.specs import DataSpec, MpnoError, allowed

RADIUS, OMEGA, GRAVITY = 6.37122e6, 7.292e-5, 9.80616
"""Of the Earth, in m, rad/s and m/s²: the library's values."""
HEIGHT, HEIGHT_AMPLITUDE = 10e3, 120.0
"""Mean depth of the fluid and nominal standard deviation of the random one, in m."""
CITATION = "Bonev et al., Spherical Fourier Neural Operators, ICML 2023"
MACH = 0.2
"""Nominal standard deviation of random vorticity and divergence, times RADIUS over the speed of gravity waves."""
SECONDS = 3600.0
"""From input to target."""
RANDOM_DEGREES = 120
"""Each coefficient's variance is 4π / (120 · 121) of its field's nominal one, however many are drawn."""
DAMPING_SECONDS = 7200.0
"""Time in which the highest degree drawn decays by e."""
COURANT = 1 / 3
"""Time step times the frequency of gravity waves at the highest degree drawn; the solver's highest has twice that."""
STREAMS = {"train": 0, "test": 1}
WAVE_SPEED = math.sqrt(GRAVITY * HEIGHT)
MEAN = GRAVITY * HEIGHT
"""Mean geopotential in m²/s²."""
AMPLITUDES = np.array([GRAVITY * HEIGHT_AMPLITUDE, *[MACH * WAVE_SPEED / RADIUS] * 2])
BLOCK = 8
"""Samples solved together."""
CHANNELS = ("geopotential", "vorticity", "divergence")


class Solver:
    """The shallow water equations for batches of spectra, by torch-harmonics' operators in float64.

    States are complex128 (batch, 3, degrees, degrees): geopotential in m²/s², vorticity and divergence in 1/s.

    Args:
        degrees: spherical harmonic degrees carried.
        top: the degree whose vorticity and divergence decay by e in two hours.
    """

    def __init__(self, degrees: int, top: int, device: torch.device | str = "cpu") -> None:
        # The product of two fields against a third harmonic has degree 3 (degrees - 1): exact on these points.
        nlat = math.ceil(3 * degrees / 2)
        library = _torch_harmonics().examples.ShallowWaterSolver(
            nlat, 2 * nlat, SECONDS, degrees, degrees, "legendre-gauss", RADIUS, OMEGA, GRAVITY, HEIGHT
        )
        self.operators = library.to(device)
        eigenvalues = torch.arange(degrees, dtype=torch.float64, device=device)
        eigenvalues *= eigenvalues + 1
        rate = (eigenvalues / (top * (top + 1))) ** 4 / DAMPING_SECONDS
        self.damping = torch.stack([torch.zeros_like(rate), rate, rate]).unsqueeze(-1)

    def tendency(self, state: Tensor) -> Tensor:
        """Time derivative without damping, in flux and vector-invariant form: the library's, for a batch."""
        o = self.operators
        geopotential, vorticity = o.spec2grid(state[:, :2]).unbind(1)
        wind = o.getuv(state[:, 1:])
        fluxes = torch.stack([wind * (vorticity + o.coriolis).unsqueeze(1), wind * geopotential.unsqueeze(1)], 1)
        curl, divergence = o.vrtdivspec(fluxes).unbind(2)
        energy = o.grid2spec(geopotential + 0.5 * wind.square().sum(1))
        return torch.stack([-divergence[:, 1], -divergence[:, 0], curl[:, 0] - o.lap * energy], 1)

    def advance(self, state: Tensor, seconds: float, steps: int) -> Tensor:
        """The state `seconds` later: the classical Runge-Kutta method in variables in which the damping is gone.

        Of order 4 where a step is short against the damping. Degrees above those drawn are damped within a step; what
        little they hold comes out of order 3.

        Source: Lawson, "Generalized Runge-Kutta processes for stable systems with large Lipschitz constants", 1967.
        """
        dt = seconds / steps
        half = torch.exp(-0.5 * dt * self.damping)
        whole = half.square()
        for _ in range(steps):
            k1 = self.tendency(state)
            k2 = self.tendency(half * (state + 0.5 * dt * k1))
            k3 = self.tendency(half * state + 0.5 * dt * k2)
            k4 = self.tendency(whole * state + dt * half * k3)
            state = whole * state + dt / 6 * (whole * k1 + 2 * half * (k2 + k3) + k4)
        return state


def drawn_degrees(resolution: int) -> int:
    """Degrees that the paper's solver draws and keeps on `resolution` latitudes: ceil(n / 3).

    Raises:
        MpnoError: fewer than 4 latitudes, which keep nothing but the mean.
    """
    if resolution < 4:
        raise MpnoError(f"shallow-water: resolution {resolution}; allowed: 4 latitudes or more")
    return math.ceil(resolution / 3)


def time_steps(degrees: int) -> int:
    """Steps from input to target for states drawn in this many degrees."""
    return math.ceil(SECONDS * WAVE_SPEED * degrees / RADIUS / COURANT)


def scales(degrees: int) -> tuple[float, float, float]:
    """The units of stored values, per channel: geopotential = MEAN + unit · value, the others unit · value.

    They are the standard deviations of the random states over samples and the sphere, in m²/s², 1/s and 1/s, so that
    inputs have zero mean and unit variance by their law, whatever samples a set holds.
    """
    order, degree = np.meshgrid(np.arange(degrees), np.arange(degrees))
    # Real and imaginary parts have half the variance each; order 0 has no imaginary part, others come in pairs.
    square = np.where(order == 0, 0.5, 2.0) * (order <= degree) / (RANDOM_DEGREES * (RANDOM_DEGREES + 1))
    drawn = np.sqrt([square.sum(), *[square[1:].sum()] * 2])
    geopotential, vorticity, divergence = (AMPLITUDES * drawn).tolist()
    return geopotential, vorticity, divergence


def random_state(seed: int, stream: int, index: int, degrees: int) -> np.ndarray:
    """Coefficients of one random state, complex128 (3, degrees, degrees), as :class:`Solver` takes them.

    The law is that of the library's ``random_initial_condition``, but for the mean vorticity and divergence, which
    are zero, as they must be on a closed surface.
    """
    normals = stream_normals("shallow-water", seed, stream, index, 3 * degrees**2).reshape(degrees**2, 3)
    state = np.zeros((3, degrees, degrees), np.complex128)
    for degree in range(degrees):
        # Ordered by degree, so that a larger number of degrees leaves the lower ones as they were.
        own = normals[degree**2 : (degree + 1) ** 2].T
        state[:, degree, 0] = own[:, 0]
        state[:, degree, 1 : degree + 1] = own[:, 1 : degree + 1] + 1j * own[:, degree + 1 :]
    state *= np.sqrt(2 * np.pi / (RANDOM_DEGREES * (RANDOM_DEGREES + 1))) * AMPLITUDES[:, None, None]
    state[1:, 0, 0] = 0.0
    state[0, 0, 0] += math.sqrt(4 * math.pi) * MEAN
    return state


def generate(
    seed: int,
    split: str,
    indices: Iterable[int],
    resolutions: Sequence[int],
    *,
    degrees: int | None = None,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> dict[int, Split]:
    """Draw samples, solve each once, and give it on every grid.

    A sample depends on (seed, split, index) and `degrees` alone, to the last bit on one machine: any order, share of
    the work or set of grids gives the same.

    Args:
        seed, split, indices: which samples.
        resolutions: latitudes n of each grid wanted; grids are equiangular, n x 2n, both poles included.
        degrees: degrees drawn; by default :func:`drawn_degrees` of the coarsest grid.
        device: where to solve.
        progress: show a bar.

    Returns:
        Per resolution n: x, the random states, and y, the states one hour later, float32 (count, 3, n, 2n) with
        channels geopotential, vorticity and divergence in the units of :func:`scales`.

    Raises:
        MpnoError: nothing is asked for; an unknown split; a seed, index or resolution out of range; or a solution
            that is not finite.
    """
    wanted = list(indices)
    if not wanted or not resolutions:
        raise MpnoError("shallow-water: no samples or no resolutions asked for; ask for at least one of each")
    if split not in STREAMS:
        raise MpnoError(f"shallow-water: split {split!r}; {allowed(split, STREAMS)}")
    coarsest = drawn_degrees(min(resolutions))
    degrees = degrees or coarsest
    shapes = {n: (len(wanted), 3, n, 2 * n) for n in resolutions}
    out = {n: Split(np.empty(shape, np.float32), np.empty(shape, np.float32)) for n, shape in shapes.items()}
    with tqdm(total=len(wanted), desc=f"shallow-water {split}", unit="sample", disable=not progress) as bar:
        for rows, fields in _solved(seed, STREAMS[split], wanted, resolutions, degrees, device):
            for n, pair in fields.items():
                for array, field in zip(out[n], pair, strict=True):
                    array[rows] = field.cpu().numpy()
            bar.update(len(rows))
    return out


def fresh(
    seed: int,
    epoch: int,
    count: int,
    resolution: int,
    *,
    batch: int = BLOCK,
    degrees: int | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[Tensor, Tensor]]:
    """Training samples made anew for every epoch, as in the paper: `count` pairs in batches of up to `batch`.

    A sample depends on (seed, epoch), its place in the epoch and `degrees` alone; :func:`generate` makes none of them.

    Yields:
        (x, y), float32 (up to `batch`, 3, n, 2n) on `device`, in the units of :func:`scales`.

    Raises:
        MpnoError: a negative epoch, empty batches, or as :func:`generate`.
    """
    if epoch < 0 or batch < 1:
        raise MpnoError(f"shallow-water: epoch {epoch}, batches of {batch}; allowed: epoch 0 or more, batches from 1")
    degrees = degrees or drawn_degrees(resolution)
    for start in range(0, count, batch):
        indices = range(start, min(start + batch, count))
        parts = _solved(seed, len(STREAMS) + epoch, indices, [resolution], degrees, device)
        x, y = zip(*(fields[resolution] for _, fields in parts), strict=True)
        yield torch.cat(x), torch.cat(y)


def make_store(spec: DataSpec, out: Path, *, progress: bool) -> None:
    """Generate the samples that `spec` asks for as one HDF5 file at `out`, whole or not at all.

    A grid's key is its number of latitudes. The degrees drawn are those of the training grid, for both splits.

    Raises:
        MpnoError: as :func:`generate`, or `out` cannot be written.
    """
    degrees = drawn_degrees(spec.square[0])
    units = scales(degrees)
    parameters = {
        "generator": "mpno.datasets.shallow_water.generate",
        "solver": "torch-harmonics ShallowWaterSolver, Runge-Kutta of order 4",
        "mach": MACH,
        "degrees_drawn": degrees,
        "degrees_solved": 2 * degrees,
        "seconds": SECONDS,
        "time_steps": time_steps(degrees),
        "mean_geopotential": MEAN,
        "units": dict(zip(CHANNELS, units, strict=True)),
    }
    said = [
        f"geopotential less {MEAN:.6g}, in {units[0]:.4g} m2 s-2",
        *(f"{name}, in {units[1]:.4g} s-1" for name in CHANNELS[1:]),
    ]
    attrs = {
        "name": spec.name,
        "title": "Shallow water on the rotating sphere, one hour from random states at Mach 0.2, solved spectrally",
        "source": "generate",
        "units_x": said,
        "units_y": said,
        "licence": "MIT",
        "citation": CITATION,
        "origin": json.dumps(parameters),
        "seed": spec.seed,
    }
    grid = "channels geopotential, vorticity, divergence; n equidistant latitudes from pole to pole, 2n longitudes"
    descriptions = {"x": f"random state; {grid}", "y": f"the state one hour later; {grid}"}

    def draw(split: str, indices: range, resolutions: list[int]) -> dict[int, Split]:
        return generate(spec.seed, split, indices, resolutions, degrees=degrees)

    write_solved(spec, out, attrs, descriptions, draw, batch=4 * BLOCK, progress=progress)


def _solved(
    seed: int,
    stream: int,
    indices: Sequence[int],
    resolutions: Sequence[int],
    degrees: int,
    device: torch.device | str,
) -> Iterator[tuple[list[int], dict[int, tuple[Tensor, Tensor]]]]:
    """Solve `indices` in whole blocks: rows of `indices`, and per resolution the inputs and targets there.

    Sums are taken in another order in batches of another size. So a sample is always solved in the company of its own
    block, asked for or not, which makes it the same to the last bit whoever asks.
    """
    blocks: dict[int, list[int]] = {}
    for row, index in enumerate(indices):
        blocks.setdefault(index // BLOCK, []).append(row)
    for block, rows in blocks.items():
        drawn = [random_state(seed, stream, block * BLOCK + place, degrees) for place in range(BLOCK)]
        pair = _hour(torch.from_numpy(np.stack(drawn)).to(device))
        if not bool(pair[1].isfinite().all()):
            raise MpnoError(
                f"shallow-water: seed {seed}, samples {block * BLOCK} to {block * BLOCK + BLOCK - 1}: not finite after "
                f"{time_steps(degrees)} time steps; choose another seed"
            )
        places = [indices[row] % BLOCK for row in rows]
        fields = {n: [_on_grid(state, n, degrees)[places] for state in pair] for n in resolutions}
        yield rows, {n: (x, y) for n, (x, y) in fields.items()}


def _hour(drawn: Tensor) -> tuple[Tensor, Tensor]:
    """The states drawn, and those one hour later, as spectra of twice the degrees."""
    degrees = drawn.shape[-1]
    x = torch.nn.functional.pad(drawn, (0, degrees, 0, degrees))
    with torch.inference_mode():
        # The lowest degree that damping can be measured by is 1.
        solver = _solver(2 * degrees, max(degrees - 1, 1), str(drawn.device))
        return x, solver.advance(x, SECONDS, time_steps(degrees))


def _on_grid(state: Tensor, resolution: int, degrees: int) -> Tensor:
    """Spectra as dimensionless float32 fields on the equiangular grid of n x 2n points."""
    state = state.clone()
    state[:, 0, 0, 0] -= math.sqrt(4 * math.pi) * MEAN
    state /= state.real.new_tensor(scales(degrees))[:, None, None]
    # The degrees that equiangular latitudes resolve: their quadrature is exact for products of two.
    kept = min((resolution + 1) // 2, state.shape[-1])
    return _synthesis(resolution, kept, str(state.device))(state[..., :kept, :kept]).float()


@lru_cache(maxsize=4)
def _solver(degrees: int, top: int, device: str) -> Solver:
    return Solver(degrees, top, device)


@lru_cache(maxsize=8)
def _synthesis(nlat: int, degrees: int, device: str) -> torch.nn.Module:
    inverse = _torch_harmonics().InverseRealSHT(
        nlat, 2 * nlat, lmax=degrees, mmax=degrees, grid="equiangular", csphase=False
    )
    return inverse.to(device)


def _torch_harmonics() -> ModuleType:
    try:
        import torch_harmonics
    except ImportError:
        raise MpnoError(
            "shallow-water: generating it needs torch-harmonics, which is not installed; run: pip install 'mpno[data]'"
        ) from None
    return torch_harmonics
