"""Format constants against torch's, ml_dtypes' and gfloat's."""

from __future__ import annotations

import gfloat.formats
import ml_dtypes
import pytest
import torch

from mpno.specs import FORMATS, MpnoError, PrecisionSetting, get_format

TORCH = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e4m3": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}
ML_DTYPES = {
    "e3m4": ml_dtypes.float8_e3m4,
    "e4m3": ml_dtypes.float8_e4m3,
    "e5m2": ml_dtypes.float8_e5m2,
    "e4m3_max448": ml_dtypes.float8_e4m3fn,
    "e2m1_max6": ml_dtypes.float4_e2m1fn,
    "e2m3_max7.5": ml_dtypes.float6_e2m3fn,
    "e3m2_max28": ml_dtypes.float6_e3m2fn,
}


@pytest.mark.parametrize("name", TORCH)
def test_constants_are_torchs(name: str) -> None:
    ours, theirs = get_format(name), torch.finfo(TORCH[name])
    assert (ours.eps, ours.max, ours.smallest_normal) == (theirs.eps, theirs.max, theirs.tiny)
    assert ours.unit_roundoff == theirs.eps / 2


@pytest.mark.parametrize("name", ML_DTYPES)
def test_spelt_formats_are_those_of_ml_dtypes(name: str) -> None:
    ours, theirs = get_format(name), ml_dtypes.finfo(ML_DTYPES[name])
    assert ours.name == name
    assert (ours.max, ours.smallest_normal) == (float(theirs.max), float(theirs.smallest_normal))
    assert (ours.smallest_subnormal, ours.eps) == (float(theirs.smallest_subnormal), float(theirs.eps))


def test_tf32_has_the_range_of_fp32_and_the_mantissa_of_fp16() -> None:
    tf32, fp32, fp16 = (get_format(name) for name in ("tf32", "fp32", "fp16"))
    assert (tf32.smallest_normal, tf32.eps) == (fp32.smallest_normal, fp16.eps)
    assert tf32.max == float.fromhex("0x1.ffcp127")


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("mxfp8", gfloat.formats.format_info_mxfp8_e4m3),
        ("mxfp8_e5m2", gfloat.formats.format_info_mxfp8_e5m2),
    ],
)
def test_block_formats_span_elements_times_scales(name: str, block: gfloat.BlockFormatInfo) -> None:
    ours, scale, element = get_format(name), block.stype, block.etype
    assert ours.element is not None and ours.element.max == element.max
    assert ours.max == scale.max * element.max
    assert ours.smallest_normal == scale.min * element.smallest_normal
    assert ours.smallest_subnormal == scale.min * element.smallest_subnormal


def test_ranges_and_precision_can_be_told_apart() -> None:
    """fp16's mantissa with the range of fp8, and with a maximum alone changed."""
    fp8, control = get_format("fp8_e4m3"), get_format("e4m10_max448")
    assert (control.max, control.smallest_normal) == (fp8.max, fp8.smallest_normal)
    fp16, control = get_format("fp16"), get_format("e5m10_max448")
    assert (control.eps, control.smallest_normal, control.max) == (fp16.eps, fp16.smallest_normal, 448.0)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("e5m10_max65504", "e5m10"),
        ("e5m07_max448.0", "e5m7_max448"),
        ("e8m10_max65504", "e8m10_max65504"),
        (f"e8m10_max{2**100}", f"e8m10_max{2**100}"),
    ],
)
def test_one_format_has_one_name(written: str, name: str) -> None:
    assert get_format(written).name == name
    assert get_format(name) == get_format(written)


@pytest.mark.parametrize("name", ["fp8_e5m2", "fp8_e4m3", "fp16", "e4m10_max448"])
def test_what_clips_has_the_values_of_what_does_not(name: str) -> None:
    plain, clipped = get_format(name), get_format(f"{name}_sat")
    assert (plain.saturates, clipped.saturates) == (False, True)
    assert (clipped.name, clipped.max, clipped.eps) == (f"{name}_sat", plain.max, plain.eps)
    assert get_format(clipped.name) == clipped != plain
    assert get_format("e4m03_max448.0_sat") == get_format("e4m3_max448_sat")


def test_fp8_e5m2_is_the_control_of_two_mantissa_bits() -> None:
    """Range and all: so that where it fails its mantissa does, or what lies below its smallest number."""
    fp8, control, fp16 = get_format("fp8_e5m2"), get_format("e5m2"), get_format("fp16")
    assert (fp8.max, fp8.eps, fp8.smallest_normal) == (control.max, control.eps, control.smallest_normal)
    assert fp8.smallest_normal == fp16.smallest_normal and fp8.top == fp16.top


def test_a_setting_takes_every_kind_of_name() -> None:
    for name in ("fp8_e4m3", "mxfp8", "mxfp8_e5m2", "e4m10_max448", "fp8_e4m3_sat", "e4m10_max448_sat"):
        setting = PrecisionSetting.model_validate(f"mixed-{name}")
        assert setting.format == name
        assert PrecisionSetting.model_validate(setting.label) == setting
        assert PrecisionSetting.model_validate_json(setting.model_dump_json()) == setting
    assert PrecisionSetting.model_validate({"setting": "mixed", "format": "e2m3_max7.5"}).format == "e2m3_max7.5"


@pytest.mark.parametrize(
    "name",
    ["fp17", "e1m3", "e9m3", "e5m0", "e5m24", "", "FP16", "e5m10_max", "mxfp16", "e5m2_max-6", "_sat", "fp17_sat"],
)
def test_unknown_formats_are_refused(name: str) -> None:
    with pytest.raises(MpnoError, match=f"allowed: {', '.join(FORMATS)}, or eXmY"):
        get_format(name)


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("e4m3_max449", "is not a value of e4m3; its neighbours are 448 and 480$"),
        ("e4m3_max500", "it must be from 1 to 480$"),
        ("e4m3_max512", "it must be from 1 to 480$"),
        ("e5m2_max0.5", "it must be from 1 to 114688$"),
        (f"e8m2_max{2**128}", "it must be from 1 to 2.97"),
        ("mxfp8_sat", "mxfp8 scales its values into range by itself; leave out _sat$"),
        ("fp8_e4m3_sat_sat", "fp8_e4m3_sat clips already; leave out _sat$"),
    ],
)
def test_impossible_formats_are_refused(name: str, finding: str) -> None:
    with pytest.raises(MpnoError, match=finding):
        get_format(name)
