"""The README's Python runs as it stands, one block after the other."""

from __future__ import annotations

import re

import pytest

from .paths import ROOT


def test_the_readmes_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    models = pytest.importorskip("neuralop.models", reason="neuraloperator is not installed")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 2
    # What the reader brings.
    names = {"theirs": models.FNO(n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=4, n_layers=1)}
    for block in blocks:
        exec(block, names)
    said = capsys.readouterr().out
    for line in re.findall(r"^# (\w+: .*)$", "".join(blocks), flags=re.MULTILINE):
        assert line in said
    assert len(names["report"].converted) == 1
