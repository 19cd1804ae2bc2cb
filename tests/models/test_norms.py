"""Normalisation against torch's own in float64, in parts and whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import group_norm, instance_norm

from mpno import FNO
from mpno.models import blocks, norms
from mpno.models.norms import FieldNorm
from mpno.specs import FNOSpec
from mpno.specs.names import Norm, Transform


def drawn(kind: Norm) -> FieldNorm:
    torch.manual_seed(0)
    norm = FieldNorm(3, kind)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    return norm


@pytest.mark.parametrize("kind", ["group", "instance"])
@pytest.mark.parametrize("chunk", [1, 200, 10**6])
def test_result_and_gradients(kind: Norm, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norms, "CHUNK", chunk)
    norm = drawn(kind)
    x = (3 * torch.randn(5, 6, 4, 3) + 1).requires_grad_()
    wide = x.detach().double().requires_grad_()
    gain, shift = (None if p is None else p.detach().double().requires_grad_() for p in (norm.gain, norm.shift))
    first = wide.movedim(-1, 1)
    reference = group_norm(first, 1, gain, shift, norm.eps) if kind == "group" else instance_norm(first, eps=norm.eps)
    reference = reference.movedim(1, -1)
    y = norm(x)
    assert torch.allclose(y.double(), reference, atol=1e-5)
    pull = torch.randn_like(y)
    y.backward(pull)
    reference.backward(pull.double())
    pairs = [(x, wide), *([(norm.gain, gain), (norm.shift, shift)] if kind == "group" else [])]
    for found, expected in pairs:
        assert found is not None and expected is not None and found.grad is not None and expected.grad is not None
        assert torch.allclose(found.grad.double(), expected.grad, rtol=1e-4, atol=1e-5)


def test_a_low_format_is_that_of_the_result_and_of_its_gradient() -> None:
    norm = drawn("group")
    norm.format = "e5m2"
    x = torch.randn(2, 6, 4, 3, requires_grad=True)
    y = norm(x)
    held = {float(v) for v in y.detach().flatten()}
    assert all(torch.tensor(v).to(torch.float8_e5m2).float() == v for v in held)
    # A gradient below half of the format's smallest number is gone before the norm sees it.
    (tiny,) = torch.autograd.grad(y, x, torch.full_like(y, 2.0**-20))
    assert not tiny.any()


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("precision", ["full", "mixed", "mixed-bf16"])
def test_making_again_in_parts_changes_no_gradient(
    precision: str, transform: Transform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Norms and channel MLPs work through a batch in parts, each a recipe from a part of what another recipe makes."""
    monkeypatch.setattr(blocks, "CHUNK", 2048)
    monkeypatch.setattr(norms, "CHUNK", 2048)
    spec = FNOSpec(modes=(6, 6), width=8, layers=2, norm="group", lifting_ratio=4.0, projection_ratio=4.0)
    x = torch.randn(4, 1, 12, 12)

    def gradients(recompute: bool) -> list[Tensor | None]:
        torch.manual_seed(1)
        model = FNO(1, 1, spec, precision=precision, transform=transform, recompute=recompute)
        model(x).square().sum().backward()
        return [p.grad for p in model.parameters()]

    for kept, made in zip(gradients(False), gradients(True), strict=True):
        assert kept is not None and made is not None and torch.equal(kept, made)
