"""The curves: what is drawn, in which panel, and that the same numbers give the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mpno.paper import ItemData, draw_curves, save_figure
from mpno.paper.style import COLOURS, TEXT_WIDTH, line


def test_every_seed_and_the_mean(toy_data: ItemData) -> None:
    figure = draw_curves(toy_data)
    test, finer, timed = figure.axes
    assert len(test.lines) == len(finer.lines) == 6 * (3 + 1)
    assert len(timed.lines) == 3 * (3 + 1)  # full, full+tanh, matmul: the native ones
    mean = np.asarray(test.lines[3].get_ydata(), dtype=float)
    assert mean[-1] == pytest.approx(0.1)
    assert np.asarray(finer.lines[3].get_ydata(), dtype=float)[-1] == pytest.approx(0.15)


def test_time_is_epochs_times_measured_seconds(toy_data: ItemData) -> None:
    timed = draw_curves(toy_data).axes[2]
    assert list(np.asarray(timed.lines[0].get_xdata())) == [2.0 * epoch for epoch in range(1, 11)]
    assert any("half" in text.get_text() and "mixed" in text.get_text() for text in timed.texts)


def test_the_mean_stops_where_a_seed_diverges(toy_data: ItemData) -> None:
    axes = draw_curves(toy_data).axes[0]
    half = [each for each in axes.lines if each.get_color() == COLOURS["half"]]
    assert [len(np.asarray(each.get_xdata())) for each in half] == [10, 10, 10, 3]


def test_evidence_is_drawn() -> None:
    assert len({str(line(kind)) for kind in ("native", "emulated", "simulated")}) == 3
    assert line("native/simulated") == line("simulated")


def test_files_are_deterministic_and_of_the_text_width(toy_data: ItemData, tmp_path: Path) -> None:
    first = [path.read_bytes() for path in save_figure(draw_curves(toy_data), "toy", tmp_path / "a")]
    second = [path.read_bytes() for path in save_figure(draw_curves(toy_data), "toy", tmp_path / "b")]
    assert first == second
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["toy.pdf", "toy.png", "toy.svg"]
    with Image.open(tmp_path / "a" / "toy.png") as picture:
        assert picture.width == round(TEXT_WIDTH * 300)
