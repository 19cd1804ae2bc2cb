"""Mixed precision inside other people's models: their spectral layers compute as mpno's, and stay what they are."""

from __future__ import annotations

import copy
import functools
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.models.adapters import find_adapter
from mpno.models.kernels import Kernel
from mpno.numerics import no_autocast
from mpno.numerics.aligned import aligned
from mpno.specs import MpnoError, PrecisionSetting, allowed
from mpno.specs.names import Transform

_SUSPECT = re.compile(r"(spectral|fourier|fno).*conv|conv.*(spectral|fourier|fno)", re.IGNORECASE)
_TRANSFORMS = frozenset(name for name in dir(torch.fft) if "fft" in name) | {"stft", "istft"}
_ALIKE = 1e-2
"""Relative distance up to which computations are the same. TF32 rounds by a twentieth of it, others are 1 apart."""


@dataclass(frozen=True)
class ConvertedLayer:
    """A spectral layer that computes as mpno's, with its path in the model, its kind and its setting's short form."""

    path: str
    kind: str
    setting: str


@dataclass(frozen=True)
class LeftLayer:
    """A module that may hold a spectral layer and was left as it is, with its path, its class and why."""

    path: str
    kind: str
    reason: str


@dataclass(frozen=True)
class ConversionReport:
    """What :func:`convert` did. Prints itself as a table."""

    converted: tuple[ConvertedLayer, ...]
    left: tuple[LeftLayer, ...]

    def __str__(self) -> str:
        rows = [(layer.path or "model", layer.kind, layer.setting) for layer in self.converted]
        rows += [(layer.path or "model", layer.kind, f"left as it is: {layer.reason}") for layer in self.left]
        return aligned(("layer", "kind", "computes in"), rows, left=3)


def convert(
    model: nn.Module, precision: PrecisionSetting | str = "mixed", *, transform: Transform = "fft"
) -> ConversionReport:
    """Let the spectral layers inside `model` compute in a precision setting.

    Works in place: each layer that mpno knows is given a class derived from its own whose forward is mpno's. The
    modules stay the same objects with the same parameters, attributes and hooks, so state_dict keeps its keys and
    shapes, and an optimiser made before or after goes on. The model's own forward is untouched. A layer is known by
    its structure (neuraloperator's SpectralConv and SphericalConv; Fourier layers with complex ``weights1`` ... by
    corners) or through :func:`register_adapter`, and is converted only if, on random weights and a random field, it
    gives the same numbers as before in full precision.

    Real layers are not converted. For ``amp`` and ``mixed`` run the model under torch.autocast, as without mpno; the
    spectral layers take no part in it. They return fp32, as before, but the format of their inverse transform where
    autocast is on. Complex parameters need :class:`mpno.GradScaler`, since torch's own refuses their gradients.

    ``half`` and ``mixed`` include tanh before the block, as the paper has it. A trained model, or one with a
    stabiliser of its own, is converted with ``"mixed, stabiliser none"``.

    Args:
        model: any module, also a spectral layer itself. Converted before, it gets another setting; ``"full"`` goes
            back to fp32, :func:`revert` to the layers' own forward.
        precision: a :class:`PrecisionSetting` or its short form. Layers count from 0 in the order of the report. The
            phases of a schedule are set with :func:`mpno.set_precision`.
        transform: ``fft``, or ``matmul`` (truncated transform as real matrix products, any grid in half).

    Returns:
        What was converted, and what may be spectral and was not.

    Raises:
        MpnoError: nothing was converted; or an unknown transform. The model is as before then.
    """
    setting = PrecisionSetting.of(precision, where="convert", packs=False)
    if transform not in ("fft", "matmul"):
        raise MpnoError(f"convert: transform {transform!r}; {allowed(transform, ('fft', 'matmul'))}")
    known, left = _survey(model)
    if not known:
        why = f"; left: {', '.join(f'{x.path or x.kind} ({x.reason})' for x in left[:3])}" if left else ""
        raise MpnoError(
            f"convert found no spectral layer in {type(model).__name__} that it knows{why}; "
            "say how to read yours with mpno.register_adapter(layer_class, kernel)"
        )
    converted = []
    for index, (path, layer, kind, kernel) in enumerate(known):
        own = setting.layer(index) if setting.layers else setting
        if not isinstance(layer, Converted):
            layer.__class__ = _converted_class(type(layer))
        layer.__dict__["_conversion"] = _Conversion(kind, kernel, own, transform)
        converted.append(ConvertedLayer(path, kind, own.label))
    return ConversionReport(tuple(converted), tuple(left))


