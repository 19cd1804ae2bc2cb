"""A step's bytes against counting by hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mpno.measurement.accounting import Step, account

B, N = 64, 100


class Scale(nn.Module):
    """w · x: the product keeps both; the result is one more field."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(N))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Keeping(nn.Module):
    """As it came, but keeps a field of `size` numbers for the backward pass."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        class Keep(torch.autograd.Function):
            @staticmethod
            def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
                ctx.save_for_backward(x.new_zeros(self.size))
                return x.view_as(x)

            @staticmethod
            def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
                return grads[0]

        y = Keep.apply(x)
        assert isinstance(y, Tensor)
        return y


def traced(layers: Sequence[nn.Module]) -> Step:
    with torch.device("meta"):
        model = nn.Sequential(*layers).to("meta")
        x, y = torch.empty(B, N), torch.empty(B, N)
    optimizer = torch.optim.Adam(model.parameters())
    return account(lambda: (model(x) - y).square().sum(), model, optimizer, [x, y])


def test_every_part_of_a_step() -> None:
    """Adam keeps two numbers a parameter; the square keeps the difference, the product x, which is data."""
    step = traced([Scale()])
    assert step.share("parameters") == step.share("gradients") == 4 * N
    assert step.share("optimiser") == 8 * N
    assert step.share("data") == 2 * 4 * B * N
    assert step.share("activations") == 4 * B * N + 4  # and the loss


def test_the_peak_is_of_one_moment() -> None:
    """In the backward pass: difference, its gradient twice, before the sum over the batch makes the gradient."""
    step = traced([Scale()])
    peak = step.peak()
    assert step.peak_bytes == max(map(sum, zip(*step.timeline().values(), strict=True)))
    assert step.phase_of_peak() == "backward"
    assert peak["activations"] + peak["temporaries"] <= 4 * 4 * B * N + 8
    assert sum(step.timeline()["temporaries"][-1:]) == 0  # nothing is left over


def test_an_extra_saved_tensor_adds_exactly_its_bytes() -> None:
    size = 12_345
    plain, keeping = traced([Scale(), Scale()]), traced([Scale(), Keeping(size), Scale()])
    assert keeping.share("activations") - plain.share("activations") == 4 * size
    assert keeping.peak_bytes - plain.peak_bytes == 4 * size


def test_a_wider_layer_adds_exactly_its_bytes() -> None:
    """One more hidden unit: a row and a column of weights with their gradients and states, and a field to keep."""

    def with_hidden(width: int) -> Step:
        return traced([nn.Linear(N, width, bias=False), nn.Linear(width, N, bias=False)])

    narrow, wide = with_hidden(40), with_hidden(41)
    assert wide.share("parameters") - narrow.share("parameters") == 4 * 2 * N
    assert wide.share("gradients") - narrow.share("gradients") == 4 * 2 * N
    assert wide.share("optimiser") - narrow.share("optimiser") == 8 * 2 * N
    assert wide.share("activations") - narrow.share("activations") == 4 * B


def test_layers_are_named_in_both_directions() -> None:
    step = traced([Scale(), Keeping(999), Scale()])
    of = {block.layer for block in step.blocks if block.kind == "activations" and block.size == 4 * 999}
    assert of == {"1"}
    gradients = [block.layer for block in step.blocks if block.kind == "gradients"]
    assert gradients == ["2", "0"]  # backward


def test_a_transform_borrows_a_workspace() -> None:
    class Transform(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = Scale()

        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft(torch.fft.rfft(self.scale(x)), n=N)

    step = traced([Transform()])
    spectrum = 8 * B * (N // 2 + 1)
    sizes = [block.size for block in step.blocks if block.kind == "workspaces" and block.born < step.ends[0]]
    assert sizes == [spectrum, spectrum, spectrum]  # forward; a copy of the operand and a workspace back
