"""Whatever stands in a file of weights: the model that was saved, or one line, without the memory it claims."""

from __future__ import annotations

import copy
import json
import resource
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import mpno
from mpno import MpnoError
from mpno.models import make_model
from mpno.models.saving import read_header
from mpno.specs import FNOSpec

ROOM = 300 * 1024
"""KiB that reading may take beyond what was taken before."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "m.safetensors"
    mpno.save(make_model(FNOSpec(modes=(2, 2), width=2, layers=1), 1, 1), path)
    return path


def survives(path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        mpno.load(path)
    except MpnoError as error:
        assert "\n" not in str(error) and str(error).isprintable() and str(path) in str(error)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < ROOM


@settings(max_examples=100)
@given(st.data())
def test_any_bytes_are_the_model_or_one_line(saved: Path, data: st.DataObject) -> None:
    content = bytearray(saved.read_bytes())
    # The first two thousand bytes say everything; the rest are numbers.
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(2000, len(content) - 1)))
        content[at : at + 1] = data.draw(st.binary(max_size=3))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.safetensors")
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
        survives(path)


VALUES = st.sampled_from(
    [None, True, -1, 0, 3, 10**6, 10**12, 1.5, float("nan"), "x", "mixed", "sht", [], [3], [10**7, 10**7], [2, 2, 2],
     {}, {"name": "unet"}, {"name": "sfno", "modes": [2, 2]}]
)  # fmt: skip


@settings(max_examples=100)
@given(st.data())
def test_any_header_is_the_model_s_or_one_line(saved: Path, data: st.DataObject) -> None:
    header: Any = copy.deepcopy(read_header(saved).model_dump(mode="json"))
    for _ in range(data.draw(st.integers(1, 2))):
        place = header
        key = data.draw(st.sampled_from(sorted(header)))
        if isinstance(header.get(key), dict) and header[key] and data.draw(st.booleans()):
            place, key = header[key], data.draw(st.sampled_from(sorted(header[key])))
        place[key] = copy.deepcopy(data.draw(VALUES))  # else a value could be put into itself
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.safetensors")
        save_file(load_file(saved), path, metadata={"mpno": json.dumps(header)})
        survives(path)


@pytest.mark.parametrize(
    ("field", "value"), [("width", 10**6), ("layers", 900), ("modes", [10**6, 10**6]), ("lifting_ratio", 1e8)]
)
def test_a_spec_that_claims_more_than_the_file_holds_takes_no_memory(
    saved: Path, tmp_path: Path, field: str, value: object
) -> None:
    header: Any = read_header(saved).model_dump(mode="json")
    header["model"][field] = value
    save_file(load_file(saved), tmp_path / "m.safetensors", metadata={"mpno": json.dumps(header)})
    survives(tmp_path / "m.safetensors")
    with pytest.raises(MpnoError, match=r"m\.safetensors: model fno (has|lacks) "):
        mpno.load(tmp_path / "m.safetensors")
