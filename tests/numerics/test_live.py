"""Live bytes against counting by hand."""

from __future__ import annotations

import torch

from mpno.numerics import LiveBytes, step_bytes


def test_freed_bytes_are_given_back() -> None:
    counter = LiveBytes()
    with counter:
        kept = torch.zeros(1000, device="meta")
        passing = kept + 1
        del passing
        last = kept + 2
    assert counter.live == 2 * 4000 and counter.peak == 2 * 4000
    assert last.shape == kept.shape


def test_a_step_counts_each_part_once() -> None:
    """loss = sum((w · x - y)²): the product saves x (apart), the square saves the difference."""
    w = torch.zeros(100, device="meta", requires_grad=True)
    x, y, buffer = (torch.zeros(n, device="meta") for n in (100, 100, 7))
    sizes = step_bytes(lambda: (w * x - y).square().sum(), [w], [x, y], [buffer])
    assert (sizes["parameters"], sizes["gradients"], sizes["optimiser"]) == (400, 400, 800)
    assert sizes["activations"] == 400 + 4  # the difference and the loss itself
    assert sizes["peak"] > 3 * 400 + 2 * 400 + 28 + sizes["activations"]
