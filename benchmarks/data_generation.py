"""What the generated data cost: seconds of one core per sample, and what of them are Fourier transforms.

Run with one thread: ``OMP_NUM_THREADS=1 python benchmarks/data_generation.py [--resolved]``. With ``--resolved`` it
also solves samples on a grid and its double, at the smallest viscosity each grid is said to resolve (minutes).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from math import ceil

import numpy as np
import torch

from mpno.datasets import darcy, fourier, navier_stokes
from mpno.datasets.vorticity import Solver, Workspace, kept

SAMPLES = {64: 100, 128: 16, 256: 2}
"""Navier-Stokes samples timed per solution grid."""


def seconds(call: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def transforms(n: int, batch: int, rounds: int = 50) -> float:
    """Seconds per sample of the transforms in one stage: those that the solver makes, and nothing else of it."""
    solver = Solver(n, viscosity=0.01, dt=0.01)
    work = Workspace(solver, batch)
    work.modes.normal_()
    work.products.normal_()

    def stage() -> None:
        torch.fft.ifft(work.modes, norm="forward")
        torch.fft.irfft(work.columns, n=n, norm="forward")
        columns = torch.fft.rfft(work.products)[..., : kept(n) + 1]
        torch.fft.fft(columns, dim=-2)

    stage()
    return min(seconds(lambda: [stage() for _ in range(rounds)]) for _ in range(5)) / rounds / batch


def navier_stokes_rows() -> None:
    print("Navier-Stokes, T = 5: core-seconds per sample")
    print(f"{'grid':>6}{'samples':>9}{'steps':>7}{'all':>10}{'transforms':>12}{'ratio':>7}")
    for n, count in SAMPLES.items():
        viscosity = min(v for grid, v in navier_stokes.RESOLVES.items() if grid <= n)
        steps = sum(navier_stokes.steps(n, navier_stokes.FINAL_TIME))

        def make(n: int = n, count: int = count, viscosity: float = viscosity) -> None:
            navier_stokes.generate(0, "train", range(count), [n], viscosity=viscosity, solve_grid=n)

        whole = seconds(make) / count
        batch = max(1, navier_stokes.BATCH_POINTS // n**2)
        part = 4 * steps * transforms(n, batch)
        print(f"{n:6d}{count:9d}{steps:7d}{whole:10.4f}{part:12.4f}{whole / part:7.2f}", flush=True)


def darcy_rows() -> None:
    print("Darcy: core-seconds per sample")
    print(f"{'points':>7}{'cells':>7}{'all':>10}")
    for points, count in ((128, 40), (256, 6), (421, 2)):
        whole = seconds(lambda n=points, c=count: darcy.generate(0, "train", range(c), [n])) / count
        print(f"{points:7d}{darcy.solve_cells([points]):7d}{whole:10.4f}", flush=True)


def on_points(forcing: np.ndarray, grid: int, viscosity: float, n: int) -> np.ndarray:
    """Vorticity at the final time solved on `grid`, sampled on n x n points."""
    solved = [
        navier_stokes.solve(
            one[None], grid, viscosity=viscosity, final_time=navier_stokes.FINAL_TIME, names=["a sample"]
        )
        for one in forcing
    ]
    return fourier.sample(np.concatenate(solved), n)


def resolved_rows(count: int = 8) -> None:
    print("Navier-Stokes: relative L2 change of w(5) when the solution grid is doubled")
    print(f"{'grid':>6}{'viscosity':>11}{'samples':>9}{'mean':>10}{'worst':>10}")
    for n, viscosity in navier_stokes.RESOLVES.items():
        number = count if n < 256 else ceil(count / 4)
        forcing = np.stack([navier_stokes.forcing_modes(0, index, "test") for index in range(number)])
        coarse, fine = (on_points(forcing, grid, viscosity, n) for grid in (n, 2 * n))
        change = np.sqrt(((coarse - fine) ** 2).sum((1, 2)) / (fine**2).sum((1, 2)))
        print(f"{n:6d}{viscosity:11.5f}{number:9d}{change.mean():10.5f}{change.max():10.5f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolved", action="store_true", help="check the resolved viscosities too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    navier_stokes_rows()
    darcy_rows()
    if arguments.resolved:
        resolved_rows()


if __name__ == "__main__":
    main()
