"""The authors' model as their last public code runs it: for predictions of what was published, not for training.

The numbers are those of :class:`mpno.FNO` with corner weights, whose parameters it shares (but for one activation more
in the last block); what differs is what is kept. Every operation is an autograd node of its own, fields are (batch,
channels, *grid), whole spectra are written into buffers of zeros, and half reaches only what that code casts. Read
from their fork's last public files; what was measured may have been another state of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Shaped
from opt_einsum import contract as pairwise
from torch import Tensor, nn
from torch.nn.functional import conv2d, gelu, group_norm

from mpno.models import FNO
from mpno.models.blocks import Block, ChannelMLP
from mpno.models.norms import FieldNorm
from mpno.specs import MpnoError, PrecisionSetting
from mpno.specs.names import ContractionOption
from mpno.spectral import SpectralConv, SpectralWeight
from mpno.spectral.einsum import expanded_equation

EQUATION = "abcd,e,be,fe,ce,de->afcd"
"""Spectrum; CP weights; factors of the input, the output and both axes."""
FIRST, THEN = ("e,ce->ce", "be,de->deb", "fe,ce->cef"), ("cef,deb->cfdb", "cfdb,abcd->afcd")
"""Their fixed order of pairs in half: products without a sum, then those that sum."""


@dataclass(frozen=True)
class Execution:
    """How a setting was run.

    Attributes:
        triple: forward transform, contraction, inverse transform, each F or H.
        amp: torch.autocast around the forward pass.
        entry: under autocast the activation is cast to half where it enters a layer that transforms in half.
        option: how a contraction in half is carried out.
        before: what the input of a transform in half goes through: `tanh`, `norm` (over the field, in fp32) or `none`.
        weights_only: the contraction's weights are in half, its inputs stay in fp32, and with them the products.
    """

    triple: str = "FFF"
    amp: bool = False
    entry: bool = True
    option: ContractionOption = "C"
    before: str = "tanh"
    weights_only: bool = False

    @classmethod
    def of(cls, setting: PrecisionSetting, *, option: ContractionOption = "C", entry: bool = True) -> Execution:
        """That of a setting in fp16.

        Raises:
            MpnoError: their code has no such setting.
        """
        if setting.setting == "schedule" or setting.layers or setting.stabiliser not in ("none", "tanh", "norm"):
            raise MpnoError(
                f"AuthorsFNO: {setting.label}; allowed: full, amp, half and mixed, their triples and weights-only, "
                "stabilised by tanh, norm or none"
            )
        amp = setting.real != "fp32"
        return cls(setting.triple, amp, entry, option, before=setting.stabiliser, weights_only=setting.weights_only)


class AuthorsFNO(nn.Module):
    """Runs the parameters of `model` as the authors' code does.

    Their lifting is one pointwise map where ours has a hidden layer, and their grid coordinates are channels of the
    data: both are taken as theirs.

    Args:
        model: a plane FNO with CP weights in corners, linear skips, soft gates and no padding.
        execution: how.
    """

    def __init__(self, model: FNO, execution: Execution) -> None:
        super().__init__()
        spec, contraction = model.spec, model.spec.contraction
        if (
            len(spec.modes) != 2
            or contraction is None
            or (contraction.factorization, contraction.layout) != ("cp", "corners")
            or (spec.skip, spec.mlp_skip, spec.padding) != ("linear", "soft-gating", 0)
            or spec.norm == "instance"
        ):
            raise MpnoError(
                f"AuthorsFNO: model {spec.title} on {len(spec.modes)} axes; allowed: two axes, CP weights in corners, "
                "skip linear, mlp_skip soft-gating, norm group or none, no padding"
            )
        self.execution = execution
        self.lifting = nn.Linear(model.in_channels + 2, spec.width, device=model.lifting.first.weight.device)
        self.blocks, self.projection = model.blocks, model.projection
        self.convs = nn.ModuleList(_Convolution(cast(SpectralConv, block.conv), execution) for block in model.blocks)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        """Map a field and its two grid coordinates to a field."""
        y = self.through_blocks(self._linear(x, self.lifting.weight, self.lifting.bias))
        return self._mlp(self.projection, y).float()

    def through_blocks(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The lifted field after every block."""
        for block, conv in zip(self.blocks, self.convs, strict=True):
            x = self._block(cast(Block, block), conv, x)
        return x

    def _block(self, block: Block, conv: nn.Module, x: Tensor) -> Tensor:
        how = self.execution
        if how.entry and how.amp and how.triple[0] == "H":
            x = x.half()
        assert block.skip.linear is not None and block.mlp_skip.gate is not None
        past = self._linear(x, block.skip.linear.weight, None)
        gated = block.mlp_skip.gate[:, None, None] * x
        y = _normalised(block, 0, conv(x))
        y = gelu(y + past)
        y = _normalised(block, 1, self._mlp(block.mlp, y) + gated)
        return y if block.last else gelu(y)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        kernel = weight[:, :, None, None]
        if not self.execution.amp:
            return conv2d(x, kernel, bias)
        return conv2d(x.half(), kernel.half(), None if bias is None else bias.half())

    def _mlp(self, mlp: ChannelMLP, x: Tensor) -> Tensor:
        hidden = gelu(self._linear(x, mlp.first.weight, mlp.first.bias))
        return self._linear(hidden, mlp.second.weight, mlp.second.bias)


