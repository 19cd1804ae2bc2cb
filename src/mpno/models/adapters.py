"""The spectral layers of other libraries that mpno knows, by structure rather than by import."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from mpno.models.kernels import CornerKernel, JointKernel, Kernel, SphericalKernel
from mpno.specs import MpnoError
from mpno.specs.names import Factorization

_CORNER_LAYER = re.compile(r"spectral_?conv", re.IGNORECASE)
_FACTORIZATIONS: dict[str, Factorization] = {"dense": "dense", "cp": "cp", "tucker": "tucker", "tt": "tt"}


@dataclass(frozen=True)
class Adapter:
    """How one kind of layer is recognised and read.

    Attributes:
        kind: what reports call it.
        matches: whether a module is such a layer.
        kernel: reads the layer's parameters; raises MpnoError where the layer uses something that mpno lacks.
    """

    kind: str
    matches: Callable[[nn.Module], bool]
    kernel: Callable[[Any], Kernel]


_registered: list[Adapter] = []


def register_adapter(
    known: type[nn.Module] | Callable[[nn.Module], bool], kernel: Callable[[Any], Kernel], *, kind: str | None = None
) -> None:
    """Teach :func:`mpno.convert` a spectral layer. What is registered last is asked first.

    Args:
        known: the layer's class, or a function that says of a module whether it is one. The layer's forward takes
            (batch, in, *grid) real and returns (batch, out, *grid).
        kernel: given the layer, returns a :class:`CornerKernel`, :class:`JointKernel` or :class:`SphericalKernel`
            of its parameters. It is called in every forward pass, so it should not copy, nor detach them. Define it
            at the top of a module where converted models are to be pickled.
        kind: what reports call the layer; by default the name of the class or function.

    A layer is converted only if it gives the same numbers as before on random weights, so a wrong kernel is found out.
    """
    if isinstance(known, type):
        _registered.insert(0, Adapter(kind or known.__name__, lambda module: isinstance(module, known), kernel))
    else:
        _registered.insert(0, Adapter(kind or getattr(known, "__name__", "registered"), known, kernel))


def find_adapter(module: nn.Module) -> Adapter | None:
    """The adapter for `module`, if there is one."""
    return next((adapter for adapter in (*_registered, *_BUILT_IN) if adapter.matches(module)), None)


def _from_neuralop(name: str) -> Callable[[nn.Module], bool]:
    def matches(module: nn.Module) -> bool:
        return any(
            cls.__name__ == name and cls.__module__.partition(".")[0] == "neuralop" for cls in type(module).__mro__
        )

    return matches


def _refuse_unless_plain(layer: Any) -> None:
    """What neuraloperator's layers can do besides, and mpno's cannot."""
    for name, plain in (
        ("complex_data", False),
        ("separable", False),
        ("resolution_scaling_factor", None),
        ("fno_block_precision", "full"),
    ):
        value = getattr(layer, name, plain)
        if value != plain:
            raise MpnoError(f"{name} is {value!r}; only {plain!r} is known")


def _neuralop_kernel(layer: Any) -> JointKernel:
    _refuse_unless_plain(layer)
    if not 1 <= layer.order <= 3:
        raise MpnoError(f"it has {layer.order} axes; 1 to 3 are known")
    weight = layer.weight
    parts = (weight,) if torch.is_tensor(weight) else _parts(weight)
    kind = "dense" if torch.is_tensor(weight) else _factorization(weight)
    return JointKernel(parts, kind, tuple(weight.shape[2:]), tuple(layer.n_modes), _bias(layer))


def _parts(weight: Any) -> tuple[Tensor, ...]:
    kind = _factorization(weight)
    if kind == "dense":
        return (weight.tensor,)
    head = {"cp": "weights", "tucker": "core"}.get(kind)
    return (*(() if head is None else (getattr(weight, head),)), *weight.factors)


def _factorization(weight: Any) -> Factorization:
    name = str(weight.name).lower().removeprefix("complex")
    if name not in _FACTORIZATIONS:
        raise MpnoError(f"its weight is factorised as {weight.name}; {', '.join(_FACTORIZATIONS)} are known")
    return _FACTORIZATIONS[name]


def _bias(layer: Any) -> Tensor | None:
    return None if layer.bias is None else layer.bias.flatten()


def _neuralop_spherical_kernel(layer: Any) -> SphericalKernel:
    _refuse_unless_plain(layer)
    if layer.sht_norm != "ortho":
        raise MpnoError(f"sht_norm is {layer.sht_norm!r}; only 'ortho' is known")
    first, second = layer.sht_grids
    if first != second or first not in ("equiangular", "legendre-gauss"):
        raise MpnoError(f"sht_grids are {first} and {second}; one of equiangular and legendre-gauss for both is known")
    degrees, orders = layer.n_modes
    # Factors of a zonal kernel are small beside the field: they are multiplied out, in fp32.
    weight = layer.weight.to_tensor()[:, :, :degrees]
    return SphericalKernel(weight, orders // 2, first, _bias(layer))


def _is_corner_layer(module: nn.Module) -> bool:
    weights = getattr(module, "weights1", None)
    return bool(_CORNER_LAYER.search(type(module).__name__)) and isinstance(weights, Tensor) and weights.is_complex()


def _corner_kernel(layer: nn.Module) -> CornerKernel:
    corners: list[Tensor] = []
    while isinstance(weights := getattr(layer, f"weights{len(corners) + 1}", None), Tensor):
        corners.append(weights)
    axes = corners[0].ndim - 2
    shapes = {tuple(weights.shape) for weights in corners}
    if not 1 <= axes <= 3 or len(corners) != 2 ** (axes - 1) or len(shapes) > 1:
        sizes = ", ".join(f"{tuple(weights.shape)}" for weights in corners)
        raise MpnoError(f"its weights have shapes {sizes}; 2^(axes - 1) equal ones, (in, out, *modes), are known")
    modes = tuple(getattr(layer, f"modes{axis + 1}", None) for axis in range(axes))
    held = tuple(corners[0].shape[2:])
    # Many copies of the layer call them otherwise (m1, k_max): what is not said is what the weights hold.
    if axes > 1 and any(said not in (None, holds) for said, holds in zip(modes, held, strict=True)):
        raise MpnoError(f"its modes are {modes}, its weights hold {held}; they must agree")
    named = {f"weights{index + 1}" for index in range(len(corners))}
    if more := sorted({name for name, _ in layer.named_parameters()} - named):
        raise MpnoError(f"it has other parameters too: {', '.join(more)}; write a kernel that says what they do")
    return CornerKernel(tuple(cast(list[Tensor], corners)))


_BUILT_IN = (
    Adapter("neuraloperator SpectralConv", _from_neuralop("SpectralConv"), _neuralop_kernel),
    Adapter("neuraloperator SphericalConv", _from_neuralop("SphericalConv"), _neuralop_spherical_kernel),
    Adapter("corner weights", _is_corner_layer, _corner_kernel),
)
