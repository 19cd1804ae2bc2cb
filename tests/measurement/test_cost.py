"""The time model's counts by hand, and how its seconds must scale."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mpno.measurement.cards import BANDWIDTH_SHARE, CARDS, HOST, LAUNCH, RATE_SHARE, Card
from mpno.measurement.cost import Operation, by_kind, predict_seconds, trace_costs
from mpno.measurement.step import prepare_step
from mpno.specs import RunSpec

SLOW = Card("slow", 1, 1e9, {"fp32": 1e12, "fp16": 4e12}, "none")


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def test_a_product_by_hand() -> None:
    a, b = empty(6, 10, dtype=torch.float16), empty(10, 4, dtype=torch.float16)
    (found,) = trace_costs(lambda: a @ b)
    assert found == Operation("aten.mm", 2 * (60 + 40 + 24), 2 * 6 * 10 * 4, True, "fp16")


def test_a_batch_of_complex_products_by_hand() -> None:
    a, b = (empty(3, 5, 5, dtype=torch.complex64) for _ in range(2))
    (found,) = trace_costs(lambda: a @ b)
    assert (found.flops, found.bytes, found.format) == (4 * 2 * 3 * 125, 8 * 3 * 75, "fp32")


def test_a_transform_by_hand() -> None:
    x = empty(7, 16, 16)
    (found,) = trace_costs(lambda: torch.fft.rfft2(x, norm="forward"))
    assert found.flops == int(2.5 * 7 * 256 * math.log2(256))
    assert found.bytes == 4 * 7 * 256 + 8 * 7 * 16 * 9 and not found.product


def test_elementwise_views_and_expanded_operands() -> None:
    x, row = empty(100, 50), empty(50)
    (found,) = trace_costs(lambda: x.t().view(50, 100).t() * row.expand(100, 50))
    assert (found.flops, found.bytes) == (5000, 4 * (5000 + 50 + 5000))
    (added,) = trace_costs(lambda: x.add_(1))
    assert added.bytes == 4 * 2 * 5000
    assert trace_costs(lambda: torch.empty_like(x)[:, :3].unsqueeze(0)) == []


def test_seconds_are_the_slower_of_bytes_and_flops() -> None:
    moving, working = Operation("a", 10**6, 1, False, "fp32"), Operation("b", 8, 10**12, True, "fp32")
    assert moving.seconds(SLOW) == pytest.approx(1e6 / (BANDWIDTH_SHARE * 1e9) + LAUNCH)
    assert working.seconds(SLOW) == pytest.approx(1 / RATE_SHARE + LAUNCH)
    low = Operation("b", 8, 10**12, True, "fp16")
    assert low.seconds(SLOW) == pytest.approx(0.25 / RATE_SHARE + LAUNCH)
    # Units of products serve products alone, and a format without units goes at fp32's rate.
    assert Operation("c", 8, 10**12, False, "fp16").seconds(SLOW) == working.seconds(SLOW)
    assert Operation("b", 8, 10**12, True, "bf16").seconds(SLOW) == working.seconds(SLOW)


def test_the_host_has_to_ask_for_each() -> None:
    small = [Operation("a", 8, 1, False, "fp32")] * 1000
    assert predict_seconds(small, CARDS["h100"]) == HOST * 1000
    large = [Operation("a", 10**9, 1, False, "fp32")]
    assert predict_seconds(large, SLOW) == large[0].seconds(SLOW) > HOST


def test_a_step_of_a_larger_batch_takes_about_as_much_longer() -> None:
    def of(batch: int) -> list[Operation]:
        values = {"training": {"batch_size": batch}, "model": {"modes": [8, 8], "width": 16}, "precision": "full"}
        return trace_costs(prepare_step(RunSpec.model_validate(values)))

    one, two = (sum(operation.bytes for operation in of(batch)) for batch in (256, 512))
    assert 1.9 < two / one <= 2.0
    kinds = by_kind(of(64), SLOW)
    assert set(kinds) == {"products", "transforms", "elementwise"} and min(kinds.values()) > 0