class _Convolution(nn.Module):
    """Transform, contraction and inverse transform with the weights of `conv`."""

    def __init__(self, conv: SpectralConv, execution: Execution) -> None:
        super().__init__()
        self.conv, self.execution = conv, execution

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        forward, contraction, inverse = self.execution.triple
        weight, grid = cast(SpectralWeight, self.conv.weight), x.shape[-2:]
        s = torch.fft.rfftn(self._prepared(x) if forward == "H" else x.float(), dim=(-2, -1), norm="forward")
        half = contraction == "H" and not self.execution.weights_only
        s = s.to(torch.complex32 if half else torch.complex64)
        buffer = torch.zeros(*s.shape, dtype=torch.complex32 if inverse == "H" else torch.complex64, device=s.device)
        (rows, columns), corners = weight.halves, list(weight.parts)
        # Ours stores the negative frequencies first.
        for part, place in zip(reversed(corners), (slice(None, rows), slice(-rows, None)), strict=True):
            operands = [torch.view_as_complex(p) for p in cast(nn.ParameterList, part)]
            buffer[:, :, place, :columns] = self.contracted(s[:, :, place, :columns], operands)
        y = torch.fft.irfftn(buffer, s=grid, dim=(-2, -1), norm="forward")
        assert self.conv.bias is not None
        return y + self.conv.bias[:, None, None]

    def _prepared(self, x: Tensor) -> Tensor:
        if self.execution.before == "norm":
            return group_norm(x.float(), 1).half()
        return torch.tanh(x.half()) if self.execution.before == "tanh" else x.half()

    def contracted(
        self, s: Shaped[Tensor, "b i r c"], weights: list[Shaped[Tensor, "..."]]
    ) -> Shaped[Tensor, "b o r c"]:
        """The spectrum of a corner times its weights."""
        how = self.execution
        if how.triple[1] == "H":
            weights = [w.to(torch.complex32) for w in weights]
        if s.dtype is torch.complex64:
            # What is not all in half goes the way of full precision.
            return cast(Tensor, pairwise(EQUATION, s, *[w.to(s.dtype) for w in weights], optimize="optimal"))
        if how.option == "A":
            return _all_at_once(s, weights)
        named: dict[str, Tensor] = dict(zip(EQUATION.split("->")[0].split(","), (s, *weights), strict=True))
        for equation in (*FIRST, *THEN):
            multiply = _product if how.option == "C" and equation in FIRST else _pair
            inputs, out = equation.split("->")
            left, right = inputs.split(",")
            named[out] = multiply(equation, named[left], named[right])
        return named["afcd"]


def _normalised(block: Block, index: int, x: Tensor) -> Tensor:
    if block.norms is None:
        return x
    norm = cast(FieldNorm, block.norms[index])
    # In fp32, as autocast has it; without autocast all of x is fp32, for the bias and the gate are.
    return group_norm(x.float(), 1, norm.gain, norm.shift, norm.eps)


def _product(equation: str, a: Shaped[Tensor, "..."], b: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """A product without a sum, in complex half."""
    inputs, out = equation.split("->")
    x, y = (
        t.permute(*(term.index(letter) for letter in out if letter in term))[
            tuple(slice(None) if letter in term else None for letter in out)
        ]
        for t, term in zip((a, b), inputs.split(","), strict=True)
    )
    return x * y


def _pair(equation: str, a: Shaped[Tensor, "..."], b: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """All four products of real and imaginary parts by one real einsum."""
    inputs, out = equation.split("->")
    left, right = inputs.split(",")
    products = torch.einsum(f"{left}x,{right}y->xy{out}", torch.view_as_real(a), torch.view_as_real(b))
    pairs = torch.stack([products[0, 0] - products[1, 1], products[1, 0] + products[0, 1]], -1)
    return torch.view_as_complex(pairs)


def _all_at_once(s: Tensor, weights: list[Tensor]) -> Tensor:
    """2^6 real products for every element, then summed with their signs."""
    operands = [torch.view_as_real(x) for x in (s, *weights)]
    block = torch.einsum(expanded_equation(EQUATION), *operands).flatten(-len(operands))
    one_i = torch.tensor([1, 1j], device=block.device)
    powers = torch.ones(1, dtype=one_i.dtype, device=block.device)
    for _ in operands:
        powers = torch.kron(powers, one_i)
    return torch.view_as_complex(block @ torch.view_as_real(powers).to(block.dtype))
