"""What a precision setting would do to a model: range, overflow margin, rounding error and memory, layer by layer."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mpno.models.audit_layers import Call, audit_layer
from mpno.models.audit_probe import Probe, SpectralLayer, spectral_layers
from mpno.models.audit_report import Audit
from mpno.models.audit_unseen import seeing_transforms
from mpno.models.audit_whole import FULL, Loss, Whole, first_line, run, set_all, tensors_of
from mpno.numerics import no_autocast
from mpno.specs import MpnoError, PrecisionSetting, get_format


def audit(
    model: nn.Module,
    batch: Any,
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
        batch: one input on the model's device: (batch, channels, *grid), or any pytree of tensors that forward takes
            as its one argument, as GINO does a :class:`Geometry`.
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
        MpnoError: the batch holds no floating-point tensor, or one that is empty or not finite, or the model fails on
            it; an unknown format or setting; a model in which nothing makes a Fourier transform, or that does not give
            a tensor or cannot be copied.

    Source: paper, section 4.3, for overflow of the unscaled transform; section 4.1 for the rounding error.
    """
    device = _checked(model, batch)
    plain, grids = _settings(settings, format), _grids(grids)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad(), no_autocast(device), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ComplexHalf support is experimental")  # which is what an audit measures
        twin = _copied(model).eval()
        layers = spectral_layers(twin)
        set_all(twin, layers, FULL)
        with _recording(layers) as calls, seeing_transforms(twin, set(layers), format) as unseen:
            output = _first_run(twin, batch)
        if not calls and not unseen:
            raise MpnoError(
                f"audit: {type(model).__name__} ran no spectral layer and no Fourier transform; {_way_out(model)}"
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
        type(model).__name__, device.type, _described(batch), get_format(format).name, rows, wholes, unseen.found
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


def _first_run(model: nn.Module, batch: Any) -> Tensor:
    try:
        return run(model, batch)
    except MpnoError:
        raise
    except Exception as error:  # whatever a user's model raises
        raise MpnoError(f"audit: the model failed on this batch: {first_line(error)}; give a batch it takes") from error


def _way_out(model: nn.Module) -> str:
    """What to do with a model in which there is nothing to judge."""
    if hasattr(model, "set_precision"):
        return "compare its outputs after set_precision('full') and set_precision('amp') instead"
    return (
        "build it with mpno's layers, or use mpno.convert(model) first, with mpno.register_adapter for layers it does "
        "not know"
    )


def _checked(model: Any, batch: Any) -> torch.device:
    """The device of a model and a batch that fit each other."""
    if not isinstance(model, nn.Module):
        raise MpnoError(f"audit: the model is a {type(model).__name__}; pass a torch.nn.Module")
    tensors = {f"the batch{path}": tensor for path, tensor in tensors_of(batch)}
    if not tensors:
        raise MpnoError(
            f"audit: the batch is a {type(batch).__name__}; pass the input tensor, (batch, channels, *grid), or a "
            "pytree that holds tensors, as a dict or a Geometry"
        )
    for parameter in model.parameters():
        for name, tensor in tensors.items():
            if parameter.device != tensor.device:
                raise MpnoError(
                    f"audit: {name} is on {tensor.device}, the model on {parameter.device}; move one with .to(device)"
                )
    _check_numbers(tensors)
    return next(iter(tensors.values())).device


def _check_numbers(tensors: dict[str, Tensor]) -> None:
    fields = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    if not fields:
        name, tensor = next(iter(tensors.items()))
        raise MpnoError(f"audit: {name} is {tensor.dtype}; pass floating-point numbers, as batch.float()")
    # Of several some may be empty: a body without fields on the latent grid has none.
    if not any(field.numel() for field in fields.values()):
        shapes = ", ".join(f"{name} has shape {tuple(field.shape)}" for name, field in fields.items())
        raise MpnoError(f"audit: {shapes}, no numbers; pass one sample or more")
    for name, field in fields.items():
        if not bool(field.isfinite().all()):
            count = int((~field.isfinite()).sum())
            raise MpnoError(f"audit: {count} of {field.numel()} numbers of {name} are NaN or infinite; clean it first")


def _described(batch: Any) -> str:
    """The shape, or what kind of container with the shapes of its fields."""
    if isinstance(batch, Tensor):
        return str(tuple(batch.shape))
    fields = [
        f"{path.lstrip('.')} {tuple(field.shape)}" for path, field in tensors_of(batch) if field.is_floating_point()
    ]
    return f"{type(batch).__name__} of {', '.join(fields)}"


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
