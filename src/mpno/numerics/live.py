"""Bytes that operations keep alive, and what one training step of a model on meta tensors needs of them.

No data, no GPU: shapes and dtypes alone. Meta tensors take the path CUDA would take, so a half block is
counted in fp16 and complex32 also where this machine would simulate it. What a GPU's libraries allocate
beside tensors (context, FFT and matrix-product workspaces, allocator rounding) is not in the numbers.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """Count the bytes of the storages that operations make, alive at any moment, but for those of the tensors `apart`.

    A view of a parameter shares its storage, so parameters would else be counted as activations too.
    """

    def __init__(self, apart: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._seen: set[int] = {tensor.untyped_storage()._cdata for tensor in apart}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_iter(out):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.born(key, size)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.died(key, size)

    def born(self, key: int, size: int) -> None:
        """A storage of `size` bytes was made; `key` is its own until it dies."""
        self.live += size
        self.peak = max(self.peak, self.live)

    def died(self, key: int, size: int) -> None:
        """It is gone."""
        self.live -= size


def step_bytes(
    loss_of: Callable[[], Tensor],
    parameters: Sequence[Shaped[Tensor, "..."]],
    batch: Sequence[Shaped[Tensor, "..."]],
    buffers: Sequence[Shaped[Tensor, "..."]] = (),
) -> dict[str, int]:
    """Run one forward and backward pass and count what a training step with Adam keeps.

    Args:
        loss_of: runs the model and gives the loss.
        parameters: what the loss is differentiated by; their gradients are left in place.
        batch: inputs and targets.
        buffers: what else lies on the device throughout.

    Returns:
        Bytes of ``parameters``, ``gradients``, ``optimiser`` states (two per parameter), ``activations``
        (what the forward pass leaves for the backward) and the ``peak`` of the step, batch and buffers included.
    """
    counter = LiveBytes(apart=[*parameters, *buffers, *batch])
    with counter:
        loss = loss_of()
        activations = counter.live
        loss.backward()
    stored = _size(parameters)
    # The update itself works in place, so the peak lies where activations and gradients meet.
    peak = 3 * stored + _size(batch) + _size(buffers) + counter.peak
    return {
        "parameters": stored,
        "gradients": _size([p.grad for p in parameters if p.grad is not None]),
        "optimiser": 2 * stored,
        "activations": activations,
        "peak": peak,
    }


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
