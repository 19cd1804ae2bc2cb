"""A new run beside the published tables, and what must hold of all records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from paper_toy import collect, context

from mpno.paper import draw, load_item
from mpno.paper.invariants import check_records
from mpno.paper.published import compare, publish
from mpno.specs import MpnoError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A scale's results: records, tidy tables, and what was drawn."""
    draw(load_item(collect(tmp_path, context())), tmp_path)
    return tmp_path


@pytest.fixture
def published(root: Path) -> Path:
    assert publish(root / "tidy", root / "published") == 1
    return root / "published"


def test_published_tables_are_drawn_as_they_were(root: Path, published: Path, tmp_path: Path) -> None:
    draw(load_item(published / "toy"), tmp_path / "again")
    assert (tmp_path / "again/tables/toy.md").read_text() == (root / "tables/toy.md").read_text()


def test_a_run_is_compared_cell_by_cell(root: Path, published: Path) -> None:
    found = compare(root / "tidy", published)
    # Of 18 runs a status and an error on two grids in two norms, but for the run that diverged; 6 counts of 6 arms.
    assert found.cells == 18 * 4 + 17 * 4 + 6 * 6 and not found.outside
    frame = pd.read_csv(root / "tidy/toy/errors.csv")
    here = frame.query("arm == 'mixed' and seed == 1 and resolution == 16 and metric == 'l2'").index
    for factor, outside in ((1.04, 0), (1.06, 1)):
        changed = frame.copy()
        changed.loc[here, "value"] *= factor
        changed.to_csv(root / "tidy/toy/errors.csv", index=False)
        assert len(compare(root / "tidy", published).outside) == outside
    assert "darcy mixed 1 16 l2" in str(compare(root / "tidy", published))


def test_a_run_that_diverges_now_and_bytes_that_change_are_outside(root: Path, published: Path) -> None:
    errors, arms = (pd.read_csv(root / f"tidy/toy/{name}.csv") for name in ("errors", "arms"))
    errors.loc[(errors["arm"] == "full") & (errors["seed"] == 0), ["status", "value"]] = ["diverged", float("nan")]
    errors.to_csv(root / "tidy/toy/errors.csv", index=False)
    arms.loc[arms["arm"] == "mixed", "predicted_peak"] += 2**10
    arms.to_csv(root / "tidy/toy/arms.csv", index=False)
    outside = compare(root / "tidy", published).outside
    assert len(outside) == 4 + 1 and sum("status: diverged, published finished" in line for line in outside) == 4


def test_an_item_that_is_not_made_is_named(root: Path, published: Path) -> None:
    shutil.rmtree(root / "tidy" / "toy")
    with pytest.raises(MpnoError, match="has no toy; make it with `make item ITEM=toy`"):
        compare(root / "tidy", published)


def finish(root: Path) -> None:
    """What the toy's records leave out of a run's."""
    for number, folder in enumerate(sorted((root / "runs").iterdir())):
        record = json.loads((folder / "metrics.json").read_text())
        seed = int(folder.name.rpartition("_s")[2])
        spec = {"seed": seed, "data": {"test_resolutions": [16, 32]}, "training": {"epochs": 10}, "number": number}
        (folder / "metrics.json").write_text(json.dumps(record | {"spec": spec}))
        (folder / "spec.json").write_text(json.dumps(spec))


def check(root: Path) -> int:
    return check_records([root / "tidy/toy/context.json"], root=root, out=root / "records.txt")


def test_all_records_hold(root: Path) -> None:
    finish(root)
    assert check(root) == 18
    assert (root / "records.txt").read_text() == "18 runs of 1 items hold\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("runs/full_s0/metrics.json", '"l2": 0.1,', '"l2": NaN,', "run full_s0: l2 on 16 is nan"),
        ("runs/full_s0/metrics.json", '"l2": 0.1,', '"l2": 1e9,', "l2 on 16 is 1000000000.0"),
        ("runs/full_s0/metrics.json", '"32": {"l2"', '"64": {"l2"', "has errors on 16, 64, not on 16, 32"),
        ("runs/half_s1/metrics.json", '"where": "block 2, forward transform"', '"where": ""', "no place where"),
        ("runs/full_s0/metrics.json", '"seed": 0', '"seed": 1', "seed 0 has the run of seed 1"),
        ("runs/full_s0/history.csv", "10,10,", "11,11,", "its history has epochs"),
        ("tidy/toy/reference.csv", ",s,", ",hours,", "unit 'hours'"),
    ],
)
def test_what_does_not_hold_is_one_line(root: Path, file: str, old: str, new: str, said: str) -> None:
    finish(root)
    path = root / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(MpnoError, match=said):
        check(root)
    assert not (root / "records.txt").exists()


def test_a_spec_that_two_runs_have_and_an_item_without_a_page_do_not_hold(root: Path) -> None:
    finish(root)
    shutil.copy(root / "runs/full_s0/spec.json", root / "runs/mixed_s0/spec.json")
    with pytest.raises(MpnoError, match="full_s0 and mixed_s0 have the same spec"):
        check(root)
    finish(root)
    (root / "drawn" / "toy.json").unlink()
    with pytest.raises(MpnoError, match="nothing was drawn"):
        check(root)
