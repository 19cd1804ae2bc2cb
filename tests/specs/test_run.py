"""Run specs: defaults, labels, ids, and mistakes that name themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mpno.specs import MpnoError, PrecisionSetting, RunSpec, build_spec, set_dotted


@pytest.mark.parametrize(
    ("given", "label", "triple", "real", "stabiliser"),
    [
        ("full", "full", "FFF", "fp32", "none"),
        ("full+tanh", "full+tanh", "FFF", "fp32", "tanh"),
        ("amp", "amp", "FFF", "fp16", "none"),
        ("half", "half", "HHH", "fp32", "tanh"),
        ("half+none", "half, stabiliser none", "HHH", "fp32", "none"),
        ("mixed", "mixed", "HHH", "fp16", "tanh"),
        ("mixed-bf16", "mixed-bf16", "HHH", "bf16", "tanh"),
        ("mixed-e5m2", "mixed-e5m2", "HHH", "e5m2", "tanh"),
        ({"setting": "half", "triple": "HFF"}, "half HFF", "HFF", "fp32", "tanh"),
    ],
)
def test_settings_read_as_in_the_paper(given: Any, label: str, triple: str, real: str, stabiliser: str) -> None:
    setting = PrecisionSetting.model_validate(given)
    assert (setting.label, setting.triple, setting.real, setting.stabiliser) == (label, triple, real, stabiliser)
    assert PrecisionSetting.model_validate(setting.model_dump()) == setting


def test_mixed_says_what_is_in_half() -> None:
    text = str(PrecisionSetting.model_validate("mixed"))
    assert text == "mixed: forward transform, contraction, inverse transform in fp16 after tanh; real layers in fp16"


def test_equal_specs_share_an_id_and_others_do_not() -> None:
    short, long = {"precision": "mixed"}, {"precision": {"setting": "mixed", "format": "fp16", "stabiliser": "tanh"}}
    ids = [build_spec(values, where="test").id for values in (short, long)]
    assert ids[0] == ids[1] and ids[0].startswith("darcy16_fno_mixed_fft_s0_")
    changed = build_spec({"precision": "mixed", "optimizer": {"lr": 2e-3}}, where="test")
    assert changed.id != ids[0]
    assert RunSpec.model_validate(json.loads(changed.canonical())) == changed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimiser": {}}, "unknown key 'optimiser' (value {}); did you mean optimizer? allowed: data, model"),
        (
            {"model": {"withd": 3}},
            "unknown key 'model.withd' (value 3); did you mean width? allowed: contraction, layers",
        ),
        (
            {"data": {"name": "darci"}},
            "data.name is 'darci'; did you mean darcy? allowed: darcy, navier-stokes, shallow-water, car, ahmed",
        ),
        ({"data": {"n_train": -5}}, "data.n_train is -5; it should be greater than 0"),
        (
            {"data": {"resolution": 48}},
            "the public set darcy has train pairs at resolution 16 and 32 and 64 and 128 and 421, not 48",
        ),
        (
            {"data": {"test_resolutions": [16, 48]}},
            "test pairs at resolution 16 and 32 and 64 and 128 and 421, not 48; choose one",
        ),
        ({"data": {"n_train": 1001}}, "data: n_train is 1001; the public set darcy has 1 to 1000 at resolution 16"),
        ({"data": {"n_test": 51}}, "n_test is 51; the public set darcy has 1 to 50"),
        ({"scale": "dest"}, "scale is 'dest'; did you mean desk? allowed: smoke, desk, gpu, paper"),
        ({"precision": "haf"}, "precision is 'haf'; it is not a precision setting; did you mean half?"),
        ({"precision": "mixed-fp61"}, "is not a number format"),
        ({"precision": {"setting": "full", "format": "fp16"}}, "only full is fp32"),
        ({"model": {"modes": [64, 64]}}, "exceed the smallest grid, 16; lower modes"),
        ({"scheduler": {"name": "step"}}, "needs both step_epochs and gamma"),
    ],
)
def test_mistakes_are_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(MpnoError) as caught:
        build_spec(values, where="here.yaml")
    text = str(caught.value)
    assert text.startswith("here.yaml: ") and message in text and "\n" not in text


def test_dotted_keys() -> None:
    assert set_dotted({"a": {"b": 1}}, "a.c", 2) == {"a": {"b": 1, "c": 2}}
    with pytest.raises(MpnoError, match="a is 1, which has no parts"):
        set_dotted({"a": 1}, "a.b", 2)
