"""Complex tensor contraction in real arithmetic, pair by pair, in any number format.

Complex tensors are real ones with a trailing axis of (real, imaginary) pairs. A step that sums an index is one
real einsum: the smaller operand is written as 2x2 blocks [[re, im], [-im, re]], so that both products of
each part are accumulated together, in fp32 whatever the format, and the block lives only during the step. A
step without a sum stays complex under option C: complex64, or complex32 for fp16 on a GPU. bf16 has no complex
dtype, and on a CPU complex32 takes twice as long as the same product written out in real numbers, which both use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mpno.numerics import hold, widest
from mpno.specs import gradient_format
from mpno.specs.names import ContractionOption
from mpno.spectral.paths import Plan

_PART, _OTHER = "y", "z"
"""Letters of the two parts of a complex number; equations use others."""


def contract(plan: Plan, option: ContractionOption, operands: Sequence[Tensor], formats: Sequence[str]) -> Tensor:
    """Carry out `plan` on pairs.

    Args:
        plan: made for the operands' complex shapes; under option A for their shapes with the parts, see
            :func:`expanded_equation`.
        option: where the operands are viewed as real.
        operands: pairs, each (*shape, 2), in the order of the plan's equation.
        formats: the format each operand is held in. The result of every step is held in the format that
            promotion gives its operands, and so is its gradient.

    Returns:
        Pairs in the last step's format. The backward keeps the operands and the results of steps that sum;
        products without a sum are computed again.
    """
    block = _Contract.apply(plan, option, tuple(formats), *operands)
    assert isinstance(block, Tensor)
    if option != "A":
        return block
    format = formats[0]
    for other in formats[1:]:
        format = widest(format, other)
    return hold(block.flatten(-len(operands)) @ hold(_signs(len(operands), block.device), format), format)


def expanded_equation(equation: str) -> str:
    """The equation over all operands' parts at once, as option A has it: every operand's parts are an index of its own.

    The result has one axis of length two per operand, a block of 2^operands real products for each element.
    """
    inputs, output = equation.split("->")
    terms = inputs.split(",")
    spare = [letter for letter in "zyxwvutsrqponml" if letter not in equation][: len(terms)]
    return ",".join(t + p for t, p in zip(terms, spare, strict=True)) + "->" + output + "".join(spare)


def _signs(count: int, device: torch.device) -> Tensor:
    """(2^count, 2): how the product of one part of each of `count` numbers adds to the real and imaginary part."""
    table = torch.zeros(2**count, 2)
    for index in range(2**count):
        # i to the number of imaginary parts.
        power = index.bit_count() % 4
        table[index, power % 2] = -1.0 if power > 1 else 1.0
    return table.to(device)


class _Contract(torch.autograd.Function):
    """All steps of a plan under one backward, which makes again what was cheap to make."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, option: ContractionOption, formats: tuple[str, ...], *operands: Tensor) -> Tensor:
        values = dict(enumerate(hold(x, format) for x, format in zip(operands, formats, strict=True)))
        kinds, sizes, kept = list(formats), [x.numel() for x in operands], {}
        for number, step in enumerate(plan.steps, len(operands)):
            kinds.append(widest(kinds[step.first], kinds[step.second]))
            left, right = values.pop(step.first), values.pop(step.second)
            values[number] = hold(_multiply(step.left, left, step.right, right, step.out, option), kinds[number])
            del left, right
            sizes.append(values[number].numel())
            if step.sums:
                kept[number] = values[number]
        result = number  # type: ignore[reportPossiblyUnboundVariable]
        kept.pop(result, None)
        ctx.plan, ctx.option, ctx.kinds, ctx.sizes, ctx.kept = plan, option, kinds, sizes, tuple(kept)
        ctx.save_for_backward(*operands, *kept.values())
        return values[result]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        plan, option, kinds, sizes = ctx.plan, ctx.option, ctx.kinds, ctx.sizes
        count = len(kinds) - len(plan.steps)
        operands = ctx.saved_tensors[:count]
        kept = dict(zip(ctx.kept, ctx.saved_tensors[count:], strict=True))

        def value(number: int) -> Tensor:
            if number < count:
                return hold(operands[number], kinds[number])
            if number in kept:
                return kept[number]
            step = plan.steps[number - count]
            product = _multiply(step.left, value(step.first), step.right, value(step.second), step.out, option)
            return hold(product, kinds[number])

        wanted = list(ctx.needs_input_grad[3:])
        for step in plan.steps:
            wanted.append(wanted[step.first] or wanted[step.second])
        flowing = {len(kinds) - 1: hold(grads[0], gradient_format(kinds[-1]))}
        for number in reversed(range(count, len(kinds))):
            if not wanted[number]:
                continue
            step, g = plan.steps[number - count], flowing.pop(number)
            sides = [(step.first, step.left, step.second, step.right), (step.second, step.right, step.first, step.left)]
            # The smaller gradient first: the larger value that it takes is gone before the larger gradient comes.
            for own, letters, other, others in sides if sizes[step.first] < sizes[step.second] else reversed(sides):
                if wanted[own]:
                    product = _multiply(step.out, g, others, value(other), letters, option, conjugate=True)
                    flowing[own] = hold(product, gradient_format(kinds[own]))
                    del product
        return (
            *(None, None, None),
            *(flowing[n].to(operands[n].dtype) if wanted[n] else None for n in range(count)),
        )


