"""Paths of every factorised contraction that the paper's models use: FLOPs, largest intermediate, memory, search time.

    python benchmarks/paths.py [layer ...]

Memory is predicted from traced shapes in fp16, for one spectral layer: what the forward pass peaks at, what it
keeps for the backward, and the peak of both passes; parameters and the spectrum are not counted.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from opt_einsum.paths import BranchBound, auto, optimal

from mpno.numerics import LiveBytes
from mpno.specs import ContractionSpec
from mpno.specs.names import Factorization, PathStrategy, WeightLayout
from mpno.spectral.modes import kept_modes
from mpno.spectral.paths import LeastMemory, Shapes, plan_along
from mpno.spectral.weights import SpectralWeight


@dataclass(frozen=True)
class Layer:
    """One spectral layer of a model in the paper, or its TT variant. `batch` is the training's."""

    channels: int
    modes: tuple[int, ...]
    factorization: Factorization
    rank: float
    batch: int
    layout: WeightLayout

    def weight(self, path: PathStrategy = "memory") -> SpectralWeight:
        spec = ContractionSpec(factorization=self.factorization, rank=self.rank, layout=self.layout, path=path)
        return SpectralWeight(self.channels, self.channels, self.modes, spec=spec)

    def einsum(self) -> tuple[str, Shapes]:
        """The equation and the shapes of its operands, of one corner where the weight is in corners."""
        with torch.device("meta"):
            return self.weight().einsum(kept_modes(self.modes, self.modes, self.layout), self.batch)

    def memory(self, path: PathStrategy) -> tuple[float, float, float]:
        """Predicted MiB: the forward's peak, what it keeps, the peak of forward and backward."""
        kept = kept_modes(self.modes, self.modes, self.layout)
        with torch.device("meta"):
            weight = self.weight(path)
            s = torch.empty(self.batch, *kept.counts, self.channels, 2, dtype=torch.float16, requires_grad=True)
        counter = LiveBytes(apart=[s, *weight.parameters()])
        with counter:
            y = weight.contract(s, kept, inputs="fp16", weights="fp16")
            forward, left = counter.peak, counter.live
            y.backward(torch.empty_like(y))
        return forward / 2**20, left / 2**20, counter.peak / 2**20


LAYERS = {
    "Navier-Stokes CP": Layer(64, (64, 64), "cp", 0.05, 32, "corners"),
    "Darcy CP": Layer(32, (64, 64), "cp", 0.05, 64, "corners"),
    "Car Tucker": Layer(64, (16, 16, 16), "tucker", 0.4, 1, "joint"),
    # The paper's Ahmed-body sizes are not public; these are the defaults of published copies of its model.
    "Ahmed Tucker": Layer(86, (32, 32, 32), "tucker", 0.4, 1, "joint"),
    "Navier-Stokes Tucker": Layer(64, (64, 64), "tucker", 0.05, 32, "corners"),
    "Navier-Stokes TT": Layer(64, (64, 64), "tt", 0.05, 32, "corners"),
    "Car TT": Layer(64, (16, 16, 16), "tt", 0.4, 1, "joint"),
}

# How each path is found, and the name of the strategy where the library has it.
FINDERS: dict[str, tuple[Callable[[], Callable[..., Any]], PathStrategy | None]] = {
    "flops": (lambda: optimal, "flops"),
    "default": (lambda: auto, "default"),
    "branch flops": (lambda: BranchBound(minimize="flops"), None),
    "branch size": (lambda: BranchBound(minimize="size"), None),
    "memory": (lambda: LeastMemory("C"), "memory"),
}


def table(names: list[str]) -> list[dict[str, Any]]:
    """One row per layer and way to find a path."""
    rows = []
    for name in names:
        equation, shapes = LAYERS[name].einsum()
        for path, (finder, strategy) in FINDERS.items():
            plan = plan_along(equation, shapes, finder(), "C")
            forward, left, peak = LAYERS[name].memory(strategy) if strategy else (None, None, None)
            rows.append(
                {
                    "layer": name,
                    "path": path,
                    "flops": plan.flops,
                    "largest": plan.largest,
                    "real": plan.real_largest,
                    "forward MiB": forward,
                    "kept MiB": left,
                    "peak MiB": peak,
                    "search ms": _search_ms(equation, shapes, finder),
                }
            )
    return rows


def _search_ms(equation: str, shapes: Shapes, finder: Callable[[], Callable[..., Any]]) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        plan_along(equation, shapes, finder(), "C")
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main(names: list[str]) -> None:
    rows = table(names or list(LAYERS))
    print("predicted from traced shapes; search time measured, one thread")
    print(
        f"{'layer':21}{'path':14}{'FLOPs':>10}{'largest':>10}{'real view':>11}"
        f"{'forward':>9}{'kept':>9}{'peak MiB':>9}{'search ms':>11}"
    )
    for row in rows:
        sizes = [f"{row[key]:9.1f}" if row[key] else f"{'-':>9}" for key in ("forward MiB", "kept MiB", "peak MiB")]
        print(
            f"{row['layer']:21}{row['path']:14}{row['flops']:10.3g}{row['largest']:10.3g}{row['real']:11.3g}"
            f"{''.join(sizes)}{row['search ms']:11.2f}"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
