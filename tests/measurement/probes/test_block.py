"""The formats of a block's steps follow the setting, by a trace and by nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpno import FNOSpec, MpnoError, RunSpec
from mpno.measurement.probes.block import block
from mpno.measurement.probes.inputs import ProbedArm
from mpno.specs import PrecisionSetting


def arm(precision: str, layers: int = 3) -> ProbedArm:
    model = FNOSpec(modes=(4, 4), width=4, layers=layers)
    return ProbedArm("darcy", precision, RunSpec(model=model, precision=PrecisionSetting.model_validate(precision)),
                     Path("none.h5"), {})  # fmt: skip


def formats(precision: str) -> dict[str, Any]:
    return {row["step"]: row["format"] for row in block([arm(precision)], {})}


def test_full_and_mixed() -> None:
    full, mixed = formats("full"), formats("mixed")
    assert set(full.values()) == {"fp32", ""} and full["stabiliser"] == ""
    half = ("stabiliser", "forward transform", "contraction", "inverse transform", "linear skip", "channel MLP")
    assert all(mixed[step] == "fp16" for step in half)
    assert mixed["output"] == "fp32"


@pytest.mark.parametrize(("triple", "wanted"), [("FHH", ("fp32", "fp16", "fp16")), ("HFF", ("fp16", "fp32", "fp32"))])
def test_another_triple_changes_the_boxes(triple: str, wanted: tuple[str, ...]) -> None:
    found = formats(f"mixed {triple}")
    assert tuple(found[step] for step in ("forward transform", "contraction", "inverse transform")) == wanted


def test_a_model_without_a_middle_block_is_refused() -> None:
    with pytest.raises(MpnoError, match="3 layers or more"):
        block([arm("mixed", layers=2)], {})
