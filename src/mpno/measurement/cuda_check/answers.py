"""What a question of the check is, what answers it, and how two tensors are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mpno.measurement.cuda_check.bench import Bench
from mpno.measurement.cuda_check.record import Case


@dataclass(frozen=True)
class Answer:
    """The cases of a question, and losses step by step where it trains."""

    cases: list[Case]
    curves: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """One check.

    Attributes:
        name: as printed.
        verifies: the question, in a sentence.
        tolerance: what is allowed, and why that much; fixed before anything was measured.
        allowance: seconds that it may take on a slow GPU; without them left it is not begun.
        ask: answers it on a bench.
    """

    name: str
    verifies: str
    tolerance: str
    allowance: float
    ask: Callable[[Bench], Answer]


def distance(found: Tensor, reference: Tensor) -> float | None:
    """‖found - reference‖ / ‖reference‖ in float64 on the CPU; None of shapes."""
    if found.is_meta:
        return None
    expected = _wide(reference)
    assert found.shape == expected.shape, f"{tuple(found.shape)} beside {tuple(expected.shape)}"
    return float(torch.linalg.vector_norm(_wide(found) - expected) / torch.linalg.vector_norm(expected))


def _wide(x: Tensor) -> Tensor:
    x = x.detach().cpu()
    # By way of complex64, since complex32 has few conversions of its own.
    return x.to(torch.complex64).to(torch.complex128) if x.is_complex() else x.double()


def grid_name(grid: tuple[int, ...]) -> str:
    return " x ".join(map(str, grid))
