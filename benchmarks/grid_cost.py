"""Cost of one spectral convolution, forward and backward, per grid point from 64 to 1024 squared.

    python benchmarks/grid_cost.py [--modes 32 128] [--width 32] [--threads 1] [--rounds 5] [--out FOLDER]

`fft` does n log n work on the whole spectrum, `matmul` work in proportion to the modes it keeps: the table shows where
they cross, and which share of the machine's measured matrix-product rate `matmul` reaches, beside its roofline (the
lesser of that rate and what the measured bandwidth allows for the bytes that every product has to read and write).
Arms take turns, one step each per round; the median and quartiles are over rounds.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mpno import SpectralConv
from mpno.numerics import DTYPES, matmul_is_native, processor_name
from mpno.training.allocator import keep_freed_memory

GRIDS = (64, 128, 256, 512, 1024)
POINTS = 2**20
"""Grid points of a batch, the same for every grid, so that a step holds the same bytes."""


def seconds(step: Callable[[], Any]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def machine(format: str) -> tuple[float, float]:
    """Measured flop/s of a large square product in `format`, and bytes/s of a large copy: best of seven."""
    dtype = DTYPES[format]
    a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
    field = torch.randn(2**26 // a.element_size()).to(dtype)
    copy = torch.empty_like(field)
    rate = 2 * 2048**3 / min(seconds(lambda: a @ b) for _ in range(7))
    bandwidth = 2 * field.nbytes / min(seconds(lambda: copy.copy_(field)) for _ in range(7))
    return rate, bandwidth


def products(n: int, modes: int, width: int, batch: int) -> list[tuple[int, int, int, int]]:
    """The matrix products of one forward pass by `matmul`, as (how many, rows, inner, columns)."""
    half, both = modes // 2 + 1, 2 * (modes // 2 + 1)
    return [
        (batch * n, both, n, width),
        (batch, 2 * modes, 2 * n, half * width),
        (modes * half, 2 * batch, width, 2 * width),
        (batch, 2 * n, 2 * modes, half * width),
        (batch * n, n, both, width),
    ]


def floor(shapes: list[tuple[int, int, int, int]], size: int, rate: float, bandwidth: float) -> tuple[float, float]:
    """Flops of the products, and the least seconds they take on this machine."""
    flops = [2 * count * m * k * n for count, m, k, n in shapes]
    # A transform's matrix is shared by the whole batch and stays in cache; the weights of a mode do not.
    moved = [size * (count * (k * n + m * n) + m * k) for count, m, k, n in shapes]
    return sum(flops), sum(max(f / rate, b / bandwidth) for f, b in zip(flops, moved, strict=True))


def measure(modes: int, width: int, rounds: int, limits: dict[str, tuple[float, float]]) -> pd.DataFrame:
    arms: list[tuple[Any, str]] = [("fft", "full"), ("matmul", "full")]
    arms += [("matmul", f"half-{format}+none") for format in limits if format != "fp32"]
    rows = []
    for n in (n for n in GRIDS if n >= modes):
        batch = POINTS // n**2
        steps = [_stepper(n, batch, modes, width, transform, setting) for transform, setting in arms]
        for step in steps:
            step()
        times = np.array([[seconds(step) for step in steps] for _ in range(rounds)])
        for column, (transform, setting) in enumerate(arms):
            low_, median, high = np.quantile(times[:, column], [0.25, 0.5, 0.75]) / POINTS * 1e9
            format = "fp32" if setting == "full" else setting[5:9]
            row: dict[str, Any] = {
                "modes": modes,
                "grid": n,
                "transform": transform,
                "format": format,
                "ns per point": median,
            }
            row |= {"low": low_, "high": high, "to fft": np.median(times[:, column] / times[:, 0])}
            if transform == "matmul":
                size = torch.finfo(DTYPES[format]).bits // 8
                flops, least = floor(products(n, modes, width, batch), size, *limits[format])
                # The backward pass repeats the transforms' products, and the contraction's twice.
                again, again_least = floor(products(n, modes, width, batch)[2:3], size, *limits[format])
                taken = float(np.median(times[:, column]))
                row["share of matmul rate"] = (2 * flops + again) / limits[format][0] / taken
                row["share of roofline"] = (2 * least + again_least) / taken
            rows.append(row)
    return pd.DataFrame(rows)


def _stepper(n: int, batch: int, modes: int, width: int, transform: Any, setting: str) -> Callable[[], None]:
    torch.manual_seed(0)
    conv = SpectralConv(
        width, width, (modes, modes), precision=setting, transform=transform, bias=False, channels_last=True
    )
    format = "fp32" if setting == "full" else setting[5:9]
    x = torch.randn(batch, n, n, width).to(DTYPES[format]).requires_grad_()

    def step() -> None:
        y = conv(x)
        y.backward(x.detach())
        x.grad = None
        conv.zero_grad()

    return step


def crossings(frame: pd.DataFrame) -> list[str]:
    """Where the cost of `matmul` overtakes that of `fft`, by interpolation in the logarithm of the grid."""
    lines = []
    chosen = frame.loc[frame["transform"] == "matmul"]
    for modes, format in chosen[["modes", "format"]].drop_duplicates().itertuples(index=False):
        group = chosen.loc[(chosen["modes"] == modes) & (chosen["format"] == format)]
        sides, ratio = group["grid"].to_numpy(), np.log(group["to fft"].to_numpy())
        over = np.flatnonzero((ratio[:-1] < 0) & (ratio[1:] >= 0))
        if len(over) == 0:
            where = "costs less on every grid" if (ratio < 0).all() else "costs more on every grid"
        else:
            i = over[0]
            share = -ratio[i] / (ratio[i + 1] - ratio[i])
            where = f"costs less up to {math.exp(np.interp(share, [0, 1], np.log(sides[i : i + 2]))):.0f} squared"
        lines.append(f"{modes} modes, matmul in {format} against fft in fp32: {where}")
    return lines


def draw(frame: pd.DataFrame, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds = sorted(set(frame["modes"]))
    figure, panels = plt.subplots(1, len(kinds), figsize=(3.6 * len(kinds), 3.2), layout="constrained", sharey=True)
    for modes, axes in zip(kinds, np.atleast_1d(panels), strict=True):
        part = frame.loc[frame["modes"] == modes]
        for transform, format in part[["transform", "format"]].drop_duplicates().itertuples(index=False):
            group = part.loc[(part["transform"] == transform) & (part["format"] == format)]
            low, high = group["ns per point"] - group["low"], group["high"] - group["ns per point"]
            axes.errorbar(group["grid"], group["ns per point"], [low, high], label=f"{transform}, {format}", marker="o")
        axes.set(xscale="log", yscale="log", xlabel="points along each axis", title=f"{modes} modes per axis")
        grids = sorted(set(part["grid"]))
        axes.set_xticks(grids, [str(n) for n in grids])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    np.atleast_1d(panels)[0].set_ylabel("ns per grid point")
    np.atleast_1d(panels)[0].legend(frameon=False)
    figure.savefig(path, dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--modes", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a folder for the table as CSV and the plot")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    formats = [format for format in DTYPES if matmul_is_native(format, torch.device("cpu"))]
    limits = {format: machine(format) for format in formats}
    frame = pd.concat([measure(modes, given.width, given.rounds, limits) for modes in given.modes])
    print(f"{processor_name(torch.device('cpu'))}, {given.threads} thread(s), torch {torch.__version__}")
    for format, (rate, bandwidth) in limits.items():
        print(f"{format}: {rate / 1e9:.0f} GF/s in a 2048 cubed product, {bandwidth / 1e9:.1f} GB/s in a copy")
    print(f"width {given.width}, {POINTS} points per batch, forward and backward")
    print(frame.to_markdown(index=False, floatfmt=".3g"))
    print(*crossings(frame), sep="\n")
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        frame.to_csv(given.out / "grid_cost.csv", index=False)
        draw(frame, given.out / "grid_cost.png")


if __name__ == "__main__":
    main()
