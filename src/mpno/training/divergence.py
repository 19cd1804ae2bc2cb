"""Where the first number that is not finite came from.

Costs nothing while a training goes well: its loss is checked as it is, and only a step that failed is run again,
under watch.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from mpno.numerics.operations import name_of, storage_key, watching


@dataclass(frozen=True)
class Divergence:
    """A training that left the finite numbers: a result, not a failure.

    Attributes:
        epoch, step: where it was seen, both counted from 1.
        where: the first layer whose output was not finite, or what else was not.
        operation: the operation in it, and the function of mpno that called it; "" where none can be named.
        first: the step of the first loss that was not finite: loss scaling skips it and goes on.
    """

    epoch: int
    step: int
    where: str
    operation: str = ""
    first: int | None = None

    def __str__(self) -> str:
        origin = f"{self.where}, {self.operation}" if self.operation else self.where
        return f"diverged at epoch {self.epoch}, step {self.step}: first not finite in {origin}"


@dataclass(frozen=True)
class _Finding:
    """An operation whose output is not finite, with the findings that its inputs came from."""

    where: str
    operation: str
    sources: tuple[int, ...]


def first_not_finite(model: nn.Module, x: Any) -> tuple[str, str]:
    """Run `model` on `x`, a tensor or a geometry, once more and trace what is not finite in its output back to the
    first such operation.

    Returns:
        ``(where, operation)``: the path of the layer and the operation in it, as ``("blocks.1.conv", "fft_c2c in
        fft_forward")``. Without an operation: the parameters, where those are not finite already (the backward
        pass runs from the output, so the last one in the model broke first, unless all have), the input, or
        ``loss`` if the output is finite.
    """
    finite = {name: _finite(p) for name, p in model.named_parameters()}
    if not all(finite.values()):
        broken = "all" if not any(finite.values()) else [name for name, good in finite.items() if not good][-1]
        return f"parameters, after a gradient that was not finite: {broken}", ""
    if not all(_finite(leaf) for leaf in tree_iter(x) if isinstance(leaf, torch.Tensor)):
        return "input", ""
    findings: list[_Finding] = []
    # By the memory written to. Memory that is used again brings a finding of its own before its entry is asked for.
    latest: dict[int, int] = {}

    def see(path: str, func: Any, given: list[Tensor], made: list[Tensor]) -> None:
        for tensor in made:
            if _finite(tensor):
                continue
            sources = {latest[storage_key(t)] for t in given if storage_key(t) in latest and not _finite(t)}
            caller = "" if sources else _caller()
            findings.append(_Finding(path or "model", f"{name_of(func)}{caller}", tuple(sources)))
            latest[storage_key(tensor)] = len(findings) - 1

    with torch.no_grad(), watching(model, see):
        out = model(x)
    for tensor in tree_iter(out):
        if isinstance(tensor, torch.Tensor) and not _finite(tensor) and storage_key(tensor) in latest:
            found = findings[latest[storage_key(tensor)]]
            while found.sources:
                found = findings[min(found.sources)]
            return found.where, found.operation
    return "loss", ""


def _finite(tensor: Tensor) -> bool:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


_WHOLE = ("forward", "convolve", "convolve_sphere")
"""Functions that are all a module does: naming them would say nothing that its name does not."""


def _caller() -> str:
    """The function of mpno outermost below the running module and the whole of its layer, as `` in fft_forward``.

    Numerics' helpers, which round and hold, are not named: they say nothing about the layer.
    """
    caller = ""
    frame = sys._getframe(1)
    while frame is not None and not isinstance(frame.f_locals.get("self"), nn.Module):
        name, module = frame.f_code.co_name, frame.f_globals.get("__name__", "")
        inside = module.startswith("mpno.") and module != __name__ and not module.startswith("mpno.numerics.")
        if inside and name.isidentifier() and name not in _WHOLE:
            caller = f" in {name.lstrip('_')}"
        frame = frame.f_back
    return caller
