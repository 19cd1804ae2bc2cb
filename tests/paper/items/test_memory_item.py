"""Memory by setting: savings by hand, published readings in a block of their own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from item_toy import context, part

from mpno.paper.items.memory import bars, figure, table
from mpno.paper.records import read_reference
from mpno.paper.style import colour

MIB = 2**20
PEAKS = {"full": 40 * MIB, "amp": 30 * MIB, "half": 44 * MIB, "mixed": 10 * MIB}
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def item() -> Any:
    sizes = [
        {"part": "flow", "data": "navier-stokes", "setting": setting, "model": "TFNO (CP)", "batch": 32}
        | {"grid": "128x128", "parameters": MIB, "activations": peak / 2, "peak": peak, "evidence": "predicted"}
        for setting, peak in (("full", 1000.0 * MIB), ("mixed", 600.0 * MIB))
    ]
    return SimpleNamespace(
        context=context("memory"),
        parts={"darcy": part("darcy", peaks=PEAKS), "car": part("car", peaks=PEAKS)},
        probes={"sizes": pd.DataFrame(sizes)},
        reference=read_reference(ROOT / "workflow" / "reference" / "memory.csv"),
    )


def test_savings_are_against_full_in_percent(item: Any) -> None:
    frame = bars(item)
    darcy = frame[frame["data"] == "Darcy flow"].set_index("setting")
    here = darcy[darcy["where"] == "this scale"]
    assert here["memory"].to_dict() == {"full": 40, "amp": 30, "half": 44, "mixed": 10}
    assert here["saving"].to_dict() == pytest.approx({"full": 0, "amp": 25, "half": -10, "mixed": 75})
    sized = frame[frame["where"] == "published size"].set_index("setting")
    assert sized.loc["mixed", "saving"] == pytest.approx(40) and sized.loc["mixed", "activations"] == 300


def test_published_readings_keep_their_card_unit_and_provenance(item: Any) -> None:
    frame = bars(item)
    published = frame[frame["where"] == "as published"]
    v100 = published[published["data"] == "Navier-Stokes, V100"].set_index("setting")
    # 28.9 and 45.0 percent, as the paper's plots have them.
    assert v100["saving"].round(1).to_dict() == {"full": 0.0, "amp": 12.9, "half": 28.9, "mixed": 45.0}
    assert all("authors' notebook" in text for text in v100["provenance"])
    ahmed = published[published["data"] == "Ahmed body, card unknown"].set_index("setting")
    assert ahmed.loc["mixed", "saving"] == 38.4 and pd.isna(ahmed.loc["mixed", "memory"])
    assert set(published["evidence"]) == {"published"}


def test_a_reader_sees_every_row_under_its_block(item: Any) -> None:
    found = table(item)
    assert found.roles == list(found.numbers["where"]) and len(found.shown) == len(found.numbers)
    assert list(dict.fromkeys(found.roles)) == ["this scale", "published size", "as published"]
    cars = found.shown[found.shown["data set"].str.contains("Car")]
    assert all("stand-in" in name for name in cars["data set"])
    assert not found.shown.isin(["nan", "nan %"]).any().any()
    assert any("nvidia-smi" in note for note in found.notes) and any(
        "not the published" in note for note in found.notes
    )


def test_no_predicted_bar_shares_axes_with_a_published_one(item: Any) -> None:
    drawing = figure(item)
    kinds = []
    for axes in drawing.figure.axes:
        kinds.append({bool(bar.get_hatch()) for bar in axes.patches})
        assert kinds[-1] in ({True}, {False})
    assert kinds.count({False}) == 1
    heights = {round(bar.get_height()) for axes in drawing.figure.axes for bar in axes.patches}
    # The Ahmed body's reading stands alone: nothing to compare it with.
    assert {40, 30, 44, 10, 1000, 600, 11781, 6483} <= heights and 20000 not in heights


def test_settings_have_their_colours(item: Any) -> None:
    bars_of = figure(item).figure.axes[0].patches
    assert [bar.get_edgecolor()[:3] for bar in bars_of] == [
        pytest.approx(to_rgb(colour(name))) for name in ("full", "amp", "half", "mixed")
    ]


def to_rgb(shade: Any) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb as convert

    return convert(shade)
