"""A run's step and what its process would show."""

from __future__ import annotations

import pytest
import torch

from mpno.measurement import predict_bytes
from mpno.measurement.shapes import POINTS, body_like
from mpno.measurement.step import prepare_step, reading_of
from mpno.specs import MpnoError, RunSpec

BODY = {"name": "ahmed", "source": "generate", "resolution": 16, "test_resolutions": [16], "points": 500}
ONE = {"batch_size": 1, "loss": "l2"}


def test_it_is_the_prediction_of_every_table_but_for_workspaces() -> None:
    """Parts that two ways count: `predict_bytes` for tables of runs, this for cards."""
    spec = RunSpec.model_validate({"precision": "mixed", "model": {"modes": [8, 8], "width": 16, "norm": "group"}})
    step, found = prepare_step(spec).trace(), predict_bytes(spec)
    assert found is not None
    for part in ("parameters", "gradients", "optimiser"):
        assert step.share(part) == found[part]  # type: ignore[arg-type]
    peak = step.peak()
    assert step.peak_bytes - peak.get("workspaces", 0) == pytest.approx(found["peak"], rel=1e-3)


def test_a_larger_batch_shows_more() -> None:
    small, large = (RunSpec.model_validate({"training": {"batch_size": n}}) for n in (32, 512))
    assert reading_of(prepare_step(small).trace()).shown < reading_of(prepare_step(large).trace()).shown


@pytest.mark.parametrize("name", ["car", "ahmed"])
def test_a_body_has_the_published_number_of_points(name: str) -> None:
    model = {"name": "gino", "modes": [4, 4, 4], "radius": 0.08}
    data = {**BODY, "name": name, "points": None}
    spec = RunSpec.model_validate({"data": data, "model": model, "precision": "full", "training": ONE})
    body = body_like(spec, 1)
    assert len(body.points) == POINTS[name] and body.latent.shape == (1, 16, 16, 16)
    assert float(body.points.min()) >= 0 and float(body.points.max()) <= 1
    # Spread by area over the surface: no half of the body goes without.
    assert all(
        0.2 < float((body.points[:, axis] < body.points[:, axis].median()).float().mean()) < 0.8 for axis in range(3)
    )
    again = body_like(spec, 1)
    assert torch.equal(body.points, again.points)


def test_bodies_and_fields_are_told_apart() -> None:
    fields = RunSpec.model_validate({})
    with pytest.raises(MpnoError, match="has no body; give a run of a gino on car or ahmed"):
        body_like(fields, 1)
    model = {"name": "gino", "modes": [4, 4, 4]}
    bodies = RunSpec.model_validate({"data": BODY, "model": model, "precision": "full", "training": ONE})
    with pytest.raises(MpnoError, match="bodies of ahmed differ in their points; give one as body"):
        prepare_step(bodies).trace()
    with pytest.raises(MpnoError, match="in the authors' implementation; allowed: an FNO on fields"):
        prepare_step(bodies, body=body_like(bodies, 2), channels=(3, 1, 2), implementation="authors").trace()
