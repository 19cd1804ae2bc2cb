"""All that a training consists of between two epochs, and how it is taken down and put back bit for bit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mpno.specs import RunSpec
from mpno.training.build import build_model, build_optimizer, build_scheduler
from mpno.training.checkpoint import State
from mpno.training.records import Outcome
from mpno.training.samples import Samples
from mpno.training.techniques import Updater


@dataclass
class Progress:
    """A training between two epochs.

    Attributes:
        optimizer, scheduler, updater: what updates the weights of the model in `outcome`.
        order: draws the order of the samples.
        outcome: what it leaves so far.
        epoch, step: how many of each are done.
        first: the step of the first loss that was not finite, 0 for none.
        seconds: how long it has taken.
    """

    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    updater: Updater
    order: torch.Generator
    outcome: Outcome
    epoch: int = 0
    step: int = 0
    first: int = 0
    seconds: float = 0.0

    @classmethod
    def begin(cls, spec: RunSpec, samples: Samples) -> Progress:
        """A training of `spec` before its first epoch."""
        device = samples.x.device
        model = build_model(spec, *samples.channels).to(device)
        order = torch.Generator().manual_seed(spec.seed)
        batches = math.ceil(len(samples.x) / spec.training.batch_size)
        optimizer = build_optimizer(spec, model)
        scheduler = build_scheduler(spec, optimizer, math.ceil(batches / (spec.training.delayed_updates or 1)))
        return cls(optimizer, scheduler, Updater(optimizer, scheduler, spec.training), order, Outcome(model))

    @property
    def model(self) -> nn.Module:
        return self.outcome.model

    def state(self) -> State:
        """Tensors and plain numbers from which :meth:`restore` makes the same training."""
        optimizer = self.optimizer.state_dict()
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, values in optimizer["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        tensors |= {f"random.{name}": generator.get_state() for name, generator in self._generators()}
        plain = {
            "groups": optimizer["param_groups"],
            "scheduler": self.scheduler.state_dict(),
            "updater": self.updater.state_dict(),
            "history": self.outcome.history,
            "ranges": self.outcome.ranges,
            "metrics": self.outcome.metrics,
            "resumed": self.outcome.resumed,
            **{name: getattr(self, name) for name in _COUNTS},
        }
        return State(tensors, plain)

    def restore(self, state: State) -> None:
        """Go on from `state`, which a training of the same spec has left."""
        tensors, plain = state
        self.model.load_state_dict(_below("model.", tensors))
        count = sum(len(group["params"]) for group in self.optimizer.param_groups)
        found = {index: _below(f"optimizer.{index}.", tensors) for index in range(count)}
        values = {index: held for index, held in found.items() if held}
        groups = [group | {"betas": tuple(group["betas"])} for group in plain["groups"]]
        self.optimizer.load_state_dict({"state": values, "param_groups": groups})
        self.scheduler.load_state_dict(plain["scheduler"])
        self.updater.load_state_dict(plain["updater"])
        for name, generator in self._generators():
            generator.set_state(tensors[f"random.{name}"])
        outcome = self.outcome
        outcome.history, outcome.ranges, outcome.metrics = plain["history"], plain["ranges"], plain["metrics"]
        for name in _COUNTS:
            setattr(self, name, plain[name])
        outcome.seconds_before = self.seconds
        outcome.resumed = [*plain["resumed"], self.epoch]

    def _generators(self) -> Iterator[tuple[str, torch.Generator]]:
        """Those of the data order and of torch itself, on the CPU and on the device of the model."""
        yield "order", self.order
        yield "cpu", torch.default_generator
        device = next(self.model.parameters()).device
        if device.type == "cuda":
            yield "cuda", torch.cuda.default_generators[device.index or 0]


_COUNTS = ("epoch", "step", "first", "seconds")


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
