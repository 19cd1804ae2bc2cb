"""Records to tidy tables to csv, md and tex, each with its evidence."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from pathlib import Path

import pandas as pd
import pytest
from paper_toy import collect, context

from mpno.paper import ItemData, collect_item, draw, format_settings, load_item, settings_table, table_notes
from mpno.paper.figure import draw_curves
from mpno.specs import MpnoError


def row(data: ItemData, setting: str, transform: str = "fft") -> dict:
    rows = settings_table(data).to_dict("records")
    return next(row for row in rows if (row["setting"], row["transform"]) == (setting, transform))


def test_tidy_rows_are_arm_by_seed_by_resolution_by_metric(toy_data: ItemData) -> None:
    keys = toy_data.errors[["arm", "seed", "resolution", "metric"]]
    assert len(keys) == 6 * 3 * 2 * 2
    assert len(keys.drop_duplicates()) == len(keys)
    gone = [row for row in toy_data.errors.to_dict("records") if row["status"] == "diverged"]
    assert len(gone) == 4
    assert all(math.isnan(row["value"]) and row["diverged_step"] == 17 for row in gone)
    assert toy_data.diverged("half") == 1


def test_means_are_over_seeds_with_the_sample_deviation(toy_data: ItemData) -> None:
    full = row(toy_data, "full")
    assert full["l2@16_mean"] == pytest.approx(statistics.mean([0.100, 0.110, 0.090]))
    assert full["l2@16_std"] == pytest.approx(statistics.stdev([0.100, 0.110, 0.090]))
    assert full["h1@32_mean"] == pytest.approx(0.3)
    half = row(toy_data, "half")
    assert half["l2@16_mean"] == pytest.approx(0.095)
    assert half["diverged"] == 1


def test_changes_are_paired(toy_data: ItemData) -> None:
    mixed = row(toy_data, "mixed")
    assert mixed["change"] == pytest.approx(statistics.mean([0.01, 0.02, 0.01]))
    assert mixed["against"] == "full (fft)"
    assert math.isnan(row(toy_data, "full")["change"])


def test_verdicts(toy_data: ItemData) -> None:
    assert row(toy_data, "mixed")["verdict"] == "equivalent within 5 %"
    assert row(toy_data, "mixed-e5m2")["verdict"] == "control: told apart"
    assert row(toy_data, "half")["verdict"] == "diverged in 1"
    # The control has another transform, so it says nothing about this one.
    assert row(toy_data, "mixed", "matmul")["verdict"] == "within 5 %, no control"


def test_without_power_nothing_is_equivalent(toy_data: ItemData) -> None:
    errors = toy_data.errors.copy()
    full = errors.query("arm == 'full'")["value"].to_numpy()
    errors.loc[errors["arm"] == "control", "value"] = full * [1, 1, 1, 1, 1.2, 1.2, 1.2, 1.2, 0.9, 0.9, 0.9, 0.9]
    blind = dataclasses.replace(toy_data, errors=errors)
    assert row(blind, "mixed")["verdict"] == "no power at this scale"
    assert row(blind, "mixed-e5m2")["verdict"] == "control: not told apart"
    assert any("cannot be told from" in note for note in table_notes(blind))


def test_a_control_told_from_full_but_not_from_its_tanh_has_no_power(toy_data: ItemData) -> None:
    errors = toy_data.errors.copy()
    control = errors.query("arm == 'control'")["value"].to_numpy()
    errors.loc[errors["arm"] == "full-tanh", "value"] = control
    assert row(dataclasses.replace(toy_data, errors=errors), "mixed")["verdict"] == "no power at this scale"


def test_time_and_memory_only_where_they_mean_something(toy_data: ItemData) -> None:
    rows = format_settings(settings_table(toy_data)).to_dict("records")
    shown = {(row["setting"], row["transform"]): row for row in rows}
    assert shown["full", "fft"]["s/epoch"] == "2.00"
    assert shown["mixed", "fft"]["s/epoch"] == "\N{EN DASH}"
    assert shown["mixed-e5m2", "fft"]["predicted MiB"] == "\N{EN DASH}"
    assert shown["half", "fft"]["seeds"] == "2 of 3"


def test_every_file_carries_evidence_scale_and_device(toy: Path, tmp_path: Path) -> None:
    draw(load_item(toy), tmp_path)
    for ending in ("csv", "md", "tex"):
        text = (tmp_path / "tables" / f"toy.{ending}").read_text()
        for part in ("simulated", "native", "scale smoke", "A processor", "seed 1, epoch 4, step 17"):
            assert part in text, (ending, part)
    frame = pd.read_csv(tmp_path / "tables" / "toy.csv", comment="#")
    assert list(frame["evidence"]) == ["native", "native", "simulated", "simulated", "native", "simulated"]
    assert frame["l2@16_mean"].tolist()[0] == pytest.approx(0.1)


def test_tex_is_escaped_and_balanced(toy: Path, tmp_path: Path) -> None:
    draw(load_item(toy), tmp_path)
    tex = (tmp_path / "tables" / "toy.tex").read_text()
    body = "\n".join(line for line in tex.splitlines() if not line.startswith("%"))
    assert r"A toy \& <b>its</b> title" in body
    assert "±" not in body
    assert body.isascii()
    assert body.replace(r"\{", "").count("{") == body.replace(r"\}", "").count("}")
    assert all(line.count("&") - line.count(r"\&") == 13 for line in body.splitlines() if line.endswith(r"\\"))


def test_a_change_is_visible_in_every_file(toy: Path, tmp_path: Path) -> None:
    item = load_item(toy)
    draw(dataclasses.replace(item, context=item.context | {"changes": ["optimizer.lr=2e-3"]}), tmp_path)
    for name in ("tables/toy.csv", "tables/toy.md", "tables/toy.tex", "figures/toy.csv", "drawn/toy.json"):
        assert "changed: optimizer.lr=2e-3" in (tmp_path / name).read_text().lower()


def test_no_results_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match="make item ITEM=darcy-settings"):
        load_item(tmp_path / "darcy-settings")


def test_broken_records_are_one_line(tmp_path: Path) -> None:
    item = context()
    collect(tmp_path, item)
    places = {"root": tmp_path, "reference": tmp_path / "reference.csv", "out": tmp_path / "out"}
    record = tmp_path / "runs" / "mixed_s1" / "metrics.json"
    whole = record.read_text()
    for text, said in [("{", "not JSON"), (json.dumps(json.loads(whole) | {"id": "x"}), "records run 'x'")]:
        record.write_text(text)
        with pytest.raises(MpnoError, match=said):
            collect_item(item, **places)
    record.unlink()
    with pytest.raises(MpnoError, match="is missing"):
        collect_item(item, **places)
    record.write_text(whole)
    (tmp_path / "reference.csv").write_text(places["reference"].read_text().replace("read off a plot", "from memory"))
    with pytest.raises(MpnoError, match="provenance 'from memory'"):
        collect_item(item, **places)
    assert not places["out"].exists()


def test_runs_on_other_data_do_not_share_a_table(tmp_path: Path) -> None:
    collect(tmp_path, context())
    path = tmp_path / "runs" / "mixed_s1" / "metrics.json"
    record = json.loads(path.read_text())
    for key, other in (("source", "generate"), ("digest", "xyz")):
        path.write_text(json.dumps(record | {"data": record["data"] | {key: other}}))
        with pytest.raises(MpnoError, match=f"mixed_s1 differ in the {key} of their data .*one data set"):
            collect_item(context(), root=tmp_path, reference=tmp_path / "reference.csv", out=tmp_path / "again")


def test_a_grid_that_is_not_square_is_shown_as_it_is(tmp_path: Path) -> None:
    folder = collect(tmp_path, context())
    grids = {16: "60x100", 32: 120}
    for name in ("errors", "history"):
        frame = pd.read_csv(folder / f"{name}.csv")
        frame["resolution"] = [grids[one] for one in frame["resolution"]]
        frame.to_csv(folder / f"{name}.csv", index=False)
    made = json.loads((folder / "context.json").read_text())
    mine = {"name": "mine", "source": "import", "resolution": "60x100", "test_resolutions": ["60x100", 120]}
    made["parts"][0]["data"] |= mine
    (folder / "context.json").write_text(json.dumps(made))
    data = load_item(folder).only
    assert data.resolutions == ("60x100", 120)
    table = settings_table(data)
    assert table["l2@60x100_mean"].tolist()[0] == pytest.approx(0.1)
    assert table["l2@120_mean"].tolist()[0] == pytest.approx(0.15)
    assert list(format_settings(table))[5:9] == ["L2@60x100", "L2@120", "H1@60x100", "H1@120"]
    text = " ".join(table_notes(data))
    assert "mine, the user's own (imported), at 60x100, 4 training" in text
    assert "@120: tested at 120x120, zero-shot" in text
    assert draw_curves(data).axes[0].get_title() == "(a) test at 60x100"
