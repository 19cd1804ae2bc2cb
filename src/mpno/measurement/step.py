"""A run's training step on a GPU, predicted: traced byte by byte, and as nvidia-smi would show its process."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from mpno.measurement.accounting import Step, account
from mpno.measurement.allocator import reserved_bytes
from mpno.measurement.authors import AuthorsFNO, Execution
from mpno.measurement.libraries import CONTEXT_MIB, PRODUCTS
from mpno.models import FNO
from mpno.models.graph import Geometry
from mpno.specs import MpnoError, RunSpec
from mpno.specs.grid import grid_of
from mpno.specs.names import ContractionOption
from mpno.specs.sets import BODIES
from mpno.training.build import build_loss, build_model, build_optimizer

Implementation = Literal["ours", "authors"]
MIB = 2**20


@dataclass(frozen=True)
class Reading:
    """Memory of a training process in MiB, each part of the next.

    Attributes:
        allocated: the most that tensors and workspaces take at any moment of a step.
        reserved: what torch's allocator holds for that.
        shown: with CUDA's context, what nvidia-smi shows.
    """

    allocated: float
    reserved: float
    shown: float


def reading_of(step: Step) -> Reading:
    """What a process shows that makes this step again and again."""
    reserved = reserved_bytes(step, beside=PRODUCTS) / MIB
    return Reading(step.peak_bytes / MIB, reserved, reserved + CONTEXT_MIB)


@dataclass(frozen=True)
class Prepared:
    """A run's step on meta tensors, ready to be traced in whichever way.

    Attributes:
        model, optimizer: as the run has them.
        batch: every tensor of inputs and targets.
        loss_of: the forward pass.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batch: tuple[Tensor, ...]
    loss_of: Callable[[], Tensor]

    def __call__(self) -> None:
        """Make the step."""
        self.loss_of().backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def trace(self) -> Step:
        """Every byte of it.

        Raises:
            NotOnGPU: a half transform of a grid that no GPU transforms.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "ComplexHalf support is experimental")  # shapes alone are asked of it
            return account(self.loss_of, self.model, self.optimizer, self.batch)


def prepare_step(
    spec: RunSpec,
    channels: tuple[int, int, int] = (1, 1, 1),
    *,
    body: Geometry | None = None,
    implementation: Implementation = "ours",
    option: ContractionOption = "C",
    entry: bool = True,
) -> Prepared:
    """One step of `spec` on its training grid, in the first phase where its precision is a schedule.

    Args:
        spec: the run.
        channels: of input, output and latent grid.
        body: on bodies, the geometry whose numbers of points and edges count.
        implementation: `authors` runs an FNO as their code does, see :mod:`mpno.measurement.authors`.
        option, entry: of the authors' way, as of :class:`mpno.measurement.authors.Execution`.

    Raises:
        MpnoError: bodies without one, or a model that the authors' code does not have.
    """
    given, made, _ = channels
    with torch.device("meta"):
        model: nn.Module = build_model(spec, *channels)
        if implementation == "authors":
            if not isinstance(model, FNO):
                raise MpnoError(f"prepare_step: {spec.id} in the authors' implementation; allowed: an FNO on fields")
            model = AuthorsFNO(model, Execution.of(spec.precision.at(0.0), option=option, entry=entry))
            given += 2  # their grid coordinates are channels of the data
        x, y = _batch(spec, given, made, body)
    loss_of = build_loss(spec, periodic=None if spec.data.name in BODIES else True)
    batch = tuple(leaf for leaf in tree_iter((x, y)) if isinstance(leaf, Tensor))
    return Prepared(model, build_optimizer(spec, model), batch, lambda: loss_of(model(x).float(), y))


def _batch(spec: RunSpec, given: int, made: int, body: Geometry | None) -> tuple[Any, Tensor]:
    if spec.data.name in BODIES:
        if body is None:
            raise MpnoError(f"prepare_step: bodies of {spec.data.name} differ in their points; give one as body")
        return body.to("meta"), torch.empty(1, made, len(body.points))
    grid = grid_of(spec.data.resolution, spec.axes, name=spec.data.name)
    x, y = (torch.empty(spec.training.batch_size, count, *grid) for count in (given, made))
    return x, y
