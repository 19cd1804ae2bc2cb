"""Format constants against torch's and ml_dtypes'."""

from __future__ import annotations

import ml_dtypes
import pytest
import torch

from mpno.specs import MpnoError, get_format

TORCH = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e4m3": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}


@pytest.mark.parametrize("name", TORCH)
def test_constants_are_torchs(name: str) -> None:
    ours, theirs = get_format(name), torch.finfo(TORCH[name])
    assert (ours.eps, ours.max, ours.smallest_normal) == (theirs.eps, theirs.max, theirs.tiny)
    assert ours.unit_roundoff == theirs.eps / 2


@pytest.mark.parametrize("name", ["e3m4", "e4m3", "e5m2"])
def test_other_formats_follow_the_ieee_pattern(name: str) -> None:
    ours, theirs = get_format(name), ml_dtypes.finfo(getattr(ml_dtypes, f"float8_{name}"))
    assert (ours.max, ours.smallest_normal) == (float(theirs.max), float(theirs.smallest_normal))
    assert ours.smallest_subnormal == float(theirs.smallest_subnormal)


@pytest.mark.parametrize("name", ["fp17", "e1m3", "e9m3", "e5m0", "e5m24", "", "FP16"])
def test_unknown_formats_are_refused(name: str) -> None:
    with pytest.raises(MpnoError, match="allowed: fp32, tf32, fp16"):
        get_format(name)