def _multiply(
    left: str, a: Tensor, right: str, b: Tensor, out: str, option: ContractionOption, *, conjugate: bool = False
) -> Tensor:
    """The product of `a` and `b`, or of `a` and the conjugate of `b`, with indices not in `out` summed."""
    if a.dtype is not b.dtype:
        a, b = a.float(), b.float()
    if option == "A":
        return torch.einsum(f"{left},{right}->{out}", a, b)
    if option == "C" and set(left + right) == set(out):
        return _multiply_complex(_align(left, a, out), _align(right, b, out), conjugate)
    if a.numel() < b.numel():
        block, letters = _block(left, a, out, (1, 1, -1) if conjugate else (1, -1, 1))
        return torch.einsum(f"{letters},{right}{_PART}->{out}{_OTHER}", block, b)
    block, letters = _block(right, b, out, (-1, 1, 1) if conjugate else (1, -1, 1))
    return torch.einsum(f"{left}{_PART},{letters}->{out}{_OTHER}", a, block)


def _block(letters: str, x: Tensor, out: str, signs: tuple[int, int, int]) -> tuple[Tensor, str]:
    """Write each number as [[re, ±im], [±im, ±re]]: rows for the other operand's parts, columns for the result's.

    Where the two axes stand follows from the summed indices, so that the product needs no copy of the block.

    Args:
        signs: of the upper right, lower left and lower right entry.

    Returns:
        The block and its letters.
    """
    summed = [position for position, letter in enumerate(letters) if letter not in out]
    trailing = bool(summed) and summed[-1] == len(letters) - 1
    if trailing:
        position, first, last = len(letters), _OTHER, _PART
        while letters[position - 1] not in out and position > 0:
            position -= 1
        signs = (signs[1], signs[0], signs[2])
    else:
        position, first, last = (summed[-1] + 1 if summed else len(letters)), _PART, _OTHER
    block = x.new_empty(*x.shape[:position], 2, *x.shape[position:])
    real, imag = x.unbind(-1)
    for (row, column), part, sign in zip(
        ((0, 0), (0, 1), (1, 0), (1, 1)), (real, imag, imag, real), (1, *signs), strict=True
    ):
        entry = block.select(position, row)[..., column]
        entry.copy_(part) if sign == 1 else torch.neg(part, out=entry)
    return block, f"{letters[:position]}{first}{letters[position:]}{last}"


def _align(letters: str, x: Tensor, out: str) -> Tensor:
    """Permute to the order of `out`, with axes of length one for the indices that are missing."""
    x = x.permute(*(letters.index(letter) for letter in out if letter in letters), -1)
    return x[tuple(slice(None) if letter in letters else None for letter in out)]


def _multiply_complex(a: Tensor, b: Tensor, conjugate: bool) -> Tensor:
    if conjugate:
        b = torch.stack([b[..., 0], -b[..., 1]], -1)
    if a.dtype is torch.bfloat16 or (a.dtype is torch.float16 and a.device.type == "cpu"):
        (ar, ai), (br, bi) = a.unbind(-1), b.unbind(-1)
        # addcmul rounds once, so that each part is rounded twice.
        return torch.stack([torch.addcmul(ar * br, ai, bi, value=-1), torch.addcmul(ar * bi, ai, br)], -1)
    x, y = (torch.view_as_complex(t if t.stride(-1) == 1 else t.contiguous()) for t in (a, b))
    return torch.view_as_real(x * y)