def revert(model: nn.Module) -> None:
    """Undo :func:`convert`: every layer has its own class and forward again. Parameters stay as training left them.

    Raises:
        MpnoError: nothing in the model is converted.
    """
    found = [module for module in model.modules() if isinstance(module, Converted)]
    if not found:
        raise MpnoError(f"revert: no layer of {type(model).__name__} is converted; call mpno.convert(model) first")
    for layer in found:
        layer.__class__ = _base_of(layer)  # type: ignore[assignment]
        del layer.__dict__["_conversion"]


@dataclass(frozen=True)
class _Conversion:
    """What a converted layer keeps beside its own attributes."""

    kind: str
    kernel: Callable[[Any], Kernel]
    precision: PrecisionSetting
    transform: Transform


class Converted(nn.Module):
    """Mixed into the class of a layer that :func:`convert` has converted."""

    _conversion: _Conversion

    def set_precision(self, precision: PrecisionSetting | str) -> None:
        """Run in another setting from now on; the parameters stay as they are."""
        old, setting = self._conversion, PrecisionSetting.of(precision, where="a converted layer", packs=False)
        self.__dict__["_conversion"] = _Conversion(old.kind, old.kernel, setting, old.transform)

    def forward(self, x: Float[Tensor, "b i *grid"], *sizes: Any, **named: Any) -> Float[Tensor, "b o *grid"]:
        """Convolve a field, (batch, channels, *grid). Sizes of the result that other layers take may name its grid."""
        for value in (*sizes, *named.values()):
            if value is not None and tuple(value) != tuple(x.shape[2:]):
                raise MpnoError(
                    f"{type(self).__name__} got a field on {tuple(x.shape[2:])} and was asked for one on {value}; a "
                    "converted layer keeps the grid: resample outside it, or mpno.revert the model"
                )
        conversion = self._conversion
        with no_autocast(x.device):
            y = _convolve(self, conversion.kernel(self), x, conversion.precision, conversion.transform)
        on = torch.amp.is_autocast_available(x.device.type) and torch.is_autocast_enabled(x.device.type)
        return y if on else y.float()

    def extra_repr(self) -> str:
        own, conversion = super().extra_repr(), self._conversion
        return ", ".join([*([own] if own else []), f"{conversion.precision}, {conversion.transform}"])

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The class is made at run time, so copies and pickles name the one that it was made from.
        return _remake, (_base_of(self),), self.__getstate__()


def _convolve(layer: nn.Module, kernel: Kernel, x: Tensor, precision: PrecisionSetting, transform: Transform) -> Tensor:
    axes = len(kernel.smallest_grid)
    if x.ndim != axes + 2 or x.shape[1] != kernel.in_channels:
        want = ", ".join([str(kernel.in_channels), *"n" * axes])
        raise MpnoError(f"{type(layer).__name__} got shape {tuple(x.shape)}; it wants (batch, {want})")
    if x.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise MpnoError(
            f"{type(layer).__name__} got {x.dtype}; a converted layer takes float32, float16 or bfloat16: mpno.revert "
            "the model for others"
        )
    return kernel.convolve(layer, x.movedim(1, -1), precision, transform).movedim(-1, 1)


@functools.cache
def _converted_class(base: type[nn.Module]) -> type[Converted]:
    namespace = {"__module__": base.__module__, "__doc__": base.__doc__, "_converted_from": base}
    made = types.new_class(f"Mpno{base.__name__}", (Converted, base), {}, lambda body: body.update(namespace))
    return cast(type[Converted], made)


def _base_of(layer: Converted) -> type[nn.Module]:
    return layer._converted_from  # type: ignore[return-value]


def _remake(base: type[nn.Module]) -> nn.Module:
    return object.__new__(_converted_class(base))


