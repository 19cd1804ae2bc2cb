"""Whether every operation of every model has a kernel on the GPU, and gives the numbers that it gives on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mpno.measurement.cuda_check.answers import Answer, Question
from mpno.measurement.cuda_check.bench import Bench
from mpno.measurement.cuda_check.record import Case, failed, judged
from mpno.models import make_model
from mpno.models.graph import Geometry
from mpno.specs import ContractionSpec, FNOSpec, GINOSpec, ModelSpec, PrecisionSetting, SFNOSpec, UNetSpec
from mpno.specs.names import RunTransform

SETTINGS = ("full", "amp", "half", "mixed", "mixed-bf16")
TOLERANCES = {"full": 1e-3}
LOW = 0.05


def _tfno(**contraction: Any) -> FNOSpec:
    return FNOSpec(modes=(8, 8), width=8, layers=2, contraction=ContractionSpec.model_validate(contraction))


MODELS: dict[str, ModelSpec] = {
    "fno": FNOSpec(modes=(8, 8), width=8, layers=2),
    "fno, norm, 3-D": FNOSpec(modes=(4, 4, 4), width=8, layers=2, norm="group"),
    "tfno, cp, corners, A": _tfno(factorization="cp", rank=4, layout="corners", option="A"),
    "tfno, cp, corners, B": _tfno(factorization="cp", rank=4, layout="corners", option="B"),
    "tfno, cp, corners, C": _tfno(factorization="cp", rank=4, layout="corners", option="C"),
    "tfno, tucker": _tfno(factorization="tucker", rank=0.2),
    "tfno, tt": _tfno(factorization="tt", rank=0.2),
    "sfno": SFNOSpec(modes=(6, 6), width=8, layers=2),
    "gino": GINOSpec(modes=(4, 4, 4), width=8, layers=2, radius=0.4),
    "u-net": UNetSpec(features=4, depth=2),
}


def kernels(bench: Bench) -> Answer:
    """Loss and gradient of each model in each setting and transform that it has, one failure hiding no other."""
    cases: list[Case] = []
    for name, make, x, setting in _all():
        if not bench.has(PrecisionSetting.of(setting, where=name).format):
            continue
        tolerance = TOLERANCES.get(setting, LOW)
        with bench.clean():
            try:
                found = _numbers(bench, make, x)
            except (RuntimeError, NotImplementedError) as error:
                cases.append(failed(f"{name}: loss", error))
                continue
        expected = _numbers(Bench(torch.device("cpu")), make, x) if found else (None, None)
        for what, here, there in zip(("loss", "gradient"), found or (None, None), expected, strict=True):
            case = judged(f"{name}: {what}", here, "relative", expected=there, tolerance=tolerance)
            cases.append(case)
    return Answer(cases)


def _all() -> Iterator[tuple[str, Callable[[], nn.Module], Any, str]]:
    for title, spec in MODELS.items():
        x = _input(spec)
        for transform in _transforms(spec):
            for setting in SETTINGS[:2] if isinstance(spec, UNetSpec) else SETTINGS:

                def make(
                    spec: ModelSpec = spec, transform: RunTransform = transform, setting: str = setting
                ) -> nn.Module:
                    torch.manual_seed(0)
                    precision = PrecisionSetting.of(setting, where="measure cuda-check")
                    return make_model(spec, 1, 1, precision=precision, transform=transform)

                yield f"{title}, {transform}, {setting}", make, x, setting


def _transforms(spec: ModelSpec) -> tuple[RunTransform, ...]:
    if isinstance(spec, UNetSpec):
        return ("fft",)
    return ("sht", "matmul") if isinstance(spec, SFNOSpec) else ("fft", "matmul")


def _input(spec: ModelSpec) -> Any:
    """A batch of random fields, or a body of random points, on grids that every half transform takes."""
    generator = torch.Generator().manual_seed(1)
    if isinstance(spec, GINOSpec):
        points = torch.rand(50, 3, generator=generator)
        latent = torch.randn(1, 8, 8, 8, generator=generator)
        return Geometry.of(points, latent, torch.randn(50, 1, generator=generator), radius=spec.radius)
    axes = len(spec.modes) if isinstance(spec, FNOSpec) else 2
    grid = (16, 32) if isinstance(spec, SFNOSpec) else (16,) * axes
    return torch.randn(2, 1, *grid, generator=generator)


def _numbers(bench: Bench, make: Callable[[], nn.Module], x: Any) -> tuple[float, float] | None:
    """Mean square of the output and norm of its gradient; None of shapes."""
    model = bench.make(make)
    loss = model(x.to(bench.device)).float().square().mean()
    loss.backward()
    squares: list[Tensor] = [p.grad.float().square().sum() for p in model.parameters() if p.grad is not None]
    value, square = bench.number(loss), bench.number(torch.stack(squares).sum())
    return None if value is None or square is None else (value, math.sqrt(square))


QUESTION = Question(
    "kernels",
    "Every model takes a training step on the GPU in every setting and transform, with the numbers of the CPU.",
    "1e-3 in full, whose sums run in another order through a few layers; 0.05 in a low format, six roundoffs of bf16 "
    "in each of two blocks: a wrong operation is off by more than that, a different rounding by less",
    90.0,
    kernels,
)
