"""Predicted bytes of a step against those that torch's profiler sees allocated and freed when it runs on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._C._profiler import _EventType  # type: ignore[reportPrivateImportUsage]
from torch.utils._pytree import tree_iter

from mpno.measurement.shapes import body_like
from mpno.measurement.step import prepare_step
from mpno.numerics import matmul_is_native
from mpno.specs import RunSpec
from mpno.specs.sets import BODIES
from mpno.training.build import build_loss, build_model, build_optimizer

FLOW = {"name": "navier-stokes", "source": "generate", "resolution": 64, "test_resolutions": [64]}
CORNERS = {"factorization": "cp", "rank": 0.05, "layout": "corners"}
TUCKER = {"factorization": "tucker", "rank": 0.2}
BODY = {"name": "car", "source": "generate", "resolution": 16, "test_resolutions": [16], "points": 1024}
SPHERE = {"name": "shallow-water", "source": "generate", "resolution": 32, "test_resolutions": [32]}
CASES: dict[str, dict[str, Any]] = {
    "fno": {"model": {"modes": [16, 16], "width": 32}},
    "fno, narrow and deep": {"model": {"modes": [8, 8], "width": 12, "layers": 6}},
    "fno, group norm": {"model": {"modes": [16, 16], "width": 32, "norm": "group"}},
    "fno, matmul": {"model": {"modes": [16, 16], "width": 32}, "transform": "matmul"},
    "fno, mixed in bf16, matmul": {
        "model": {"modes": [16, 16], "width": 32}, "transform": "matmul", "precision": "mixed-bf16",
    },
    "tfno": {"model": {"name": "tfno", "modes": [16, 16], "width": 32, "contraction": CORNERS}},
    "tfno, tucker": {"model": {"name": "tfno", "modes": [16, 16], "width": 32, "contraction": TUCKER}},
    "unet": {"model": {"name": "unet", "features": 8}},
    "sfno": {"data": SPHERE, "transform": "sht", "model": {"name": "sfno", "modes": [16, 16], "width": 16}},
    "gino": {"data": BODY, "model": {"name": "gino", "modes": [8, 8, 8], "width": 16, "layers": 2, "radius": 0.078}},
}  # fmt: skip


def profiled_peak(spec: RunSpec, channels: tuple[int, int, int]) -> float:
    """The most bytes alive in a second step, beside parameters, optimiser states and batch, which are there before."""
    torch.manual_seed(0)
    model = build_model(spec, *channels)
    if spec.data.name in BODIES:
        x: Any = body_like(spec, channels[2])
        y = torch.randn(1, channels[1], len(x.points))
    else:
        n, _ = spec.data.square
        grid = (n, 2 * n) if spec.data.name == "shallow-water" else (n, n)
        x, y = (
            torch.randn(spec.training.batch_size, channels[0], *grid),
            torch.randn(spec.training.batch_size, channels[1], *grid),
        )
    optimizer = build_optimizer(spec, model)
    loss_of = build_loss(spec, periodic=None if spec.data.name in BODIES else True)

    def step() -> None:
        loss_of(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    live = peak = 0
    for _, size in sorted(allocations(profile.profiler.kineto_results.experimental_event_tree())):  # type: ignore[union-attr]
        live += size
        peak = max(peak, live)
    held = [*model.parameters(), *model.buffers(), y, *(t for t in tree_iter(x) if isinstance(t, Tensor))]
    states = [t for t in tree_iter(list(optimizer.state.values())) if isinstance(t, Tensor)]
    return peak + sum(t.numel() * t.element_size() for t in [*held, *states])


def allocations(events: Any) -> Iterator[tuple[int, int]]:
    for event in events:
        if event.tag == _EventType.Allocation:
            yield event.start_time_ns, event.extra_fields.alloc_size
        yield from allocations(event.children)


@pytest.mark.parametrize("name", CASES)
def test_the_peak_is_the_profilers(name: str) -> None:
    values = {"data": FLOW, "training": {"batch_size": 8}, **CASES[name]}
    if values["data"] is BODY:
        values["training"] = {"batch_size": 1, "loss": "l2"}
    spec = RunSpec.model_validate({"precision": "full", **values})
    if "bf16" in name and not matmul_is_native("bf16", torch.device("cpu")):
        pytest.skip("this processor stores bf16 widened")
    channels = {"car": (3, 1, 1), "shallow-water": (3, 3, 1)}.get(spec.data.name, (1, 1, 1))
    body = body_like(spec, channels[2]) if spec.data.name in BODIES else None
    step = prepare_step(spec, channels, body=body).trace()
    # What a GPU's transforms borrow is not borrowed here.
    workspaces = [block for block in step.blocks if block.kind == "workspaces"]
    predicted = type(step)(tuple(b for b in step.blocks if b not in workspaces), step.ends).peak_bytes
    assert predicted == pytest.approx(profiled_peak(spec, channels), rel=0.05)
