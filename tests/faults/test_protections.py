"""The protections that can be taken away are still where they are said to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from protections import PROTECTIONS, ROOT, Protection


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.fault)
def test_a_protection_and_its_test_are_there(protection: Protection) -> None:
    text = (ROOT / protection.file).read_text(encoding="utf-8")
    assert text.count(protection.text) == 1 or protection.text == ""
    file, _, test = protection.test.partition("::")
    assert f"def {test}" in Path(ROOT, file).read_text(encoding="utf-8")
