"""Recipes in place of saved tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from mpno.numerics import cheap, recomputing


def chain(x: Tensor, calls: list[str]) -> Tensor:
    """tanh keeps its result, gelu and multiplication their operands: three ways of saving."""

    def counted(name: str, function: object) -> object:
        def call(*inputs: Tensor) -> Tensor:
            calls.append(name)
            return function(*inputs)  # type: ignore[operator]

        return call

    a = cheap(counted("tanh", torch.tanh), x)  # type: ignore[arg-type]
    b = cheap(counted("gelu", torch.nn.functional.gelu), a)  # type: ignore[arg-type]
    return (b * b.sin()).sum()


def test_gradients_are_the_same_and_each_tensor_is_made_once_more() -> None:
    x = torch.randn(64, requires_grad=True)
    plain: list[str] = []
    chain(x, plain).backward()
    want, x.grad = x.grad, None
    calls: list[str] = []
    with recomputing():
        y = chain(x, calls)
    y.backward()
    assert want is not None and x.grad is not None and torch.equal(x.grad, want)
    assert plain == ["tanh", "gelu"]
    assert calls[:2] == plain and sorted(calls[2:]) == ["gelu", "tanh"], calls


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    x = torch.randn(8)
    calls: list[str] = []
    with torch.no_grad(), recomputing():
        chain(x, calls)
    assert calls == ["tanh", "gelu"]


def test_an_address_given_out_anew_is_no_recipe() -> None:
    """A cheap tensor that dies at once leaves its address to the next one, which must be kept as it is."""
    x = torch.randn(1024, requires_grad=True)
    with recomputing():
        total = x.new_zeros(())
        for factor in (1.0, 2.0, 3.0):
            cheap(torch.exp, x.detach())
            y = x * factor
            total = total + (y * y).sum()
            del y
    total.backward()
    assert x.grad is not None and torch.allclose(x.grad, 28 * x.detach())


def test_saved_views_are_views_of_what_is_made_again() -> None:
    x = torch.randn(4, 6, requires_grad=True)
    w = torch.randn(6, 3, requires_grad=True)

    def loss() -> Tensor:
        a = cheap(torch.exp, x)
        return (a[1:, :].T @ a[1:, 2:5] @ w[:3]).sin().sum()

    loss().backward()
    want = x.grad
    x.grad = None
    with recomputing():
        y = loss()
    y.backward()
    assert want is not None and x.grad is not None and torch.equal(x.grad, want)


def test_a_part_of_what_is_made_again_is_that_part() -> None:
    """Work on a batch in parts, each a recipe from its part of another recipe's result."""
    x = torch.randn(4, 8, requires_grad=True)

    def in_parts() -> Tensor:
        whole = cheap(torch.exp, x)
        return torch.cat([cheap(torch.sin, part).square() for part in whole.split(1)]).sum()

    in_parts().backward()
    want, x.grad = x.grad, None
    with recomputing():
        y = in_parts()
    y.backward()
    assert want is not None and x.grad is not None and torch.equal(x.grad, want)
