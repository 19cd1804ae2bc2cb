"""Options A, B and C of a contraction on the GPU: the same numbers, their memory and their time."""

from __future__ import annotations

import torch
from torch import Tensor

from mpno.measurement.cuda_check.answers import Answer, Question, distance
from mpno.measurement.cuda_check.bench import Bench, Step
from mpno.measurement.cuda_check.record import Case, judged
from mpno.measurement.probes.contraction import OPTIONS, Layer
from mpno.numerics import DTYPES
from mpno.specs.names import ContractionOption
from mpno.spectral.modes import kept_modes
from mpno.spectral.weights import SpectralWeight

LAYER = Layer(64, (64, 64), "cp", 0.05, 4, "corners")
"""The paper's Navier-Stokes layer at an eighth of its batch, so that option A has room on a card of 16 GB."""
TOLERANCES = {"fp32": 1e-5, "fp16": 0.02}
ROUNDS = 15
SECONDS = 20.0


def contractions(bench: Bench) -> Answer:
    """Each option forward and backward in fp32 and fp16, then their times in fp16, interleaved."""
    cases: list[Case] = []
    exact = _exact() if bench.measures else torch.empty(0)
    for format, tolerance in TOLERANCES.items():
        peaks: dict[str, int | None] = {}
        for option in OPTIONS:
            with bench.clean():
                name = f"option {option}, {format}"
                weight, s = _layer(bench, option)
                found = distance(_contract(weight, s, format), exact)
                cases.append(judged(f"{name}: from float64, relative L2", found, "at most", tolerance=tolerance))
                peak = bench.peak(_step(weight, s, format))
                peaks[option] = None if peak is None else peak.allocated
                predicted = round(LAYER.predicted(inputs=format, weights=format, option=option)["peak"] * 2**20)
                name = f"{name}: peak of forward and backward, bytes"
                cases.append(judged(name, peaks[option], "relative", expected=predicted, tolerance=0.15))
                del weight, s
        a, b, c = (peaks[option] for option in OPTIONS)
        order = None if a is None or b is None or c is None else a > b and a > c
        cases.append(judged(f"{format}: option A takes the most memory", order, "equal", expected=True))
    return Answer(cases + _timed(bench))


def _timed(bench: Bench) -> list[Case]:
    with bench.clean():
        steps = {option: _step(*_layer(bench, option), "fp16") for option in OPTIONS}
        times = bench.times(steps, rounds=ROUNDS, seconds=SECONDS)
    cases: list[Case] = []
    for option in OPTIONS:
        found = times.get(option)
        for part in ("low", "median", "high"):
            seconds = None if found is None else getattr(found, part)
            cases.append(judged(f"option {option}, fp16: {part} of forward and backward, s", seconds))
    ratio = times["C"].median / times["A"].median if times else None
    cases.append(judged("fp16: time of option C over that of A", ratio, "at most", tolerance=1.0))
    return cases


def _layer(bench: Bench, option: ContractionOption) -> tuple[SpectralWeight, Tensor]:
    """The weight, the same in every option, and a spectrum of unit variance."""
    torch.manual_seed(0)
    weight = bench.make(lambda: LAYER.weight(option=option))
    assert isinstance(weight, SpectralWeight)
    return weight, _spectrum().to(bench.device).requires_grad_()


def _spectrum() -> Tensor:
    kept = kept_modes(LAYER.modes, LAYER.modes, LAYER.layout)
    return torch.randn(LAYER.batch, *kept.counts, LAYER.channels, 2, generator=torch.Generator().manual_seed(1))


def _contract(weight: SpectralWeight, s: Tensor, format: str) -> Tensor:
    kept = kept_modes(LAYER.modes, LAYER.modes, LAYER.layout)
    return weight.contract(s, kept, inputs=format, weights=format)


def _step(weight: SpectralWeight, s: Tensor, format: str) -> Step:
    # As the prediction has it, the spectrum is stored in the format already.
    s = s.detach().to(DTYPES[format]).requires_grad_()

    def step() -> None:
        y = _contract(weight, s, format)
        y.backward(torch.ones_like(y))
        weight.zero_grad(set_to_none=True)
        s.grad = None

    return step


def _exact() -> Tensor:
    """The same contraction on the CPU in float64, of the whole weight rebuilt."""
    torch.manual_seed(0)
    weight = LAYER.weight().double()
    with torch.no_grad():
        whole = torch.view_as_complex(weight.dense())
        s = torch.view_as_complex(_spectrum().double())
        return torch.view_as_real(torch.einsum("bxyi,xyio->bxyo", s, whole))


QUESTION = Question(
    "contraction",
    "Options A, B and C give the same numbers, take the memory predicted for them, and C is no slower than A.",
    "numbers 1e-5 in fp32, some hundred times its roundoff, and 0.02 in fp16, forty of its roundoffs for the six steps "
    "of a path; memory 15 % of the prediction, which has no workspaces and none of the copies that a batched product "
    "of strided operands makes inside; time at most that of A, of which the paper's C takes 4 %",
    70.0,
    contractions,
)
