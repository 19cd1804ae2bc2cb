"""Changing the precision of a model that is there: who decides, and for which layer."""

from __future__ import annotations

import pytest
from torch import nn

from mpno.numerics import set_precision
from mpno.specs import MpnoError, PrecisionSetting


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.precision = PrecisionSetting()
        self.calls = 0

    def set_precision(self, setting: PrecisionSetting) -> None:
        self.precision = setting
        self.calls += 1


class Model(nn.Module):
    """Decides for its layers itself, backwards, so that it shows who decided."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(3))

    def set_precision(self, setting: PrecisionSetting) -> None:
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            layer.set_precision(setting.layer(2 - index))


def settings(model: nn.Module) -> list[str]:
    return [module.precision.label for module in model.modules() if isinstance(module, Layer)]


def test_a_model_decides_for_all_below_it() -> None:
    model = Model()
    set_precision(model, "mixed [0: full]")
    assert settings(model) == ["mixed", "mixed", "full"]
    assert all(module.calls == 1 for module in model.modules() if isinstance(module, Layer))


def test_without_a_method_of_its_own_layers_count_in_order() -> None:
    model = nn.Sequential(nn.Linear(2, 2), Layer(), nn.Sequential(nn.ReLU(), Layer()), Layer())
    set_precision(model, "half [1: full]")
    assert settings(model) == ["half", "full", "half"]
    set_precision(nn.Sequential(nn.Sequential(model)), PrecisionSetting.model_validate("amp"))
    assert settings(model) == ["amp", "amp", "amp"]


def test_a_model_that_could_not_change_is_refused() -> None:
    with pytest.raises(MpnoError, match="Sequential has no module with a set_precision"):
        set_precision(nn.Sequential(nn.Linear(2, 2)), "mixed")
