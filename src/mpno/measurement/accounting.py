"""Every byte of one training step: what it is, which layer made it, when it came and when it went.

Traced on meta tensors, which take the path that CUDA takes: shapes and dtypes are exact, and nothing is computed. What
a GPU's libraries add is in :mod:`mpno.measurement.libraries`, what its allocator adds in
:mod:`mpno.measurement.allocator`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter
from torch.utils.weak import WeakTensorKeyDictionary

from mpno.measurement.libraries import workspace
from mpno.numerics import LiveBytes

Kind = Literal["parameters", "gradients", "optimiser", "data", "activations", "temporaries", "workspaces"]
KINDS: tuple[Kind, ...] = ("parameters", "gradients", "optimiser", "data", "activations", "temporaries", "workspaces")
"""data: batch and buffers. activations: what the forward pass leaves for the backward. temporaries: whatever else an
operation makes. workspaces: what a GPU's library borrows beside its operands."""
PHASES = ("forward", "backward", "optimiser")


@dataclass
class Block:
    """A storage of `size` bytes, alive from event `born` until event `died`, both of the step's sequence of events.

    Those of the whole step (parameters, optimiser states, data) are born at -1 and never die.
    """

    size: int
    born: int
    layer: str
    kind: Kind = "temporaries"
    died: int | None = None


@dataclass(frozen=True)
class Step:
    """One training step.

    Attributes:
        blocks: every storage, in the order in which they were made.
        ends: per phase of :data:`PHASES` the number of events when it ended.
    """

    blocks: tuple[Block, ...]
    ends: tuple[int, int, int]

    def timeline(self, by: Callable[[Block], str] = lambda block: block.kind) -> dict[str, list[int]]:
        """Live bytes after every event, by kind or by what else `by` names."""
        changes: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for block in self.blocks:
            changes[by(block)][block.born] += block.size
            if block.died is not None:
                changes[by(block)][block.died] -= block.size
        lines = {}
        for name, change in changes.items():
            live = change.get(-1, 0)
            lines[name] = line = []
            for event in range(self.ends[-1]):
                live += change.get(event, 0)
                line.append(live)
        return lines

    def peak(self, by: Callable[[Block], str] = lambda block: block.kind) -> dict[str, int]:
        """Live bytes at the moment when most are live, by kind or by what else `by` names."""
        lines = self.timeline(by)
        totals = [sum(live) for live in zip(*lines.values(), strict=True)]
        at = totals.index(max(totals))
        return {name: line[at] for name, line in lines.items()}

    @property
    def peak_bytes(self) -> int:
        return sum(self.peak().values())

    def phase_of_peak(self) -> str:
        totals = [sum(live) for live in zip(*self.timeline().values(), strict=True)]
        at = totals.index(max(totals))
        return next(phase for phase, end in zip(PHASES, self.ends, strict=True) if at < end)

    def share(self, kind: Kind) -> int:
        """Bytes of a kind that lives through a whole phase: parameters, gradients, optimiser, data, activations."""
        return sum(block.size for block in self.blocks if block.kind == kind)


def account(
    loss_of: Callable[[], Tensor],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Sequence[Tensor],
) -> Step:
    """Trace forward, loss, backward and update of a model on meta tensors.

    Args:
        loss_of: runs the model and gives the loss.
        model: on meta, as its layers' names are wanted.
        optimizer: of its parameters. Its states are made first, so that this is a step like any but the first. On meta
            it cannot be fused, so the temporaries of an update are those of one parameter after the other.
        batch: inputs and targets.
    """
    parameters = list(model.parameters())
    _warm(optimizer, parameters)
    states = [leaf for leaf in tree_iter(list(optimizer.state.values())) if isinstance(leaf, Tensor)]
    data = [*batch, *model.buffers()]
    ledger = _Ledger(apart=[*parameters, *states, *data])
    on_device = [state for state in states if state.is_meta]  # torch counts steps on the host
    for kind, tensors in (("parameters", parameters), ("optimiser", on_device), ("data", data)):
        ledger.hold(kind, tensors)
    with _layers(model, ledger), ledger:
        loss = loss_of()
        ledger.end_of_forward()
        loss.backward()
        del loss
        ledger.end_of_backward(parameters)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ledger.end()
    return Step(tuple(ledger.blocks), ledger.ends)


def _warm(optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor]) -> None:
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@dataclass
class _Where:
    layer: str = ""
    stack: list[str] = field(default_factory=list[str])


class _Ledger(LiveBytes):
    def __init__(self, apart: Sequence[Tensor]) -> None:
        super().__init__(apart)
        self.blocks: list[Block] = []
        self.where = _Where()
        self._alive: dict[int, Block] = {}
        self._events = 0
        self._ends: list[int] = []

    @property
    def ends(self) -> tuple[int, int, int]:
        first, second, third = self._ends
        return first, second, third

    def hold(self, kind: Any, tensors: Iterable[Tensor]) -> None:
        self.blocks += [Block(tensor.untyped_storage().nbytes(), -1, "", kind) for tensor in tensors]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        for size in workspace(func, args, out):
            self.blocks.append(Block(size, self._events, self.where.layer, "workspaces", self._events + 1))
            self._events += 2
        return out

    def born(self, key: int, size: int) -> None:
        super().born(key, size)
        self._alive[key] = block = Block(size, self._events, self.where.layer)
        self.blocks.append(block)
        self._events += 1

    def died(self, key: int, size: int) -> None:
        super().died(key, size)
        block = self._alive.pop(key, None)
        if block is not None:
            block.died = self._events
            self._events += 1

    def end_of_forward(self) -> None:
        for block in self._alive.values():
            block.kind = "activations"
        self._ends.append(self._events)

    def end_of_backward(self, parameters: Iterable[Tensor]) -> None:
        for parameter in parameters:
            if parameter.grad is not None:
                self._alive[parameter.grad.untyped_storage()._cdata].kind = "gradients"
        self._ends.append(self._events)

    def end(self) -> None:
        self._ends.append(self._events)
        self._alive.clear()


@contextmanager
def _layers(model: nn.Module, ledger: _Ledger) -> Iterator[None]:
    """Within it the ledger knows whose operations run: by hooks forward, by the outputs' gradients backward."""
    where = ledger.where
    # A module that hands on what its last child made leaves that to the child.
    named = WeakTensorKeyDictionary()

    def enter(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            where.stack.append(where.layer)
            where.layer = name

        return hook

    def leave(name: str) -> Callable[..., None]:
        def back(_: Tensor) -> None:
            where.layer = name

        def hook(_: nn.Module, __: Any, out: Any) -> None:
            where.layer = where.stack.pop()
            for leaf in tree_iter(out):
                if isinstance(leaf, Tensor) and leaf.requires_grad and leaf not in named:
                    named[leaf] = name
                    leaf.register_hook(back)

        return hook

    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(name)))
        handles.append(module.register_forward_hook(leave(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
