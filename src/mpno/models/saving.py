"""A model as one file that says what it is: safetensors, with the frozen spec in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mpno.models.build import make_model
from mpno.numerics import set_precision
from mpno.specs import ModelSpec, MpnoError, PrecisionSetting, one_line, spec_fields
from mpno.specs.errors import inside
from mpno.specs.files import replacing
from mpno.specs.names import RunTransform

NAME = "model.safetensors"
"""What the file is called in the folder of a run."""
_KEY = "mpno"
LEAST = 64
"""Sizes that are not worth a look beforehand."""


class Header(BaseModel):
    """What a file of weights says of its model: all that :func:`mpno.models.make_model` wants, and `more`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelSpec
    in_channels: NonNegativeInt
    out_channels: PositiveInt
    precision: PrecisionSetting = PrecisionSetting()
    transform: RunTransform = "fft"
    latent_channels: NonNegativeInt = 1
    more: dict[str, Any] = {}


def save(model: nn.Module, path: Path | str, *, more: Mapping[str, Any] | None = None) -> None:
    """Write the weights of a model of mpno with its spec, channels, precision and transform; whole or not at all.

    Args:
        model: one that :func:`mpno.models.make_model` can make, on any device.
        path: the file.
        more: what else the file is to say, ready for JSON; :func:`read_header` gives it back.

    Raises:
        MpnoError: the model carries no spec, or the file cannot be written.
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    header = _header_of(model).model_copy(update={"more": dict(more or {})})
    # One text in one order: safetensors keeps several in any order, and equal runs have equal bytes.
    metadata = {_KEY: json.dumps(header.model_dump(mode="json"), sort_keys=True)}
    try:
        with replacing(Path(path)) as temporary:
            save_file(tensors, temporary, metadata=metadata)
    except (SafetensorError, OSError) as error:
        raise MpnoError(f"{path}: cannot be written ({error}); make room or choose another folder") from None


def load(
    path: Path | str,
    *,
    device: torch.device | str = "cpu",
    precision: PrecisionSetting | str | None = None,
    transform: RunTransform | None = None,
) -> nn.Module:
    """The model in a file of :func:`save`, or in the folder of a run, ready to be evaluated.

    Args:
        path: the file or the folder.
        device: where the model goes.
        precision, transform: other ones than it was saved with; the weights are the same in all.

    Returns:
        The model in evaluation mode, its parameters bit by bit as they were saved. Random numbers drawn afterwards
        are those that would have been drawn without the call.

    Raises:
        MpnoError: no such file, a file cut short or not written by mpno, weights that are not those of the
            architecture it names, or a device that is not here.
    """
    header = read_header(path)
    place = _place(path)
    try:
        tensors = load_file(place)
    except (SafetensorError, OSError) as error:
        raise MpnoError(f"{place}: cannot be read ({error}); save it again") from None
    where = f"{place}: model {header.model.name}"
    _check_size(header, tensors, where)

    def made() -> nn.Module:
        return make_model(
            header.model,
            header.in_channels,
            header.out_channels,
            precision=header.precision,
            transform=transform or header.transform,
            latent_channels=header.latent_channels,
        )

    with torch.random.fork_rng(devices=[]):
        # First without memory, for a spec may say more than the file holds.
        try:
            with inside(str(place)), torch.device("meta"):
                wanted = made().state_dict()
        except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
            raise MpnoError(f"{where} cannot be made ({error}); save it again") from None
        _check(wanted, tensors, where)
        model = made()
    # Assigned, not copied: parameters stored in half stay so.
    model.load_state_dict(tensors, assign=True)
    if precision is not None:
        set_precision(model, precision)
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise MpnoError(f"{place}: cannot go to device {device} ({error}); choose cpu") from None


def read_header(path: Path | str) -> Header:
    """What a file of weights, or that of a run's folder, says of its model.

    Raises:
        MpnoError: no such file, cut short, not written by mpno, or a spec that this version does not know.
    """
    place = _place(path)
    if not place.is_file():
        what = "no model.safetensors there; give the folder of a finished run, as results/desk/runs/ID"
        raise MpnoError(f"{path}: {what if Path(path).is_dir() else 'no such file; give a saved model or a run'}")
    try:
        with safe_open(place, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError) as error:
        raise MpnoError(f"{place}: no whole safetensors file ({error}); save it again") from None
    if text is None:
        raise MpnoError(f"{place}: carries no spec, so it was not written by mpno.save; make the model by make_model")
    return _read(text, place)


def _read(text: str, place: Path) -> Header:
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MpnoError(f"{place}: its spec is not JSON ({error}); save it again") from None
    try:
        return Header.model_validate(values)
    except ValidationError as error:
        raise one_line(error, where=str(place), fields=spec_fields(Header)) from None


def _place(path: Path | str) -> Path:
    path = Path(path)
    return path / NAME if path.is_dir() else path


def _header_of(model: nn.Module) -> Header:
    missing = [name for name in ("spec", "in_channels", "out_channels", "precision") if not hasattr(model, name)]
    if missing:
        raise MpnoError(
            f"save: {type(model).__name__} has no {missing[0]}, so nothing could load it; "
            "give a model of mpno, or save its state_dict by safetensors"
        )
    names = ("in_channels", "out_channels", "precision", "latent_channels")
    given: Any = {name: getattr(model, name) for name in names if hasattr(model, name)}
    transforms = [{"transform": module.transform} for module in model.modules() if hasattr(module, "transform")]
    return Header.model_validate({"model": model.spec, **given, **(transforms or [{}])[0]})


def _check_size(header: Header, found: Mapping[str, Tensor], where: str) -> None:
    """Refuse a spec with more layers than the file has weights, or wider than all of them together."""
    most = sum(tensor.numel() for tensor in found.values())
    said = {"in_channels": header.in_channels, "out_channels": header.out_channels, **header.model.model_dump()}
    for name, limit in (("layers", len(found)), ("depth", len(found)), *((name, most) for name in said)):
        value = said.get(name)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, int) and number > max(limit, LEAST) for number in numbers):
            raise MpnoError(f"{where} has {name} {value}, which {most} weights are too few for; save it again")


def _check(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights that are not the model's."""
    for verb, names in (("lacks", wanted.keys() - found.keys()), ("has besides", found.keys() - wanted.keys())):
        if names:
            rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise MpnoError(f"{where} {verb} {min(names)}{rest}; save it again with this version")
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            raise MpnoError(
                f"{where} has {name} of {tuple(found[name].shape)}, its spec says {tuple(tensor.shape)}; save it again"
            )
        if found[name].is_floating_point() != tensor.is_floating_point():
            raise MpnoError(f"{where} has {name} in {found[name].dtype}, not in {tensor.dtype}; save it again")
