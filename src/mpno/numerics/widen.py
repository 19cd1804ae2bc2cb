"""Running code that asks for fp32 in float64."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

_WIDER = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}


class Widened(TorchDispatchMode):
    """Within it, operations that are told to make a narrower dtype make float64 or complex128.

    A module in double whose code says ``.float()``, or makes a grid in the default dtype, so stays in float64 from
    end to end; torch's default dtype is float64 meanwhile. Tensors that exist already, and those that code keeps for
    later calls, are not its business: what caches tensors must not run within it.
    """

    def __enter__(self) -> Widened:
        self._default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.set_default_dtype(self._default)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if "dtype" in kwargs:
            kwargs["dtype"] = _WIDER.get(kwargs["dtype"], kwargs["dtype"])
        args = tuple(_WIDER.get(arg, arg) if isinstance(arg, torch.dtype) else arg for arg in args)
        return func(*args, **kwargs)


def widening() -> bool:
    """Whether :class:`Widened` is in force, where float64 stands for fp32."""
    return any(isinstance(mode, Widened) for mode in _get_current_dispatch_mode_stack())
