"""A whole model in one precision setting after the other: rounding error against float64, memory of a step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_iter, tree_leaves_with_path, tree_map_only

from mpno.models.audit_layers import relative_error
from mpno.models.audit_probe import Probe, SpectralLayer, spectral_layers
from mpno.models.audit_report import IN_FP32, NOT_HERE, ModelInSetting, worst_evidence
from mpno.numerics import DTYPES, evidence_of, set_precision, step_bytes
from mpno.numerics.widen import Widened
from mpno.specs import MpnoError, PrecisionSetting
from mpno.specs.names import Evidence, Stabiliser

Loss = Callable[[Tensor, Tensor], Tensor]
Stabilisers = dict[str, Stabiliser]
FULL = PrecisionSetting()
REFUSALS = (RuntimeError, TypeError, ValueError, KeyError, AssertionError)
"""What a model raises that cannot run in float64: torch's own refusals of a dtype or for want of memory, and those of
models that check or look up dtypes. Any other exception, mpno's own among them, is a bug and no property of the model.
"""


class Whole:
    """The model as a whole, in one setting after the other."""

    def __init__(
        self, model: nn.Module, layers: dict[str, SpectralLayer], batch: Any, loss: Loss, output: Tensor
    ) -> None:
        self.model, self.layers, self.batch, self.loss = model, layers, batch, loss
        self.target_shape = output.shape
        self.device = next(tensors_of(batch))[1].device
        # Models that are not mpno's get their real layers' format from torch.autocast.
        self.own = hasattr(model, "set_precision") or not layers
        self.references: dict[tuple[tuple[str, str], ...], tuple[Tensor, str, str]] = {}

    def audit(self, setting: PrecisionSetting, precisions: dict[str, PrecisionSetting]) -> ModelInSetting:
        set_all(self.model, self.layers, setting)
        y, trouble = self._output(setting)
        memory, missing = self._memory(setting)
        exact, kind, refusal = self._reference({name: p.stabiliser for name, p in precisions.items()})
        plain, *_ = self._reference(dict.fromkeys(precisions, "none"))
        return ModelInSetting(
            setting.label,
            math.inf if y is None else relative_error(y, exact),
            math.inf if y is None else relative_error(y, plain),
            kind,
            worst_evidence(self._evidence(precisions)),
            memory,
            "; ".join(filter(None, (trouble, missing, refusal))),
        )

    def _output(self, setting: PrecisionSetting) -> tuple[Tensor | None, str]:
        """In the setting, under torch.autocast where that is what brings real layers into its format."""
        device, real = self.device.type, setting.real
        try:
            if self.own or real == "fp32":
                return run(self.model, self.batch), ""
            if real not in DTYPES or not torch.amp.is_autocast_available(device):
                return run(self.model, self.batch), f"{IN_FP32}: torch.autocast has no {real} here"
            with torch.autocast(device, dtype=DTYPES[real]):
                return run(self.model, self.batch), ""
        except (MpnoError, RuntimeError) as error:
            return None, f"{NOT_HERE}: {first_line(error)}"

    def _evidence(self, precisions: dict[str, PrecisionSetting]) -> list[Evidence]:
        return [evidence_of(p, Probe(self.layers[name]).transform, self.device) for name, p in precisions.items()]

    def _reference(self, stabilisers: Stabilisers) -> tuple[Tensor, str, str]:
        """The model's output in float64 with these stabilisers, or in full and why it does not run in float64."""
        key = tuple(sorted(stabilisers.items()))
        if key not in self.references:
            set_all(self.model, self.layers, FULL)
            for name, layer in self.layers.items():
                layer.set_precision(PrecisionSetting(stabiliser=stabilisers[name]))
            try:
                self.references[key] = in_float64(self.model, self.batch, stabilisers), "float64", ""
            except REFUSALS as error:
                why = f"errors are against full, as the model does not run in float64: {first_line(error)}"
                self.references[key] = run(self.model, self.batch), "full", why
        return self.references[key]

    def _memory(self, setting: PrecisionSetting) -> tuple[dict[str, int] | None, str]:
        """Of a training step on meta tensors, or why there is none."""
        without = [p.format for p in setting.variants if p.format not in DTYPES]
        if without:
            return None, f"no memory: no hardware stores {without[0]}"

        try:
            twin = _with_tensors(self.model, _shape_of).train()
            with torch.enable_grad(), torch.device("meta"):
                x, y = tree_map_only(Tensor, _shape_of, self.batch), torch.empty(self.target_shape)
                placed = [*(tensor for _, tensor in tensors_of(x)), y]
                found = step_bytes(lambda: self.loss(twin(x), y), list(twin.parameters()), placed, list(twin.buffers()))
        except Exception as error:  # whatever a user's model cannot do on shapes alone
            return None, f"no memory: the model does not run on shapes alone: {first_line(error)}"
        autocast = not self.own and setting.real != "fp32"
        return found, "memory counts real layers in fp32: torch.autocast does not act on shapes" if autocast else ""


def first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def tensors_of(batch: Any) -> Iterator[tuple[str, Tensor]]:
    """Its tensors, each with its path from the batch: "" for the batch itself."""
    return ((keystr(path), leaf) for path, leaf in tree_leaves_with_path(batch) if isinstance(leaf, Tensor))


def in_float64(
    model: nn.Module, batch: Any, stabilisers: Stabilisers, see: Callable[[str, Tensor], None] | None = None
) -> Tensor:
    """The model's output in float64 with these stabilisers of its spectral layers, by name; the model stays as it is.

    Args:
        model: set to full precision.
        batch: what forward takes.
        stabilisers: of each spectral layer.
        see: called with the name and the input of each spectral layer, in the layer's layout, when it runs.

    Raises:
        What a model raises that does not run in float64, of :data:`REFUSALS`.
    """
    twin = _with_tensors(model, _widened)
    for name, layer in spectral_layers(twin).items():
        shown = None if see is None else partial(see, name)
        layer.forward = _exact_forward(Probe(layer), stabilisers[name], shown)  # type: ignore[assignment]
    with Widened():
        y = run(twin, tree_map_only(Tensor, _widened, batch))
    if y.dtype is not torch.float64:
        raise TypeError(f"it gives {y.dtype}")
    return y


def _exact_forward(probe: Probe, stabiliser: Stabiliser, see: Callable[[Tensor], None] | None) -> Callable[..., Tensor]:
    # What else a layer takes names the size of its result, which is the input's.
    def forward(x: Tensor, *_: Any, **__: Any) -> Tensor:
        if see is not None:
            see(x.detach().clone())
        return probe.exact(x, stabiliser).output

    return forward


def _with_tensors(model: nn.Module, change: Callable[[Tensor], Tensor]) -> nn.Module:
    """A copy whose parameters, buffers and other tensors of its modules are changed ones; what was shared stays so."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in tree_iter(vars(module)):
            if isinstance(value, nn.Parameter):
                memo[id(value)] = nn.Parameter(change(value.detach()), requires_grad=value.requires_grad)
            elif isinstance(value, Tensor):
                memo[id(value)] = change(value.detach())
    return copy.deepcopy(model, memo)


def _shape_of(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")


def _widened(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def set_all(model: nn.Module, layers: dict[str, SpectralLayer], setting: PrecisionSetting) -> None:
    if layers:
        set_precision(model, setting)


def run(model: nn.Module, batch: Any) -> Tensor:
    y = model(tree_map_only(Tensor, torch.clone, batch))
    if not isinstance(y, Tensor):
        raise MpnoError(
            f"audit: {type(model).__name__} returned {type(y).__name__}; wrap it in a module that returns the tensor"
        )
    return y
