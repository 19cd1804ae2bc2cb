"""What a forward pass leaves in memory for the backward: measured on real tensors here, and predicted of the same."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mpno.measurement.memory import predict_bytes
from mpno.measurement.probes._cases import cases_of
from mpno.measurement.probes.inputs import ProbedArm
from mpno.numerics import LiveBytes, evidence_of
from mpno.specs.grid import grid_of
from mpno.specs.sets import SETS
from mpno.training.build import build_loss, build_model


def kept_bytes(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per case of `settings`, as :func:`mpno.measurement.probes._cases.cases_of` reads them; fields are random.

    Returns:
        Rows of what the case is, ``measured`` (bytes of storages that one forward pass with its loss leaves alive),
        ``predicted`` (the same from shapes alone) and ``evidence``. A format that is not native is held in fp32 here,
        so that its bytes are measured of fp32 and not of the format.
    """
    rows = []
    for case in cases_of(settings):
        spec = case.spec
        channels = SETS[spec.data.name].channels
        grid = grid_of(spec.data.resolution, spec.axes, name=spec.data.name)
        torch.manual_seed(0)
        x, y = (torch.randn(spec.training.batch_size, count, *grid) for count in channels)
        model, loss_of = build_model(spec, *channels), build_loss(spec, SETS[spec.data.name].periodic)
        gc.collect()
        counter = LiveBytes(apart=[*model.parameters(), *model.buffers(), x, y])
        with counter:
            loss = loss_of(model(x), y)
            measured = counter.live
        loss.backward()
        predicted = predict_bytes(spec, *channels) or {}
        rows.append(
            {
                **case.about(),
                "measured": measured,
                "predicted": predicted.get("activations"),
                "evidence": evidence_of(spec.precision, spec.transform, x.device),
            }
        )
    return rows
