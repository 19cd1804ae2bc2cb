"""Small operators in other bases than Fourier's, trained in several precisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mpno.models.basis_operator import BasisOperator
from mpno.numerics import evidence_of
from mpno.specs import PrecisionSetting
from mpno.spectral import Basis
from mpno.theory.probes._transforms import domains
from mpno.theory.probes.inputs import Asked
from mpno.training.losses import relative_l2


def transform_training(arms: Sequence[Asked], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Train the same operator on the same problem in every basis, setting and seed.

    The problem: from g on the points to the solution of a diffusion with reaction exp(g). A seed decides initial
    weights and the order of the samples, so that settings are paired.

    Args:
        arms: none are needed.
        settings: ``precisions``; ``seeds``, how many; ``train`` and ``test``, samples; ``epochs``.

    Returns:
        Rows of basis, setting, seed, points, functions, parameters, evidence; ``l2``, the mean relative error of the
        test samples, ``mean_l2``, that of the mean of the training targets; NaN where a training left the finite
        numbers.
    """
    torch.manual_seed(0)
    rows = []
    for domain in domains():
        count = int(settings["train"])
        g = domain.fields(count + int(settings["test"]), seed=0)
        x, y = g[:, None].float(), domain.solve(g)[:, None].float()
        mean = float(relative_l2(y[:count].mean(0).expand_as(y[count:]), y[count:]).mean())
        for seed in range(int(settings["seeds"])):
            for label in settings["precisions"]:
                precision = PrecisionSetting.of(label, where="probe transform_training")
                found = _train(domain.basis, precision, (x, y, count), seed, int(settings["epochs"]))
                about = {"basis": domain.name, "setting": precision.label, "seed": seed}
                points, functions = domain.basis.synthesis.shape
                about |= {"points": points, "functions": functions, "mean_l2": mean}
                rows.append(about | {"evidence": evidence_of(precision, "matmul", x.device)} | found)
    return rows


def _train(
    basis: Basis, precision: PrecisionSetting, data: tuple[Tensor, Tensor, int], seed: int, epochs: int
) -> dict[str, Any]:
    x, y, count = data
    torch.manual_seed(seed)
    model = BasisOperator(1, 1, basis, width=16, layers=2, precision=precision)
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    rate = torch.optim.lr_scheduler.StepLR(optimizer, max(1, epochs // 4), 0.5)
    for _ in range(epochs):
        for index in torch.randperm(count, generator=order).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            relative_l2(model(x[index]), y[index]).sum().backward()
            optimizer.step()
        rate.step()
    with torch.no_grad():
        error = relative_l2(model(x[count:]), y[count:]).mean()
    return {"l2": float(error), "parameters": sum(p.numel() for p in model.parameters())}


BATCH = 10
"""Samples of an update."""
