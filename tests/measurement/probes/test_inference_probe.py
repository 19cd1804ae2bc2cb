"""Finished runs in other settings, against errors computed in numpy from what the model gives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mpno import MpnoError, RunSpec
from mpno.datasets import load_split, write_store
from mpno.measurement.probes.inference import inference
from mpno.measurement.probes.inputs import ProbedArm
from mpno.specs import FNOSpec, TrainingSpec
from mpno.training import load_run, train_run

ASKED = ["amp", "full+tanh", "half, stabiliser none", "full"]


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> ProbedArm:
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("inference")
    fields = {key: 30 * rng.standard_normal((n, 1, 8, 8)).astype(np.float32) for key, n in (("train", 8), ("test", 3))}
    fields["test"][0] += 3000  # a hundred standard deviations: a sum over 64 points that e4m3 does not hold
    arrays = {f"{key}/8/{kind}": values for key, values in fields.items() for kind in "xy"}
    attrs = dict.fromkeys(("name", "title", "units_x", "units_y", "licence", "citation", "origin"), "noise")
    write_store(folder / "noise.h5", arrays, attrs | {"source": "import", "seed": None}, {"x": "noise", "y": "noise"})
    data = {"name": "noise", "source": "import", "resolution": 8, "test_resolutions": (8,), "n_train": 8, "n_test": 3}
    values = {"data": data, "model": FNOSpec(modes=(4, 4), width=8, layers=2)}
    spec = RunSpec.model_validate(values | {"training": TrainingSpec(epochs=2, batch_size=4, normalise_output=True)})
    for seed in (0, 1):
        run = spec.model_copy(update={"seed": seed})
        train_run(run, data=folder / "noise.h5", out=folder / str(seed), progress=False)
    return ProbedArm("noise", "full", spec, folder / "noise.h5", {seed: folder / str(seed) for seed in (0, 1)})


def test_each_setting_is_what_the_model_gives_in_it(arm: ProbedArm) -> None:
    rows = pd.DataFrame(inference([arm], {"settings": ASKED, "control": "mixed-e5m2+none"}))
    labels = ["full", "amp", "full+tanh", "half, stabiliser none", "mixed-e5m2, stabiliser none"]
    assert list(rows["setting"]) == 2 * labels, "the setting of the training comes first, and once"
    assert list(rows["role"]) == 2 * ["trained", "setting", "setting", "setting", "control"]
    test = load_split(arm.data, "test", 8)
    for row in rows.to_dict("records"):
        made = load_run(arm.runs[row["seed"]], precision=row["setting"]).predict(torch.from_numpy(test.x)).numpy()
        each = [np.linalg.norm(p - y) / np.linalg.norm(y) for p, y in zip(made.astype(float), test.y, strict=True)]
        assert row["l2"] == pytest.approx(np.mean(each), rel=1e-5)
    trained = json.loads((arm.runs[1] / "metrics.json").read_text())["metrics"]["8"]
    own = rows.query("seed == 1 and role == 'trained'").iloc[0]
    assert (own["l2"], own["h1"]) == (trained["l2"], trained["h1"])
    assert not rows.query("seed == 0").duplicated(["l2", "h1"]).any(), (
        "settings that give one number are not told apart"
    )


def test_what_is_not_finite_has_no_number_but_a_way_out(arm: ProbedArm) -> None:
    row = inference([replace(arm, runs={0: arm.runs[0]})], {"settings": ["mixed-fp8_e4m3+none"]})[1]
    if row["finite"]:
        pytest.fail("the fields must overflow in e4m3, whose largest number is 448, or nothing is tested")
    assert row["l2"] is None and row["h1"] is None and row["advice"].startswith("not finite, first in ")


def test_a_run_that_diverged_is_not_evaluated(arm: ProbedArm, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"diverged": {"epoch": 2}}')
    rows = inference([replace(arm, runs={4: tmp_path})], {"settings": ["amp"]})
    assert [(row["seed"], row["setting"], row["l2"], row["finite"], row["trained"]) for row in rows] == [
        (4, "full", None, False, "diverged"),
        (4, "amp", None, False, "diverged"),
    ]


@pytest.mark.parametrize("settings", [{}, {"settings": []}, {"settings": ["amp"], "more": 1}])
def test_settings_that_are_none_are_refused(arm: ProbedArm, settings: dict) -> None:
    with pytest.raises(MpnoError, match="give the list settings"):
        inference([arm], settings)


def test_an_unknown_setting_is_named(arm: ProbedArm) -> None:
    with pytest.raises(MpnoError, match=r"probe inference: precision is 'quarter'; it is not a precision setting"):
        inference([arm], {"settings": ["quarter"]})
