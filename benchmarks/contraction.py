"""Options A, B and C and the path cache on a reduced Navier-Stokes layer: time of forward and backward, live bytes.

    python benchmarks/contraction.py [rounds]

CP weight of rank 0.05 in corners, 16 channels, 32 x 32 modes, batch 8 (the paper's layer: 64, 64 x 64, 32). The arms
are interleaved in one process; medians with quartiles, and ratios to option C of the same round. fp32 is timed on
any processor; a half format only where the processor multiplies in it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from mpno.numerics import LiveBytes, matmul_is_native, processor_name
from mpno.specs import ContractionSpec
from mpno.specs.names import ContractionOption
from mpno.spectral.modes import kept_modes
from mpno.spectral.paths import plan_of
from mpno.spectral.weights import SpectralWeight

CHANNELS, MODES, BATCH = 16, (32, 32), 8
OPTIONS: tuple[ContractionOption, ...] = ("A", "B", "C")
CPU = torch.device("cpu")


def layer(option: ContractionOption, cached: bool = True, device: torch.device = CPU) -> tuple[SpectralWeight, Tensor]:
    spec = ContractionSpec(factorization="cp", rank=0.05, layout="corners", option=option, cached=cached)
    kept = kept_modes(MODES, MODES, "corners")
    with device:
        torch.manual_seed(0)
        weight = SpectralWeight(CHANNELS, CHANNELS, MODES, spec=spec)
        return weight, torch.randn(BATCH, *kept.counts, CHANNELS, 2, requires_grad=True)


def step(weight: SpectralWeight, s: Tensor, format: str) -> tuple[float, float]:
    """Seconds of the forward pass, and of forward and backward together."""
    kept = kept_modes(MODES, MODES, "corners")
    start = time.perf_counter()
    y = weight.contract(s, kept, inputs=format, weights=format)
    forward = time.perf_counter() - start
    y.sum().backward()
    return forward, time.perf_counter() - start


def live_mib(option: ContractionOption, format: str) -> tuple[float, float]:
    """Predicted MiB kept by the forward pass and at the peak, parameters and spectrum apart."""
    weight, s = layer(option, device=torch.device("meta"))
    s = s.detach().to({"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[format]).requires_grad_()
    with LiveBytes(apart=[s, *weight.parameters()]) as counter:
        y = weight.contract(s, kept_modes(MODES, MODES, "corners"), inputs=format, weights=format)
        kept = counter.live
        y.backward(torch.empty_like(y))
    return kept / 2**20, counter.peak / 2**20


def interleave(arms: dict[str, Callable[[], tuple[float, float]]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name, run in arms.items():
            seconds = run()
            if number:  # the first round warms up
                times[name].append(seconds)
    return times


def spread(values: list[float], scale: float = 1.0) -> str:
    low, middle, high = (scale * value for value in statistics.quantiles(values, n=4))
    return f"{middle:8.2f} [{low:.2f}, {high:.2f}]"


def main(rounds: int) -> None:
    torch.set_num_threads(1)
    print(f"{processor_name(CPU)}, one thread, {rounds} rounds; live bytes predicted from traced shapes")
    for format in ("fp32", "bf16", "fp16"):
        if not matmul_is_native(format, CPU):
            print(f"{format}: not native here, no time")
            continue
        arms = {}
        for option in OPTIONS:
            weight, s = layer(option)
            arms[option] = lambda weight=weight, s=s, format=format: step(weight, s, format)
        times = interleave(arms, rounds)
        for option, seconds in times.items():
            kept, peak = live_mib(option, format)  # type: ignore[arg-type]
            ratio = [mine[1] / other[1] for mine, other in zip(seconds, times["C"], strict=True)]
            print(
                f"{format} option {option}: forward ms {spread([t[0] for t in seconds], 1e3)}  both ms "
                f"{spread([t[1] for t in seconds], 1e3)}  x C {spread(ratio)}  kept {kept:.1f} MiB  peak {peak:.1f} MiB"
            )
    weight, s = layer("C")
    bare, _ = layer("C", cached=False)
    equation, shapes = weight.einsum(kept_modes(MODES, MODES, "corners"), BATCH)

    def search() -> tuple[float, float]:
        start = time.perf_counter()
        for _ in weight.parts:
            plan_of(equation, shapes, "memory", "C", cached=False)
        return time.perf_counter() - start, 0.0

    arms = {"cached": lambda: step(weight, s, "fp32"), "not cached": lambda: step(bare, s, "fp32"), "search": search}
    times = interleave(arms, rounds)
    for name, seconds in times.items():
        print(f"path {name}: forward ms {spread([t[0] for t in seconds], 1e3)}")
    share = [a[0] / b[0] for a, b in zip(times["search"], times["cached"], strict=True)]
    print(f"search over einsum time (the paper's figure on a GPU: 0.76): {spread(share)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
