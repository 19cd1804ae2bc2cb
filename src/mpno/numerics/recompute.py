"""Saving a recipe in place of a tensor: what is cheap to compute again is not kept for the backward pass."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor


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
    """What autograd keeps: the tensor itself, or how to view the result of a recipe."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor: Tensor | None = tensor
        self.recipe: _Recipe | None = None
        self.view = (tensor.shape, tensor.stride(), tensor.storage_offset())

    def replace(self, recipe: _Recipe) -> None:
        self.tensor, self.recipe = None, recipe
        recipe.uses += 1

    def load(self) -> Tensor:
        if self.recipe is None:
            assert self.tensor is not None
            return self.tensor
        value = self.recipe.get()
        self.recipe.uses -= 1
        if self.recipe.uses == 0:
            self.recipe.value = None
        return value.as_strided(*self.view)


class _Book:
    """The recipes of one forward pass, by the storage of what they made."""

    def __init__(self) -> None:
        self.recipes: dict[int, _Recipe] = {}
        self.latest: list[_Saved] = []

    def find(self, tensor: Tensor) -> _Recipe | None:
        recipe = self.recipes.get(tensor.untyped_storage()._cdata)
        # An address is given out anew once its tensor is gone; the weak reference tells.
        return None if recipe is None or recipe.original() is None else recipe

    def save(self, tensor: Tensor) -> _Saved:
        saved = _Saved(tensor)
        if recipe := self.find(tensor):
            saved.replace(recipe)
        else:
            self.latest.append(saved)
        return saved

    def cook(self, function: Callable[..., Tensor], inputs: tuple[Tensor, "..."]) -> Tensor:
        self.latest.clear()
        value = function(*inputs)
        storage = value.untyped_storage()._cdata
        if any(tensor.untyped_storage()._cdata == storage for tensor in inputs):
            return value  # nothing was made
        sources = [self._source(tensor) for tensor in inputs]
        recipe = _Recipe(lambda: function(*(source() for source in sources)), value)
        self.recipes[storage] = recipe
        # An operation that keeps its own result, as tanh does, has done so by now.
        for saved in self.latest:
            if saved.tensor is not None and saved.tensor.untyped_storage()._cdata == storage:
                saved.replace(recipe)
        self.latest.clear()
        return value

    def _source(self, tensor: Tensor) -> Callable[[], Tensor]:
        recipe = self.find(tensor)
        if recipe is not None:
            # It may be a part of what the recipe makes.
            view = (tensor.shape, tensor.stride(), tensor.storage_offset())
            return lambda: recipe.get().as_strided(*view)
        kept = tensor.detach()
        return lambda: kept


_active: ContextVar[_Book | None] = ContextVar("recipes", default=None)


@contextlib.contextmanager
def recomputing(enabled: bool = True) -> Iterator[None]:
    """Within it, what autograd would save of a tensor made by :func:`cheap` is replaced by its recipe.

    The gradients are, bit for bit, those without it: recipes repeat the same operations on the same numbers. Not
    enabled, it suspends one around it: a checkpoint keeps nothing inside, and recipes would keep what they start from.
    """
    if not enabled or not torch.is_grad_enabled():
        token = _active.set(None)
        try:
            yield
        finally:
            _active.reset(token)
        return
    book = _Book()
    token = _active.set(book)
    try:
        with torch.autograd.graph.saved_tensors_hooks(book.save, _Saved.load):
            yield
    finally:
        _active.reset(token)
        book.recipes.clear()
        book.latest.clear()


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
