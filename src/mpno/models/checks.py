"""What a model's forward takes: one check for every model of fields, whose errors say how to mend the input."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor

from mpno.numerics.widen import widening
from mpno.specs import MpnoError, one_line
from mpno.specs.models import Architecture

Spec = TypeVar("Spec", bound=Architecture)


def check_field(
    model: str,
    x: Any,
    *,
    channels: int,
    axes: int,
    device: torch.device,
    modes: tuple[int, ...] | None = None,
    sphere: bool = False,
) -> None:
    """Refuse what is not a batch of fields that the model can take.

    A check of the numbers reads the whole input. It is made on a CPU alone, where it costs one pass over memory: an
    accelerator would have to wait for the answer, and there the training's own check of its loss finds what is not
    finite. It is left out while torch compiles or maps the model.

    Args:
        model: its name, with which the error begins.
        x: what forward got; wanted is fp32, or float64 within ``Widened``, (batch, channels, *grid).
        channels: the model's input channels.
        axes: of the grid.
        device: where the parameters lie.
        modes: kept along each axis, with signs both counted; every axis needs as many points. None: any grid does.
        sphere: whether the grid is (latitudes, longitudes) and `modes` (degrees, orders): n orders need 2n longitudes.

    Raises:
        MpnoError: in one line what came, what is wanted and what to do.
    """
    wanted = f"(batch, {channels}, {', '.join(('lat', 'lon') if sphere else ['n'] * axes)})"
    if not isinstance(x, Tensor):
        raise MpnoError(f"{model} got a {type(x).__name__}; it wants a tensor {wanted}; use torch.as_tensor")
    _check_shape(model, x, channels, axes, wanted)
    if x.dtype is not torch.float32 and not (x.dtype is torch.float64 and widening()):
        mend = "give real and imaginary parts as channels" if x.is_complex() else "call .float() on the input"
        raise MpnoError(f"{model} got dtype {_name(x.dtype)}; it wants float32, in every precision; {mend}")
    if x.device != device:
        raise MpnoError(
            f"{model} got an input on {x.device}, its parameters are on {device}; "
            f"move one with .to(), as in x.to('{device}')"
        )
    grid = tuple(x.shape[2:])
    if modes is not None:
        least = (modes[0], 2 * modes[1]) if sphere else tuple(modes)
        if any(points < wants for points, wants in zip(grid, least, strict=True)):
            raise MpnoError(
                f"{model} got a grid of {_times(grid)} points; its modes {_times(modes)} want at least "
                f"{_times(least)}; use a finer grid, or build the model with fewer modes"
            )
    if x.device.type == "cpu" and not _traced(x) and not bool(x.detach().sum().isfinite()):
        _refuse_not_finite(model, x.detach())


def spec_of(model: str, kind: type[Spec], spec: Spec | None, sizes: dict[str, Any]) -> Spec:
    """The spec given, or the one that `sizes`, its fields as keywords, make.

    Raises:
        MpnoError: both are given, or a field is unknown or not what it must be.
    """
    if spec is not None:
        if sizes:
            raise MpnoError(f"{model}: got a spec and {', '.join(sizes)} beside it; give sizes one way")
        return spec
    try:
        return kind.model_validate(sizes)
    except ValidationError as error:
        raise one_line(error, where=model, fields={"": sorted(kind.model_fields)}) from None


def check_sizes(model: str, in_channels: int, out_channels: int, spec: object, kind: type[Architecture]) -> None:
    """Refuse channels that are none, and the spec of another model.

    Raises:
        MpnoError: in one line what came and what is wanted.
    """
    if min(in_channels, out_channels) < 1:
        raise MpnoError(f"{model}({in_channels}, {out_channels}): channels in and out must be at least 1; give both")
    if not isinstance(spec, kind):
        raise MpnoError(
            f"{model}: spec is a {type(spec).__name__}; give a mpno.specs.{kind.__name__}, or use make_model"
        )


def _check_shape(model: str, x: Tensor, channels: int, axes: int, wanted: str) -> None:
    shape = f"{model} got shape {tuple(x.shape)}"
    if x.ndim != axes + 2:
        mend = "add the one missing, as in x[None] for the batch" if x.ndim == axes + 1 else "give it that many axes"
        raise MpnoError(f"{shape}; it wants {wanted}, {axes + 2} axes; {mend}")
    if x.shape[1] != channels:
        mend = f"axis 1 holds the channels: give {channels} there, or build the model with in_channels={x.shape[1]}"
        if x.shape[-1] == channels:
            mend = "if the channels come last, use x.movedim(-1, 1)"
        raise MpnoError(f"{shape}; it wants {wanted}; {mend}")
    if x.shape[0] == 0:
        raise MpnoError(f"{shape}, an empty batch; it wants {wanted} with at least one sample; skip empty batches")
    if 0 in x.shape:
        raise MpnoError(f"{shape}, a grid without points; it wants {wanted}; give every axis at least one point")


def _traced(x: Tensor) -> bool:
    """Whether `x` only stands for numbers, or for many tensors at once."""
    return (
        torch.compiler.is_compiling()
        or type(x) not in (Tensor, torch.nn.Parameter)
        or torch._C._functorch.is_functorch_wrapped_tensor(x)  # type: ignore[attr-defined]
    )


def _refuse_not_finite(model: str, x: Tensor) -> None:
    broken = ~x.isfinite()
    count = int(broken.sum())
    if not count:  # finite numbers whose sum overflows
        return
    first = broken.flatten().int().argmax()
    sample, channel, *point = (int(i) for i in torch.unravel_index(first, x.shape))
    raise MpnoError(
        f"{model} got an input with {count} of {math.prod(x.shape)} values NaN or infinite, the first "
        f"{x.flatten()[first].item()} at sample {sample}, channel {channel}, point {tuple(point)}; "
        "it wants finite numbers; mend or leave out these samples"
    )


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
