"""Every tensor operation that a model runs, with the module it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

See = Callable[[str, Any, list[Tensor], list[Tensor]], None]
"""Called with module path, operator, input tensors and output tensors, after the operation has run."""


@contextmanager
def watching(model: nn.Module, see: See) -> Iterator[None]:
    """Call `see` for every operation inside; the path is that of the innermost module running, "" outside all."""
    paths = [""]
    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(_entering(paths, name), prepend=True))
        handles.append(module.register_forward_hook(lambda *_: _leave(paths), always_call=True))
    try:
        with _Mode(paths, see):
            yield
    finally:
        for handle in handles:
            handle.remove()


def name_of(func: Any) -> str:
    """An operator's plain name, as ``fft_r2c`` for ``aten::_fft_r2c``."""
    return str(func.overloadpacket.__name__).lstrip("_")


def storage_key(tensor: Tensor) -> int:
    """The same for all tensors that share memory, while one of them lives."""
    return tensor.untyped_storage()._cdata


def is_in_place(func: Any) -> bool:
    """Whether the operator writes into memory that was there before."""
    return any(result.alias_info is not None and result.alias_info.is_write for result in func._schema.returns)


def _entering(paths: list[str], name: str) -> Callable[..., None]:
    return lambda *_: paths.append(name)


def _leave(paths: list[str]) -> None:
    paths.pop()


class _Mode(TorchDispatchMode):
    def __init__(self, paths: list[str], see: See) -> None:
        super().__init__()
        self.paths, self.see = paths, see

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = [leaf for leaf in tree_iter((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        self.see(self.paths[-1], func, given, [leaf for leaf in tree_iter(out) if isinstance(leaf, torch.Tensor)])
        return out
