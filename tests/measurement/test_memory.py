"""Predicted memory against counting by hand."""

from __future__ import annotations

import pytest
import torch

from mpno import FNO, RunSpec
from mpno.measurement import predict_bytes
from mpno.models import make_model
from mpno.specs import FNOSpec, PrecisionSetting


def spec(precision: str = "full", **model: int) -> RunSpec:
    setting = PrecisionSetting.model_validate(precision)
    return RunSpec(precision=setting, model=FNOSpec.model_validate({"modes": (8, 8), "width": 8, **model}))


def test_parameters_are_counted() -> None:
    predicted = predict_bytes(spec())
    assert predicted is not None
    count = sum(p.numel() for p in make_model(spec().model, 1, 1).parameters())
    assert predicted["parameters"] == predicted["gradients"] == 4 * count
    assert predicted["optimiser"] == 8 * count
    assert predicted["peak"] > predicted["parameters"] + predicted["activations"]


def test_an_extra_saved_field_adds_exactly_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more layer that saves its input must show as that input's size, and nothing else."""
    before = predict_bytes(spec())
    original = FNO.forward
    monkeypatch.setattr(FNO, "forward", lambda self, x: original(self, x).sin())
    after = predict_bytes(spec())
    assert before is not None and after is not None
    assert after["activations"] - before["activations"] == 32 * 1 * 16 * 16 * 4


def test_the_paper_s_order_of_settings() -> None:
    sizes = [predict_bytes(spec(p))["activations"] for p in ("full+tanh", "amp+tanh", "mixed")]  # type: ignore[index]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3


def test_formats_without_hardware_have_no_memory() -> None:
    assert predict_bytes(spec("mixed-e5m2")) is None


def test_half_transforms_that_no_gpu_has_have_no_memory() -> None:
    def at(resolution: int, transform: str) -> RunSpec:
        data = {"source": "generate", "resolution": resolution, "test_resolutions": [resolution]}
        return RunSpec.model_validate({"data": data, "precision": "mixed", "transform": transform})

    assert predict_bytes(at(20, "fft")) is None
    assert predict_bytes(at(20, "matmul")) and predict_bytes(at(32, "fft"))


def test_views_of_parameters_are_not_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that only scales its input by a sum over a large parameter keeps little for its backward."""

    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1000, 1000))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight.narrow(0, 0, 1).sum()

    monkeypatch.setattr("mpno.measurement.step.build_model", lambda *_: Scaled())
    predicted = predict_bytes(spec())
    assert predicted is not None and predicted["parameters"] == 4 * 10**6
    # The product saves the batch and four bytes; the loss a few fields of the batch's size.
    field = 32 * 16 * 16 * 4
    assert predicted["activations"] <= 4 * field < predicted["parameters"]
    assert 4 * predicted["parameters"] <= predicted["peak"] <= 4 * predicted["parameters"] + 10 * field + 10**4


def test_a_schedule_needs_what_its_costliest_phase_needs() -> None:
    peaks = {p: predict_bytes(spec(p)) for p in ("schedule", "mixed", "mixed FHH+none", "full")}
    sizes = {name: found["peak"] for name, found in peaks.items() if found is not None}
    assert sizes["schedule"] == max(sizes[name] for name in sizes if name != "schedule") == sizes["full"]
    assert sizes["mixed"] < sizes["full"]


@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("precision", ["full", "mixed"])
def test_a_norm_keeps_what_it_normalises_alone(norm: str, precision: str) -> None:
    """Two norms a block: one's input takes the place of what the activation after it would have kept."""
    data = {"name": "navier-stokes", "source": "generate", "resolution": 64, "test_resolutions": [64]}
    model = {"modes": [16, 16], "width": 32, "layers": 4}
    with_norm, without = (
        predict_bytes(RunSpec.model_validate({"data": data, "model": {**model, "norm": kind}, "precision": precision}))
        for kind in (norm, "none")
    )
    assert with_norm is not None and without is not None
    field = 32 * 32 * 64 * 64 * 4
    added = (with_norm["activations"] - without["activations"]) / field
    assert 0 < added < 4 * 1.01