_Known = tuple[str, nn.Module, str, Callable[[Any], Kernel]]


def _survey(model: nn.Module) -> tuple[list[_Known], list[LeftLayer]]:
    """The layers that can be converted, and the modules that look spectral and cannot; each module once."""
    known: list[_Known] = []
    left: list[LeftLayer] = []
    seen: set[int] = set()

    def visit(module: nn.Module, path: str, listed: bool) -> None:
        if id(module) in seen:
            return
        seen.add(id(module))
        if isinstance(module, Converted):
            conversion = module._conversion
            known.append((path, module, conversion.kind, conversion.kernel))
            return
        if any(base.__module__.partition(".")[0] == "mpno" for base in type(module).__mro__):
            if hasattr(module, "set_precision"):
                left.append(LeftLayer(path, type(module).__name__, "it is mpno's own; use mpno.set_precision"))
            return
        if adapter := find_adapter(module):
            reason = _objection(module, adapter.kernel)
            if reason is None:
                known.append((path, module, adapter.kind, adapter.kernel))
            else:
                left.append(LeftLayer(path, type(module).__name__, reason))
            return
        if not listed and (reason := _suspicion(module)):
            left.append(LeftLayer(path, type(module).__name__, reason))
            listed = True
        for name, child in module.named_children():
            visit(child, f"{path}.{name}" if path else name, listed)

    visit(model, "", False)
    return known, left


def _suspicion(module: nn.Module) -> str | None:
    """Why a module that no adapter knows may be spectral."""
    if any(p.is_complex() for p in module.parameters(recurse=False)):
        return "it has complex parameters"
    if type(module).__module__.partition(".")[0] == "torch":
        return None
    if called := _TRANSFORMS & _names(type(module)):
        # The module torch.fft has a function's name.
        return f"it calls {', '.join(sorted(called - {'fft'} or called))}"
    return "its name says so" if _SUSPECT.search(type(module).__name__) else None


def _names(cls: type) -> set[str]:
    """What the methods of a class, those it inherits below nn.Module included, name."""
    own = [base for base in cls.__mro__ if not issubclass(nn.Module, base)]
    codes = [getattr(f, "__code__", None) for base in own for f in vars(base).values()]
    return {name for code in codes if code is not None for inner in _nested(code) for name in inner.co_names}


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def _objection(layer: nn.Module, kernel: Callable[[Any], Kernel]) -> str | None:
    """Why a layer cannot be converted: its kernel says so, or computes something else than it does."""
    try:
        read = kernel(layer)
    except MpnoError as error:
        return str(error)
    tensors = [*layer.parameters(), *layer.buffers()]
    if any(t.dtype in (torch.complex128, torch.float64) for t in tensors):
        return "its parameters are in double precision"
    if any(t.is_meta for t in tensors):
        return None  # nothing to compare
    try:
        distance = _distance(layer, kernel, read)
    except Exception as error:  # whatever a foreign layer raises is the reason to leave it
        return f"it could not be compared with its kernel: {type(error).__name__}: {' '.join(str(error).split())}"
    if distance <= _ALIKE:
        return None
    return f"its forward is not the one that its structure suggests, {distance:.2g} apart in the norm"


@torch.no_grad()
def _distance(layer: nn.Module, kernel: Callable[[Any], Kernel], read: Kernel) -> float:
    """How far a copy of a layer with random weights is from its kernel, on a random field, relative in the norm."""
    probe, generator = copy.deepcopy(layer), torch.Generator().manual_seed(0)
    for p in probe.parameters():
        p.copy_(torch.randn(p.shape, dtype=p.dtype, generator=generator))
    device = next(probe.parameters()).device
    x = torch.randn(2, read.in_channels, *read.smallest_grid, generator=generator).to(device)
    with no_autocast(device):
        want = probe.forward(x.clone())
        got = _convolve(probe, kernel(probe), x, PrecisionSetting(), "fft")
    if got.shape != want.shape:
        raise MpnoError(f"it gives shape {tuple(want.shape)}, its kernel {tuple(got.shape)}")
    return float((got - want).norm() / want.norm())
