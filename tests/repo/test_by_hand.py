"""The Python of docs/by-hand.md runs as it stands, and the commands it names exist with the options it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import typer

from mpno import cli

from .paths import ROOT

PAGE = (ROOT / "docs" / "by-hand.md").read_text(encoding="utf-8")


def test_the_snippets_train_evaluate_predict_save_and_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(snippets) == 2
    for snippet in snippets:
        exec(compile(snippet, "docs/by-hand.md", "exec"), names)
    y, same, model = names["y"], names["same"], names["model"]
    assert isinstance(y, torch.Tensor) and y.shape == (4, 1, 32, 32) and bool(y.isfinite().all())
    assert isinstance(same, torch.nn.Module) and isinstance(model, torch.nn.Module)
    assert same.state_dict().keys() == model.state_dict().keys()


def test_the_commands_have_the_options_that_the_page_names() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    lines = re.findall(r"^python -m mpno (\w+)(.*)$", PAGE, re.M)
    assert {name for name, _ in lines} == {"describe", "train", "evaluate", "predict"}
    for name, rest in lines:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--\w+", rest.split("#")[0])) <= known, name
