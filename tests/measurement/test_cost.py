"""The time model's counts by hand, and how its seconds must scale."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mpno.measurement.cards import BANDWIDTH_SHARE, CARDS, HOST, LAUNCH, RATE_SHARE, Card
from mpno.measurement.cost import Operation, by_kind, by_phase, in_tf32, predict_seconds, trace_costs
from mpno.measurement.step import prepare_step
from mpno.specs import RunSpec

SLOW = Card("slow", 1, 1e9, {"fp32": 1e12, "fp16": 4e12}, "none")
PRODUCT = Operation("aten.mm", 8, 10**12, "products", "fp32")


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def test_a_product_by_hand() -> None:
    a, b = empty(6, 10, dtype=torch.float16), empty(10, 4, dtype=torch.float16)
    (found,) = trace_costs(lambda: a @ b)
    assert found == Operation("aten.mm", 2 * (60 + 40 + 24), 2 * 6 * 10 * 4, "products", "fp16")


def test_a_batch_of_complex_products_by_hand() -> None:
    a, b = (empty(3, 5, 5, dtype=torch.complex64) for _ in range(2))
    (found,) = trace_costs(lambda: a @ b)
    assert (found.flops, found.bytes, found.format) == (4 * 2 * 3 * 125, 8 * 3 * 75, "fp32")


def test_a_pointwise_convolution_is_a_product() -> None:
    (found,) = trace_costs(lambda: nn.functional.conv2d(empty(2, 3, 8, 8), empty(5, 3, 1, 1)))
    assert (found.flops, found.kind) == (2 * 2 * 64 * 3 * 5, "products")
    assert found.bytes == 4 * (2 * 3 * 64 + 15 + 2 * 5 * 64)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_transforms_by_hand() -> None:
    """A pass over memory per axis; a copy before and a scaling after where torch makes them."""
    x = empty(7, 16, 16)
    real, spectrum = 4 * 7 * 256, 8 * 7 * 16 * 9
    (plain,) = trace_costs(lambda: torch.fft.rfft2(x))
    assert plain.flops == int(2.5 * 7 * 256 * math.log2(256)) and plain.kind == "transforms"
    assert (plain.bytes, plain.launches) == (real + spectrum + 2 * spectrum, 2)
    (scaled,) = trace_costs(lambda: torch.fft.rfft2(x, norm="forward"))
    assert (scaled.bytes, scaled.launches) == (plain.bytes + 2 * spectrum, 3)
    (back,) = trace_costs(lambda: torch.fft.irfft2(empty(7, 16, 9, dtype=torch.complex64), norm="forward"))
    assert (back.bytes, back.launches, back.flops) == (plain.bytes + 2 * spectrum, 3, plain.flops)
    (line,) = trace_costs(lambda: torch.fft.fft(empty(3, 8, dtype=torch.complex32)))
    assert (line.bytes, line.launches, line.flops, line.format) == (4 * 2 * 24, 1, 5 * 3 * 8 * 3, "fp16")


def test_elementwise_views_and_expanded_operands() -> None:
    x, row = empty(100, 50), empty(900)[:50]
    (found,) = trace_costs(lambda: x.t().view(50, 100).t() * row.expand(100, 50))
    assert (found.flops, found.bytes) == (5000, 4 * (5000 + 50 + 5000))
    (windows,) = trace_costs(lambda: empty(1000).unfold(0, 500, 1).neg())
    assert windows.bytes == 4 * (1000 + 501 * 500)
    (total,) = trace_costs(lambda: x.sum())
    assert (total.flops, total.bytes) == (5000, 4 * 5001)
    assert trace_costs(lambda: torch.empty_like(x)[:, :3].unsqueeze(0)) == []
    assert trace_costs(lambda: x.new_empty_strided((3, 2), (2, 1))) == []


def test_what_is_written_is_not_always_read() -> None:
    x, y = empty(100), empty(100)
    for change, words in (
        (lambda: x.add_(1), 200),
        (lambda: x.copy_(y), 200),
        (lambda: x.zero_(), 100),
        (lambda: torch.zeros_like(x), 100),
        (lambda: x.new_zeros(30), 30),
        (lambda: torch.add(x, y, out=empty(100)), 300),
    ):
        (found,) = trace_costs(change)
        assert found.bytes == 4 * words, found
    # Of a gradient the zeros around it are written, then itself is copied.
    z = empty(100).requires_grad_()
    placed = trace_costs(lambda: z[:30].backward(y[:30]))
    assert [(each.name, each.bytes, each.launches) for each in placed] == [("aten.slice_backward", 4 * (100 + 60), 2)]


def test_phases_and_an_update_at_once() -> None:
    """A step of two layers by Adam: as many launches for the update of many tensors as for that of few."""

    def steps(layers: int) -> list[Operation]:
        with torch.device("meta"):
            model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(layers)))
            optimizer = torch.optim.Adam(model.parameters())
            x = torch.empty(4, 8)

        def step() -> None:
            model(x).sum().backward()
            optimizer.step()

        return trace_costs(step)

    few, many = ([each for each in steps(layers) if each.phase == "optimiser"] for layers in (2, 20))
    assert len(few) == len(many) > 0
    for what in ("bytes", "flops"):
        ten = [sum(getattr(each, what) for each in found) for found in (many, few)]
        assert ten[0] == pytest.approx(10 * ten[1], rel=0.02) and ten[1] > 0
    phases = [each.phase for each in steps(2)]
    assert phases == sorted(phases, key=["forward", "backward", "optimiser"].index)
    products = [each.phase for each in steps(2) if each.kind == "products"]
    assert products == ["forward"] * 2 + ["backward"] * 3


def test_seconds_are_the_slower_of_bytes_and_flops() -> None:
    moving = Operation("aten.add", 10**6, 1, "elementwise", "fp32")
    assert moving.seconds(SLOW) == pytest.approx(1e6 / (BANDWIDTH_SHARE * 1e9) + LAUNCH)
    assert replace(moving, launches=3).seconds(SLOW) == pytest.approx(moving.seconds(SLOW) + 2 * LAUNCH)
    assert PRODUCT.seconds(SLOW) == pytest.approx(1 / RATE_SHARE + LAUNCH)
    assert replace(PRODUCT, format="fp16").seconds(SLOW) == pytest.approx(0.25 / RATE_SHARE + LAUNCH)
    # Units of products serve products alone, and a format without units goes at fp32's rate.
    assert replace(PRODUCT, kind="elementwise", format="fp16").seconds(SLOW) == PRODUCT.seconds(SLOW)
    assert replace(PRODUCT, format="bf16").seconds(SLOW) == PRODUCT.seconds(SLOW)


def test_a_card_twice_as_fast_takes_half_as_long() -> None:
    twice = replace(SLOW, bandwidth=2e9, rates={name: 2 * rate for name, rate in SLOW.rates.items()})
    work = [PRODUCT, Operation("aten.add", 10**9, 1, "elementwise", "fp32")]
    launches = LAUNCH * len(work)
    assert predict_seconds(work, SLOW) - launches == pytest.approx(2 * (predict_seconds(work, twice) - launches))


def test_the_host_has_to_ask_for_each() -> None:
    small = [Operation("aten.add", 8, 1, "elementwise", "fp32", launches=2)] * 1000
    assert predict_seconds(small, CARDS["h100"]) == HOST * 2000
    assert predict_seconds([PRODUCT], SLOW) == PRODUCT.seconds(SLOW) > HOST


def test_tf32_is_for_products_of_fp32_alone() -> None:
    others = [replace(PRODUCT, format="fp16"), replace(PRODUCT, kind="elementwise")]
    assert in_tf32([PRODUCT, *others]) == [replace(PRODUCT, format="tf32"), *others]
    a100, v100 = CARDS["a100"], CARDS["v100"]
    assert predict_seconds(in_tf32([PRODUCT]), a100) < predict_seconds([PRODUCT], a100) / 7
    assert predict_seconds(in_tf32([PRODUCT]), v100) == predict_seconds([PRODUCT], v100)


def step_of(batch: int, **values: object) -> list[Operation]:
    model = {"modes": [8, 8], "width": 16, "norm": "group"}
    return trace_costs(
        prepare_step(RunSpec.model_validate({"training": {"batch_size": batch}, "model": model, **values}))
    )


def test_a_step_of_a_larger_batch_takes_about_as_much_longer() -> None:
    one, two = (sum(each.bytes for each in step_of(batch, precision="full")) for batch in (256, 512))
    assert 1.9 < two / one <= 2.0


def test_kinds_and_phases_are_the_whole_of_a_step() -> None:
    found = step_of(64, precision="mixed")
    total = sum(each.seconds(SLOW) for each in found)
    for parts in (by_kind(found, SLOW), by_phase(found, SLOW)):
        assert sum(parts.values()) == pytest.approx(total) and min(parts.values()) > 0
    assert {each.format for each in found if each.kind == "transforms"} == {"fp16"}
    assert {each.format for each in step_of(64, precision="amp") if each.kind == "transforms"} == {"fp32"}
