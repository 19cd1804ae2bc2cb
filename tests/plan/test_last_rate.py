"""The rate of the last epoch, against torch's own schedule."""

from __future__ import annotations

import pytest
import torch

from mpno.plan.words import last_rate
from mpno.specs import RunSpec
from mpno.specs.run import SchedulerSpec, TrainingSpec


@pytest.mark.parametrize(("epochs", "period"), [(11, 2), (17, 2), (17, 3), (10, 2), (12, 2), (4, 1), (500, 100)])
def test_the_rate_of_the_last_epoch_is_torch_s(epochs: int, period: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, period, 0.5)
    for _ in range(epochs - 1):
        optimizer.step()
        scheduler.step()
    spec = RunSpec(
        scheduler=SchedulerSpec(name="step", step_epochs=period, gamma=0.5), training=TrainingSpec(epochs=epochs)
    )
    assert last_rate(spec) == optimizer.param_groups[0]["lr"]


def test_a_constant_rate_stays_and_a_one_cycle_has_none() -> None:
    assert last_rate(RunSpec(scheduler=SchedulerSpec(name="none"))) == 1.0
    assert last_rate(RunSpec(scheduler=SchedulerSpec(name="one-cycle"))) is None
