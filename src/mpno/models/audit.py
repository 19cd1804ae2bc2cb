"""What a precision setting would do to a model: range, overflow margin, rounding error and memory, layer by layer."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mpno.models.audit_layers import Call, audit_layer
from mpno.models.audit_probe import Probe, SpectralLayer, spectral_layers
from mpno.models.audit_report import Audit
from mpno.models.audit_unseen import seeing_transforms
from mpno.models.audit_whole import FULL, Loss, Whole, run, set_all
from mpno.numerics import no_autocast
from mpno.specs import MpnoError, PrecisionSetting, get_format


def audit(
    model: nn.Module,
    batch: Tensor,
    *,
    format: str = "fp16",
    settings: Sequence[str] = ("full", "amp", "half", "mixed"),
    grids: Sequence[int] = (),
    loss: Loss | None = None,
) -> Audit:
    """Say what each precision setting would do to `model` on `batch`, layer by layer, without touching the model.

    Every spectral layer is judged on the input that it gets in the model in full precision and in evaluation mode.
    Its exact output is computed in float64 from its weights; the margin to overflow is that of the exact numbers.

    Args:
        model: one of mpno's, or a model after :func:`mpno.convert`, whose real layers run under torch.autocast in
            amp and mixed. Of others only what their own Fourier transforms show is seen.
        batch: one input, (batch, channels, *grid), on the model's device.
        format: the low format of the settings.
        settings: short forms of precision settings; `format` is theirs unless they name one. A schedule counts as its
            phases.
        grids: numbers of grid points to foretell overflow for; by default each layer's grid refined 2 and 4 times
            along every axis.
        loss: of output and target, for the memory of a training step; mean square error by default.

    Returns:
        An :class:`Audit`, which prints itself. Parameters, buffers, gradients, training mode, precision setting and
        random state of `model` are as before: all is done on a copy.

    Raises:
        MpnoError: the batch is no tensor, empty or not finite; an unknown format or setting; a model in which nothing
            makes a Fourier transform, or that does not give a tensor or cannot be copied.

    Source: paper, section 4.3, for overflow of the unscaled transform; section 4.1 for the rounding error.
    """
    _check_batch(model, batch)
    plain, grids = _settings(settings, format), _grids(grids)
    devices = [batch.device] if batch.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad(), no_autocast(batch.device):
        twin = _copied(model).eval()
        layers = spectral_layers(twin)
        set_all(twin, layers, FULL)
        with _recording(layers) as calls, seeing_transforms(twin, set(layers), format) as unseen:
            output = run(twin, batch)
        if not calls and not unseen:
            raise MpnoError(
                f"audit: {type(model).__name__} ran no spectral layer and no Fourier transform; build it with mpno's "
                "layers, or use mpno.convert(model) first, with mpno.register_adapter for layers it does not know"
            )
        found = plain if layers else [FULL]
        precisions = {}
        for setting in found:
            set_all(twin, layers, setting)
            precisions[setting] = {name: Probe(layer).precision for name, layer in layers.items()}
        rows = tuple(audit_layer(call, [(s.label, precisions[s][call.layer]) for s in found], grids) for call in calls)
        whole = Whole(twin, layers, batch, loss or nn.functional.mse_loss, output)
        wholes = tuple(whole.audit(setting, precisions[setting]) for setting in found)
    return Audit(
        type(model).__name__, batch.device.type, tuple(batch.shape), get_format(format).name, rows, wholes, unseen.found
    )


@contextlib.contextmanager
def _recording(layers: dict[str, SpectralLayer]) -> Iterator[list[Call]]:
    """The input of every call of a spectral layer, in order."""
    calls: list[Call] = []
    counts = dict.fromkeys(layers, 0)

    def hook(name: str) -> Callable[..., None]:
        def see(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = args[0] if args else next(iter(kwargs.values()))
            counts[name] += 1
            # Cloned, since a model may go on to work in place.
            calls.append(Call(name, counts[name], Probe(layers[name]), x.detach().clone()))

        return see

    handles = [layer.register_forward_pre_hook(hook(name), with_kwargs=True) for name, layer in layers.items()]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever a user's model holds
        raise MpnoError(
            f"audit: {type(model).__name__} cannot be copied ({error}); audit it before hooks or tensors with a "
            "history are attached"
        ) from None


def _check_batch(model: Any, batch: Any) -> None:
    if not isinstance(model, nn.Module):
        raise MpnoError(f"audit: the model is a {type(model).__name__}; pass a torch.nn.Module")
    if not isinstance(batch, Tensor):
        raise MpnoError(
            f"audit: the batch is a {type(batch).__name__}; pass the input tensor, (batch, channels, *grid)"
        )
    if not batch.is_floating_point():
        raise MpnoError(f"audit: the batch is {batch.dtype}; pass floating-point numbers, as batch.float()")
    if batch.numel() == 0:
        raise MpnoError(f"audit: the batch has shape {tuple(batch.shape)}, no numbers; pass one sample or more")
    for parameter in model.parameters():
        if parameter.device != batch.device:
            raise MpnoError(
                f"audit: the batch is on {batch.device}, the model on {parameter.device}; move one with .to(device)"
            )
    if not bool(batch.isfinite().all()):
        count = int((~batch.isfinite()).sum())
        raise MpnoError(f"audit: {count} of {batch.numel()} numbers of the batch are NaN or infinite; clean it first")


def _settings(settings: Sequence[str], format: str) -> list[PrecisionSetting]:
    name = get_format(format).name
    if name == "fp32":
        raise MpnoError("audit: format fp32 is what full runs in; choose a lower one, as fp16 or bf16")
    if isinstance(settings, str) or not settings:
        raise MpnoError(f'audit: settings is {settings!r}; pass a sequence of short forms, as ("full", "mixed")')
    found: list[PrecisionSetting] = []
    for given in settings:
        try:
            setting = PrecisionSetting.model_validate(given)
            # fp16 is what a short form means that names no format.
            if setting.setting != "full" and setting.format == "fp16" and "fp16" not in str(given):
                setting = PrecisionSetting.model_validate({**dict(setting), "format": name})
        except ValidationError as error:
            message = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            raise MpnoError(f"audit: setting {given!r} {message}") from None
        found += [phase for _, phase in setting.phases]
    return list(dict.fromkeys(found))


def _grids(grids: Sequence[int]) -> tuple[int, ...]:
    for points in grids:
        if not isinstance(points, int) or points < 1:
            raise MpnoError(f"audit: grids holds {points!r}; give numbers of grid points, as 256 * 256")
    return tuple(grids)
