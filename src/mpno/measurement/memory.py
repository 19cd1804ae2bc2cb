"""Predicted device memory: one real training step, traced on meta tensors in the true dtypes.

No data, no GPU: shapes and dtypes alone. Meta tensors take the path CUDA would take, so a half block is
counted in fp16 and complex32 also where this machine would simulate it. What a GPU's libraries allocate
beside tensors (context, FFT and matrix-product workspaces, allocator rounding) is not in the numbers.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from mpno.numerics import DTYPES
from mpno.specs import MpnoError, RunSpec
from mpno.specs.grid import grid_of
from mpno.specs.sets import BODIES
from mpno.spectral.fft import NotOnGPU
from mpno.training.build import build_loss, build_model


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
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def predict_bytes(
    spec: RunSpec, in_channels: int = 1, out_channels: int = 1, latent_channels: int = 1, *, body: Any = None
) -> dict[str, int] | None:
    """Predict the device memory of one training step of `spec` on its training grid, in a schedule's costliest phase.

    Args:
        spec: the run.
        in_channels, out_channels, latent_channels: of the data, as ``Samples.channels``.
        body: on bodies, the geometry whose numbers of points and edges count.

    Returns:
        Bytes of ``parameters``, ``gradients``, ``optimiser`` states (two per parameter), ``activations``
        (what the forward pass leaves for the backward) and the ``peak`` of the step, batch included; None
        for a format that no hardware stores, or a half transform of a grid that no GPU transforms.
    """
    if any(setting.format not in DTYPES for setting in spec.precision.variants):
        return None
    phases = [spec.model_copy(update={"precision": setting}) for _, setting in spec.precision.phases]
    x, y = _batch(spec, in_channels, out_channels, body)
    with torch.device("meta"):
        models = [build_model(phase, in_channels, out_channels, latent_channels) for phase in phases]
    try:
        steps = [_predict(phase, model, x, y) for phase, model in zip(phases, models, strict=True)]
    except NotOnGPU:
        return None
    return max(steps, key=lambda sizes: sizes["peak"])


def _batch(spec: RunSpec, in_channels: int, out_channels: int, body: Any) -> tuple[Any, Tensor]:
    if spec.data.name in BODIES:
        if body is None:
            raise MpnoError(f"predict_bytes: bodies of {spec.data.name} differ in their points; give one as body")
        return body.to("meta"), torch.empty(1, out_channels, len(body.points), device="meta")
    grid = grid_of(spec.data.resolution, spec.axes, name=spec.data.name)
    x, y = (torch.empty(spec.training.batch_size, n, *grid, device="meta") for n in (in_channels, out_channels))
    return x, y


def _predict(spec: RunSpec, model: nn.Module, x: Any, y: Tensor) -> dict[str, int]:
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    loss_of = build_loss(spec, periodic=True)
    given = [leaf for leaf in tree_iter((x, y)) if isinstance(leaf, Tensor)]
    counter = LiveBytes(apart=[*model.parameters(), *given])
    with counter:
        loss = loss_of(model(x), y)
        activations = counter.live
        loss.backward()
    gradients = sum(p.grad.numel() * p.grad.element_size() for p in model.parameters() if p.grad is not None)
    batch = sum(t.numel() * t.element_size() for t in given)
    # The update itself works in place, so the peak lies where activations and gradients meet.
    peak = 3 * parameters + batch + counter.peak
    return {
        "parameters": parameters,
        "gradients": gradients,
        "optimiser": 2 * parameters,
        "activations": activations,
        "peak": peak,
    }
