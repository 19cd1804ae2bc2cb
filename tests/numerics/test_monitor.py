"""Headroom of half transforms against the analytic spectrum of a field, here and on a finer grid."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mpno.numerics import RangeMonitor, observe
from mpno.specs import get_format

MAX = get_format("fp16").max


class Layer(nn.Module):
    """Shows its input's spectrum and passes the input on, times a gain."""

    def __init__(self, gain: float = 1.0, pairs: bool = False) -> None:
        super().__init__()
        self.gain, self.pairs = gain, pairs

    def forward(self, x: Tensor) -> Tensor:
        s = torch.fft.rfft2(x, norm="forward")
        observe(self, "spectrum", torch.view_as_real(s) if self.pairs else s, x.shape[-1] * x.shape[-2])
        return self.gain * x


def wave(n: int) -> Tensor:
    """3 + 4·cos(2x) - 10·sin(y): coefficients 3, 2 and ±5i, so the largest part is 5, an imaginary one."""
    t = 2 * math.pi * torch.arange(n) / n
    return (3 + 4 * torch.cos(2 * t)[:, None] - 10 * torch.sin(t)[None, :]).expand(2, n, n)


def test_headroom_here_and_on_another_grid() -> None:
    model = nn.Sequential(Layer(gain=2.0), Layer(pairs=True))
    with RangeMonitor(model, grids=(64 * 64,)) as monitor:
        model(wave(16))
    first, second = monitor.report().layers
    assert (first.layer, second.layer, first.points) == ("0", "1", 256)
    assert first.largest == pytest.approx(5.0, rel=1e-5) and second.largest == pytest.approx(10.0, rel=1e-5)
    assert first.ratio == pytest.approx(5 * 256 / MAX, rel=1e-5)
    # The same function on a finer grid has the ratio foretold, and most_points is where it reaches 1.
    with RangeMonitor(model) as finer:
        model(wave(64))
    assert finer.report().layers[0].ratio == pytest.approx(first.at(64 * 64), rel=1e-5)
    assert first.at(int(first.most_points)) == pytest.approx(1.0, rel=1e-3)


def test_it_keeps_the_maximum_over_steps_and_each_grid_apart() -> None:
    model = nn.Sequential(Layer())
    with RangeMonitor(model) as monitor:
        for factor in (1.0, 3.0, 2.0):
            model(factor * wave(16))
        model(wave(8))
    assert [(h.points, round(h.largest, 3)) for h in monitor.report().layers] == [(256, 15.0), (64, 5.0)]


def test_it_sees_only_its_model_and_only_while_open() -> None:
    mine, other = nn.Sequential(Layer()), nn.Sequential(Layer())
    with RangeMonitor(mine) as outer, RangeMonitor(other) as inner:
        mine(wave(8))
    mine(100 * wave(8))
    assert len(outer.report().layers) == 1 and inner.report().layers == ()
    assert outer.report().layers[0].largest == pytest.approx(5.0, rel=1e-5)
    assert str(inner.report()) == "no spectral layer has shown a spectrum"


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_what_has_overflowed_has_no_headroom(bad: float) -> None:
    layer = Layer()
    with RangeMonitor(layer) as monitor:
        observe(layer, "spectrum", torch.tensor([1.0, bad, 2.0]), 4)
        observe(layer, "spectrum", torch.tensor([1.0, 1.0]), 4)
    (found,) = monitor.report().layers
    assert found.layer == "model" and found.ratio == math.inf and found.most_points == 0.0


@pytest.mark.filterwarnings("ignore:ComplexHalf support")
def test_half_spectra_and_negative_parts_count() -> None:
    layer = Layer()
    with RangeMonitor(layer, format="bf16") as monitor:
        observe(layer, "spectrum", torch.complex(torch.tensor([1.0]), torch.tensor([-3.0])).to(torch.complex32), 4)
    assert monitor.report().layers[0].largest == 3.0
    assert monitor.report().layers[0].ratio == pytest.approx(12 / get_format("bf16").max)


def test_the_report_is_a_table_and_a_tidy_record() -> None:
    model = nn.Sequential(Layer())
    with RangeMonitor(model, grids=(256, 4096)) as monitor:
        model(wave(16))
    report = monitor.report()
    assert [(row["layer"], row["points"], row["measured"]) for row in report.records()] == [
        ("0", 256, True),
        ("0", 4096, False),
    ]
    lines = str(report).splitlines()
    assert lines[0] == "largest unscaled coefficient over the maximum of fp16"
    assert lines[1].split("  ")[0] == "layer" and f"{5 * 4096 / MAX:.3g}" in lines[2] and len(lines) == 3
