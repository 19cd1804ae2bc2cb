"""Choices in contractions: how operands are viewed as real, cached paths, their order, the operands' formats."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mpno.measurement.probes.inputs import ProbedArm
from mpno.numerics import DTYPES, LiveBytes
from mpno.specs import ContractionSpec
from mpno.specs.names import ContractionOption, Factorization, PathStrategy, WeightLayout
from mpno.spectral.modes import kept_modes
from mpno.spectral.paths import plan_of
from mpno.spectral.weights import SpectralWeight

CPU = torch.device("cpu")
OPTIONS: tuple[ContractionOption, ...] = ("A", "B", "C")
TIMED = ("fp32", 16, (32, 32), 8)
"""Format, channels, modes and batch of the layer that is timed: one in which option A is feasible here."""


@dataclass(frozen=True)
class Layer:
    """A spectral layer of a published model. `batch` is the training's."""

    channels: int
    modes: tuple[int, ...]
    factorization: Factorization
    rank: float
    batch: int
    layout: WeightLayout

    def weight(
        self, *, option: ContractionOption = "C", path: PathStrategy = "memory", cached: bool = True
    ) -> SpectralWeight:
        spec = ContractionSpec(
            factorization=self.factorization,
            rank=self.rank,
            layout=self.layout,
            option=option,
            path=path,
            cached=cached,
        )
        return SpectralWeight(self.channels, self.channels, self.modes, spec=spec)

    def predicted(self, *, inputs: str = "fp16", weights: str = "fp16", **choice: Any) -> dict[str, float]:
        """MiB of forward and backward in these formats, parameters and the spectrum itself apart.

        ``kept`` is what the forward pass leaves for the backward, the result apart, ``peak`` the most at any time.
        """
        kept = kept_modes(self.modes, self.modes, self.layout)
        with torch.device("meta"):
            weight = self.weight(**choice)
            shape = (self.batch, *kept.counts, self.channels, 2)
            s = torch.empty(shape, dtype=DTYPES[inputs], requires_grad=True)
        with LiveBytes(apart=[s, *weight.parameters()]) as counter:
            y = weight.contract(s, kept, inputs=inputs, weights=weights)
            left = counter.live - y.numel() * y.element_size()
            y.backward(torch.empty_like(y))
        return {"kept": left / 2**20, "peak": counter.peak / 2**20}


LAYERS = {
    "Navier-Stokes": Layer(64, (64, 64), "cp", 0.05, 32, "corners"),
    "Darcy": Layer(32, (64, 64), "cp", 0.05, 64, "corners"),
    "Car": Layer(64, (16, 16, 16), "tucker", 0.4, 1, "joint"),
    # The paper's sizes for the Ahmed body are not public; these are defaults of third-party copies of its model.
    "Ahmed body": Layer(86, (32, 32, 32), "tucker", 0.4, 1, "joint"),
}


def contraction(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the four ablations: memory at the published sizes from shapes, times of a smaller layer, measured.

    Args:
        arms: none are asked.
        settings: ``rounds`` of interleaved timings.

    Returns:
        Rows with ``ablation``, ``layer``, ``choice``, ``quantity`` (``kept``, ``peak`` in MiB, ``forward``, ``both``,
        ``search`` in ms), ``value``, ``low``, ``high`` (quartiles) and ``evidence``.

    Source: paper, Appendix B.12.
    """
    rows: list[dict[str, Any]] = []

    def sized(ablation: str, layer: str, choice: str, **given: Any) -> None:
        for quantity, value in LAYERS[layer].predicted(**given).items():
            rows.append(
                {"ablation": ablation, "layer": layer, "choice": choice, "quantity": quantity, "value": value}
                | {"evidence": "predicted"}
            )

    for option in OPTIONS:
        sized("options", "Navier-Stokes", f"option {option}", option=option)
    for layer in ("Car", "Ahmed body"):
        for path in ("flops", "memory"):
            sized("path", layer, f"least {path}", path=path)
    for layer in ("Darcy", "Navier-Stokes"):
        sized("operands", layer, "weights only", inputs="fp32")
        sized("operands", layer, "inputs and weights")
    return rows + _timed(int(settings.get("rounds", 9)))


def _timed(rounds: int) -> list[dict[str, Any]]:
    """Options and path caching in fp32 on the reduced layer, interleaved."""
    format, channels, modes, batch = TIMED
    layer = Layer(channels, modes, "cp", 0.05, batch, "corners")
    kept = kept_modes(modes, modes, "corners")
    torch.manual_seed(0)
    s = torch.randn(batch, *kept.counts, channels, 2, requires_grad=True)

    def step(weight: SpectralWeight) -> Callable[[], dict[str, float]]:
        def run() -> dict[str, float]:
            started = time.perf_counter()
            y = weight.contract(s, kept, inputs=format, weights=format)
            forward = time.perf_counter() - started
            y.sum().backward()
            return {"forward": 1e3 * forward, "both": 1e3 * (time.perf_counter() - started)}

        return run

    chosen = layer.weight()
    equation, shapes = chosen.einsum(kept, batch)

    def search() -> dict[str, float]:
        started = time.perf_counter()
        for _ in chosen.parts:
            plan_of(equation, shapes, "memory", "C", cached=False)
        return {"search": 1e3 * (time.perf_counter() - started)}

    runs = {("options", f"option {option}"): step(layer.weight(option=option)) for option in OPTIONS}
    runs["caching", "path cached"] = step(chosen)
    runs["caching", "path searched each time"] = step(layer.weight(cached=False))
    runs["caching", "the search itself"] = search
    found: dict[tuple[str, str, str], list[float]] = {}
    for number in range(rounds + 1):
        for key, run in runs.items():
            for quantity, value in run().items():
                if number:  # the first round warms up
                    found.setdefault((*key, quantity), []).append(value)
    name = f"{channels} channels, {modes[0]}x{modes[1]} modes, batch {batch}, CP, {format}"
    return [_row(ablation, name, choice, quantity, values) for (ablation, choice, quantity), values in found.items()]


def _row(ablation: str, layer: str, choice: str, quantity: str, values: list[float]) -> dict[str, Any]:
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return {
        "ablation": ablation,
        "layer": layer,
        "choice": choice,
        "quantity": quantity,
        "value": middle,
        "low": low,
        "high": high,
        "evidence": "native",
    }
