"""The page on models of one's own: its code runs, and its report is the one printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import Net
from torch import Tensor, nn

import mpno

PAGE = Path(__file__).parents[2] / "docs" / "your-own-model.md"
BLOCKS = re.findall(r"```(python)?\n(.*?)```", PAGE.read_text(), re.DOTALL)


class TheirConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pairs, self.shift = nn.Parameter(torch.randn(3, 2, 4, 2)), nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        s = torch.einsum("bim,oim->bom", torch.fft.rfft(x)[..., :4], torch.view_as_complex(self.pairs))
        return torch.fft.irfft(s, n=x.shape[-1]) + self.shift[:, None]


def test_the_training_loop(capsys: pytest.CaptureFixture[str]) -> None:
    (_, loop), (_, table) = BLOCKS[:2]
    model, x = Net(), torch.randn(2, 1, 8, 8)
    before = [p.detach().clone() for p in model.parameters()]
    exec(compile(loop, PAGE.name, "exec"), {"model": model, "device": "cpu", "batches": [(x, x)] * 3})
    assert capsys.readouterr().out == table
    assert all(not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    assert not any("Mpno" in type(module).__name__ for module in model.modules())


def test_the_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpno.models.adapters._registered", [])
    names: dict[str, Any] = {"torch": torch, "mpno": mpno, "TheirConv": TheirConv}
    exec(compile(BLOCKS[2][1], PAGE.name, "exec"), names)
    assert [layer.kind for layer in mpno.convert(TheirConv(), "full").converted] == ["TheirConv"]


def test_the_audit(capsys: pytest.CaptureFixture[str]) -> None:
    """Lifted fields of the order of 10^5 overflow without tanh, and with it they do not."""
    names: dict[str, Any] = {"mpno": mpno, "model": Net(), "x": torch.full((2, 1, 8, 8), 1e5)}
    exec(compile(BLOCKS[3][1], PAGE.name, "exec"), names)
    printed = capsys.readouterr().out
    assert printed.startswith("audit of Net on cpu") and "conv0 mixed overflows" not in printed
    assert "conv0 half, stabiliser none overflows: [" in printed and len(names["rows"]) == 2 * 3 * 3 + 3
