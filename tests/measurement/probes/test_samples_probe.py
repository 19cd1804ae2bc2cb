"""A sample of each set as a small table: values at their places, points that face the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import trimesh

from mpno.datasets import write_store
from mpno.datasets.meshes import Body, write_bodies
from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.probes.samples import MOST, POINTS, samples
from mpno.specs import MpnoError, RunSpec

ATTRS: dict[str, Any] = {
    **dict.fromkeys(("title", "licence", "citation", "origin"), "toy"),
    "units_x": ["m", "s"],
    "units_y": "kg",
    "seed": None,
    "source": "generate",
}
N = 66
RADIUS = 0.4


def field_arm(folder: Path, part: str) -> ProbedArm:
    """Channel c of sample k holds 1000 k + 100 c + y, where y is the row's place on [0, 1), and x in the target."""
    place = np.arange(N) / N
    arrays = {}
    for split, count in (("train", 2), ("test", 3)):
        sample = 1000.0 * (np.arange(count) + 5 * (split == "train"))[:, None, None, None]
        x = sample + 100 * np.arange(2)[:, None, None] + place[:, None] + 0 * place
        y = sample + place + 0 * place[:, None]
        arrays |= {f"{split}/{N}/x": x, f"{split}/{N}/y": np.broadcast_to(y, (count, 1, N, N))}
    path = folder / "grid.h5"
    write_store(path, arrays, ATTRS | {"name": "darcy", "periodic": False}, {"x": "", "y": ""})
    data = {"name": "darcy", "source": "generate", "resolution": N, "test_resolutions": [N], "n_train": 2, "n_test": 3}
    return ProbedArm(part, "full", RunSpec.model_validate({"data": data, "model": {"modes": (4, 4)}}), path, {})


def body_arm(folder: Path) -> ProbedArm:
    """A ball over the ground, longest along x, whose pressure is the height of its points."""

    def ball(shift: float) -> Body:
        mesh = trimesh.creation.icosphere(subdivisions=4, radius=RADIUS)
        vertices = mesh.vertices + np.array([shift, 0, 1])
        return Body(
            vertices, mesh.faces, mesh.vertex_normals, np.ones(len(vertices)), vertices[:, 2], np.zeros(0), 20.0,
            np.arange(64.0).reshape(4, 4, 4) - 30, np.array([[-2.0, -1, 0], [2, 1, 2]]),
        )  # fmt: skip

    attrs = ATTRS | {"name": "car", "units_x": "m", "evidence": "stand-in data", "parameter_names": []}
    write_bodies(folder / "bodies.h5", {"train": [ball(0.1)], "test": [ball(0.0), ball(0.2)]}, attrs)
    data = {"name": "car", "source": "generate", "resolution": 4, "test_resolutions": [4], "n_train": 1, "n_test": 2}
    model = {"name": "gino", "modes": (4, 4, 4)}
    spec = RunSpec.model_validate({"data": data, "model": model, "training": {"batch_size": 1}})
    return ProbedArm("car", "full", spec, folder / "bodies.h5", {})


def test_fields_are_thinned_and_values_stay_at_their_places(tmp_path: Path) -> None:
    frame = pd.DataFrame(samples([field_arm(tmp_path, "darcy")], {}))
    assert set(frame["evidence"]) == {"solved here"} and set(frame["part"]) == {"darcy"}
    views = dict(tuple(frame.groupby("view")))
    assert len(views["input"]) == len(views["target"]) == (N // 3) ** 2  # 66 points are thinned to every third
    assert len(set(views["input"]["x"])) <= MOST
    # Four significant digits of numbers up to 1.
    assert views["input"]["value"].to_numpy() == pytest.approx(views["input"]["y"].to_numpy(), abs=1e-4)
    assert views["target"]["value"].to_numpy() == pytest.approx(views["target"]["x"].to_numpy(), abs=1e-4)
    assert set(views["input"]["unit"]) == {"m"} and set(views["target"]["unit"]) == {"kg"}


def test_the_channel_asked_for_and_each_part_once(tmp_path: Path) -> None:
    arm = field_arm(tmp_path, "darcy")
    twice = ProbedArm("darcy", "mixed", arm.spec, arm.data, {})
    frame = pd.DataFrame(samples([arm, twice], {"channel": {"other": 5}}))
    assert len(frame) == 2 * (N // 3) ** 2
    assert frame["value"].to_numpy().max() < 1


def test_a_channel_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match="channel 1 of darcy; its target has 1, from 0"):
        samples([field_arm(tmp_path, "darcy")], {"channel": {"darcy": 1}})


def test_points_of_a_body_face_the_viewer(tmp_path: Path) -> None:
    frame = pd.DataFrame(samples([body_arm(tmp_path)], {}))
    assert set(frame["evidence"]) == {"stand-in data, solved here"}
    side, above = (frame.query("view == @view") for view in ("side", "above"))
    assert len(side) == len(above) == POINTS
    # From the side the page shows heights; from above only the upper half is seen.
    assert side["value"].to_numpy() == pytest.approx(side["y"].to_numpy(), abs=1e-3)
    heights, seen = side["value"].to_numpy(), above["value"].to_numpy()
    assert heights.min() < 1 < heights.max() and seen.min() >= 1
    # On the ball a point's distance from the line of sight fixes its height.
    away = np.hypot(above["x"].to_numpy(), above["y"].to_numpy())
    assert away.max() <= RADIUS * 1.001
    assert seen == pytest.approx(1 + np.sqrt(np.maximum(RADIUS**2 - away**2, 0)), abs=6e-3)
