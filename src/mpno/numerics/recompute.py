"""Saving less than a tensor for the backward pass: a recipe of what is cheap to make again, or codes of eight bits."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from mpno.numerics.packing import Packed

_SMALL = 1024
"""Values below which a tensor is kept as it is."""


class _Recipe:
    """How to make a tensor again. Between its first and its last use in a backward pass the tensor is kept."""

    def __init__(self, make: Callable[[], Tensor], made: Tensor) -> None:
        self.make, self.uses = make, 0
        self.value: Tensor | None = None
        self.original = weakref.ref(made.untyped_storage())

    def get(self) -> Tensor:
        if self.value is not None:
            return self.value
        with torch.no_grad():
            value = self.make()
        self.value = value if self.uses else None
        return value


class _Saved:
    """What autograd keeps: the tensor itself, or how to view what is packed or the result of a recipe."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor: Tensor | None = tensor
        self.recipe: _Recipe | None = None
        self.packed: Packed | None = None
        self.view = (tensor.shape, tensor.stride(), tensor.storage_offset())

    def replace(self, recipe: _Recipe) -> None:
        self.tensor, self.recipe = None, recipe
        recipe.uses += 1

    def pack(self, packed: Packed) -> None:
        self.tensor, self.packed = None, packed

    def load(self) -> Tensor:
        if self.packed is not None:
            return self.packed.unpack().as_strided(*self.view)
        if self.recipe is None:
            assert self.tensor is not None
            return self.tensor
        value = self.recipe.get()
        self.recipe.uses -= 1
        if self.recipe.uses == 0:
            self.recipe.value = None
        return value.as_strided(*self.view)


class _Book:
    """What one forward pass saves: recipes and what is packed, by the storage of what they stand for.

    Args:
        recompute: whether there are recipes at all.
        format: what is packed to; None packs nothing.
        apart: tensors whose storages are there anyway.
    """

    def __init__(self, recompute: bool, format: str | None, apart: Iterable[Tensor]) -> None:
        self.recompute, self.format = recompute, format
        self.recipes: dict[int, _Recipe] = {}
        self.latest: list[_Saved] = []
        self.cooking = False
        self.apart: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensor in apart:
            self.exempt(tensor)
        # Operations that save the same tensor share one copy; a change in place makes it another tensor.
        self.packed: dict[tuple[int, torch.dtype, int], tuple[weakref.ref[torch.UntypedStorage], Packed]] = {}

    def find(self, tensor: Tensor) -> _Recipe | None:
        recipe = self.recipes.get(tensor.untyped_storage()._cdata)
        # An address is given out anew once its tensor is gone; the weak reference tells.
        return None if recipe is None or recipe.original() is None else recipe

    def save(self, tensor: Tensor) -> _Saved:
        saved = _Saved(tensor)
        if recipe := self.find(tensor):
            saved.replace(recipe)
        elif self.cooking:
            self.latest.append(saved)
        else:
            self._pack(saved)
        return saved

    def exempt(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self.apart[storage._cdata] = weakref.ref(storage)

    def _pack(self, saved: _Saved) -> None:
        if saved.tensor is not None and (packed := self._packed(saved.tensor)) is not None:
            saved.pack(packed)

    def _packed(self, tensor: Tensor) -> Packed | None:
        """The whole storage of a tensor, packed, of which the tensor may be a view; None for what is left as it is."""
        storage = tensor.untyped_storage()
        count = storage.nbytes() // tensor.element_size()
        if self.format is None or not tensor.is_floating_point() or count < _SMALL or self._is_apart(storage):
            return None
        key = storage._cdata, tensor.dtype, tensor._version
        known = self.packed.get(key)
        if known is None or known[0]() is None:
            values = tensor.detach().as_strided((count,), (1,), 0)
            known = self.packed[key] = (weakref.ref(storage), Packed(values, self.format))
        return known[1]

    def _is_apart(self, storage: torch.UntypedStorage) -> bool:
        known = self.apart.get(storage._cdata)
        return known is not None and known() is not None

    def cook(self, function: Callable[..., Tensor], inputs: tuple[Tensor, "..."]) -> Tensor:
        if not self.recompute:
            return function(*inputs)
        self.latest.clear()
        self.cooking = True
        try:
            value = function(*inputs)
        finally:
            self.cooking = False
        storage = value.untyped_storage()._cdata
        if any(tensor.untyped_storage()._cdata == storage for tensor in inputs):
            self._pack_latest()
            return value  # nothing was made
        sources = [self._source(tensor) for tensor in inputs]
        recipe = _Recipe(lambda: function(*(source() for source in sources)), value)
        self.recipes[storage] = recipe
        # An operation that keeps its own result, as tanh does, has done so by now.
        for saved in self.latest:
            if saved.tensor is not None and saved.tensor.untyped_storage()._cdata == storage:
                saved.replace(recipe)
        self._pack_latest()
        return value

    def _source(self, tensor: Tensor) -> Callable[[], Tensor]:
        recipe = self.find(tensor)
        if recipe is not None:
            # It may be a part of what the recipe makes.
            view = (tensor.shape, tensor.stride(), tensor.storage_offset())
            return lambda: recipe.get().as_strided(*view)
        kept = _Saved(tensor.detach())
        self._pack(kept)
        return kept.load

    def _pack_latest(self) -> None:
        for saved in self.latest:
            self._pack(saved)
        self.latest.clear()


_active: ContextVar[_Book | None] = ContextVar("recipes", default=None)


@contextlib.contextmanager
def recomputing(
    enabled: bool = True, *, saved: str | None = None, apart: Iterable[Shaped[Tensor, "..."]] = ()
) -> Iterator[None]:
    """Within it, what autograd would save of a tensor made by :func:`cheap` is replaced by its recipe.

    The gradients are, bit for bit, those without it: recipes repeat the same operations on the same numbers. Not
    enabled, it suspends one around it: a checkpoint keeps nothing inside, and recipes would keep what they start from.

    Args:
        enabled: whether there are recipes.
        saved: the format that what else would be saved is packed to, in place of the tensor; recipes then start from
            packed numbers. The forward pass is the same bits, gradients are not. Small tensors, what is no float and
            what is held of a parameter stay as they are.
        apart: parameters, which are there anyway.
    """
    if not (enabled or saved) or not torch.is_grad_enabled():
        token = _active.set(None)
        try:
            yield
        finally:
            _active.reset(token)
        return
    book = _Book(enabled, saved, apart)
    token = _active.set(book)
    try:
        with torch.autograd.graph.saved_tensors_hooks(book.save, _Saved.load):
            yield
    finally:
        _active.reset(token)
        book.recipes.clear()
        book.latest.clear()
        book.packed.clear()


def exempt(tensor: Shaped[Tensor, "..."]) -> None:
    """Keep `tensor`, held of a parameter, as it is where what is saved is packed."""
    if (book := _active.get()) is not None:
        book.exempt(tensor)


def cheap(function: Callable[..., Any], *inputs: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """Call a function whose result is not worth its memory: made again in the backward pass where recipes are kept.

    Args:
        function: deterministic; its result is contiguous. What it closes over is kept alive.
        inputs: tensors. One that is itself cheap is made again in turn.

    Returns:
        ``function(*inputs)``. Outside :func:`recomputing` that is all that happens.
    """
    book = _active.get()
    return function(*inputs) if book is None else book.cook(function, inputs)
