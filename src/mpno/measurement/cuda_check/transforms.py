"""The half transform of the GPU's library beside the simulated one: its values, its errors, and where it overflows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mpno.measurement.cuda_check.answers import Answer, Question, distance, grid_name
from mpno.measurement.cuda_check.bench import Bench
from mpno.measurement.cuda_check.record import Case, judged
from mpno.numerics import stabilise
from mpno.specs import get_format
from mpno.spectral.fft import fft_forward, fft_inverse
from mpno.spectral.modes import KeptModes, kept_modes

HALF = "fp16"
UNIT = 2.0**-11
"""Unit roundoff of fp16."""
GRIDS = ((64, 64), (128, 128), (256, 256), (32, 32, 32))
MODES = 16
CONSTANTS = (
    # The paper's sizes, and sums beside the maximum: 65536 is beyond it, 65024 below, each exact in half in any order.
    ((128, 128), 1.0),
    ((256, 256), 1.0),
    ((256, 256), 1.0 - 2.0**-7),
    ((128, 128), 4.0),
    ((32, 32, 32), 1.0),
    ((64, 64, 64), 1.0),
    ((64, 64, 64), 0.25 - 2.0**-9),
)
"""Grids, and the value that a field has everywhere."""


def overflow(bench: Bench) -> Answer:
    """Constant fields, whose largest coefficient is the number of points times the value."""
    cases: list[Case] = []
    for grid, value in CONSTANTS:
        total = math.prod(grid) * value
        name = f"{value:.8g} on {grid_name(grid)}, sum {total:.8g}: coefficients are finite"
        field = torch.full((1, *grid, 1), value).to(bench.device)
        cases.append(judged(name, _finite(bench, field), "equal", expected=total <= get_format(HALF).max))
    grid = (256, 256)
    field = stabilise(torch.ones(1, *grid, 1).to(bench.device), "tanh", HALF)
    name = f"tanh of 1 on {grid_name(grid)}, sum {math.prod(grid) * math.tanh(1):.8g}: coefficients are finite"
    cases.append(judged(name, _finite(bench, field), "equal", expected=True))
    name = "torch.fft refuses 96 points in half, as mpno does before it"
    cases.append(judged(name, _refuses(bench, 96), "equal", expected=True))
    return Answer(cases)


def values(bench: Bench) -> Answer:
    """Random fields and coefficients through both transforms and their gradients."""
    cases: list[Case] = []
    for grid in GRIDS:
        kept = kept_modes(grid, (MODES,) * len(grid))
        given = _inputs(kept)
        exact, simulated = _results(given, kept, "fp32"), _results(given, kept, HALF)
        there = tuple(x.to(bench.device) for x in given)
        native, single = _results(there, kept, HALF), _results(there, kept, "fp32")
        points, size = math.prod(grid), grid_name(grid)
        for what, found in native.items():
            allowed = 4 * UNIT * math.sqrt(math.log2(points))
            apart = distance(found, simulated[what])
            cases.append(
                judged(f"{what}, {size}: native from simulated, relative L2", apart, "at most", tolerance=allowed)
            )
            own, least = distance(found, exact[what]), distance(simulated[what], exact[what])
            name = f"{what}, {size}: error of native against fp32, relative L2"
            assert least is not None
            cases.append(judged(name, own, "at least", expected=least, tolerance=0.9 * least))
            name = f"{what}, {size}: fp32 here from fp32 on the CPU, relative L2"
            cases.append(judged(name, distance(single[what], exact[what]), "at most", tolerance=1e-5))
        stored = str(native["forward"].dtype).removeprefix("torch.")
        cases.append(judged(f"forward, {size}: stored as", stored, "equal", expected="complex32"))
    return Answer(cases)


def _finite(bench: Bench, field: Tensor) -> bool | None:
    grid = tuple(field.shape[1:-1])
    found = fft_forward(field, kept_modes(grid, (8,) * len(grid)), HALF)
    count = bench.number(torch.view_as_real(found).isfinite().all())
    return None if count is None else bool(count)


def _refuses(bench: Bench, points: int) -> bool | None:
    field = torch.ones(1, points, device=bench.device, dtype=torch.float16)
    if field.is_meta:
        return None
    try:
        torch.fft.rfft(field)
    except RuntimeError:
        return True
    return False


def _inputs(kept: KeptModes) -> tuple[Tensor, Tensor]:
    """A field of white noise in [-1, 1] and coefficients, both exact in half; each also serves as a gradient."""
    generator = torch.Generator().manual_seed(0)
    field = 2 * torch.rand(1, *kept.grid, 2, generator=generator) - 1
    coefficients = 32 * torch.randn(1, *kept.counts, 2, 2, generator=generator)
    rounded = (x.half().float() for x in (field, coefficients))
    field, pairs = rounded
    return field, torch.view_as_complex(pairs)


def _results(given: tuple[Tensor, ...], kept: KeptModes, format: str) -> dict[str, Tensor]:
    """Both transforms of a field and of coefficients, and the gradient of each with the other as what comes back."""
    field, coefficients = (x.clone().requires_grad_() for x in given)
    forward, inverse = fft_forward(field, kept, format), fft_inverse(coefficients, kept, format)
    (of_forward,) = torch.autograd.grad(forward, field, given[1].to(forward.dtype))
    (of_inverse,) = torch.autograd.grad(inverse, coefficients, given[0].to(inverse.dtype))
    found = {
        "forward": forward,
        "inverse": inverse,
        "gradient of forward": of_forward,
        "gradient of inverse": of_inverse,
    }
    return {what: value.detach() for what, value in found.items()}


OVERFLOW = Question(
    "overflow",
    "The half transform of the GPU's library overflows exactly where the sum of a constant field exceeds 65504.",
    "none: the values have so few digits that up to sixteen of them add up exactly in half, in any order, and sixteen "
    "sums again, so that 65024 must come out finite and 65536 must not",
    10.0,
    overflow,
)
VALUES = Question(
    "transform values",
    "Native half transforms and their gradients agree with the simulated ones, whose errors are the lower estimate.",
    "native from simulated 4 x 2^-11 x sqrt(log2 n) on n points: a transform that rounds in half at every stage, "
    "twiddle factors included, errs by about 2^-11 x sqrt(log2 n), and a wrong one by about 1; error of native at "
    "least 0.9 of the simulated: it rounds in the same places and perhaps in more, and 0.9 leaves room for chance; "
    "fp32 1e-5, some hundred times its roundoff",
    20.0,
    values,
)
