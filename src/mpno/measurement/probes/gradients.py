"""How large gradients are, layer by layer, before and after training, beside a format's smallest numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.probes.outcome import diverged
from mpno.numerics import set_precision
from mpno.specs import PrecisionSetting, RunSpec, get_format
from mpno.spectral import SpectralConv, SphericalConv
from mpno.training import load_run
from mpno.training.build import build_loss, build_model
from mpno.training.data import load_samples
from mpno.training.samples import Samples

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


def gradients(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Magnitudes of gradients of the training loss in full precision, with the stabiliser the run was trained with.

    Args:
        arms: with runs on fields; those that diverged are left out.
        settings: ``batches`` of training samples, 3 by default; ``format``, fp16 by default.

    Returns:
        Per arm, seed, moment (``initial``, ``trained``), layer and kind (``weights``, the gradient of a spectral
        weight, added up over a batch; ``output``, that which enters the spectral block backwards): quantiles of the
        magnitude as ``q0.01`` and so on, and shares: ``below_normal`` and ``below_subnormal`` of the format's smallest
        numbers (what is exactly zero counts in neither), for weights ``below_roundoff``, of those below unit roundoff
        times the weight.
    """
    rows: list[dict[str, Any]] = []
    for arm in arms:
        for seed, run in arm.runs.items():
            if diverged(run):
                continue
            spec = arm.spec.model_copy(update={"seed": seed})
            samples = load_samples(spec, arm.data, torch.device("cpu"))
            models = {"initial": build_model(spec, *samples.channels), "trained": load_run(run, device="cpu").model}
            about = {"part": arm.part, "arm": arm.name, "seed": seed, "evidence": "native"}
            for moment, model in models.items():
                found = _rows(spec, model, samples, settings)
                rows += [{**about, "moment": moment, **row} for row in found]
    return rows


def _rows(spec: RunSpec, model: nn.Module, samples: Samples, settings: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    # The phase that the stabiliser belongs to, without its low precision.
    stabiliser = spec.precision.stabiliser
    set_precision(model, PrecisionSetting.model_validate("full" if stabiliser == "none" else f"full+{stabiliser}"))
    model.train()
    layers = [layer for layer in model.modules() if isinstance(layer, SpectralConv | SphericalConv)]
    outputs: dict[int, list[Tensor]] = {number: [] for number in range(1, len(layers) + 1)}

    def watch(number: int) -> Any:
        def note(_: nn.Module, __: Any, made: Tensor) -> None:
            made.register_hook(lambda gradient: outputs[number].append(gradient.detach().abs().flatten()))

        return note

    handles = [layer.register_forward_hook(watch(number)) for number, layer in enumerate(layers, start=1)]
    weights: dict[int, list[Tensor]] = {number: [] for number in outputs}
    loss_of, size = build_loss(spec, samples.periodic), spec.training.batch_size
    try:
        for batch in range(int(settings.get("batches", 3))):
            part = slice(batch * size, (batch + 1) * size)
            model.zero_grad(set_to_none=True)
            loss_of(model(samples.x[part]), samples.y[part]).backward()
            for number, layer in enumerate(layers, start=1):
                weights[number] += [_parts(p.grad).abs().flatten() for p in layer.parameters() if p.grad is not None]
    finally:
        for handle in handles:
            handle.remove()
    format = get_format(str(settings.get("format", "fp16")))
    for number, layer in enumerate(layers, start=1):
        sizes = torch.cat([_parts(p.detach()).abs().flatten() for p in layer.parameters() if p.grad is not None])
        each = torch.cat(weights[number])
        lost = each < format.unit_roundoff * sizes.repeat(len(each) // len(sizes))
        row = {"layer": number, "kind": "weights", **_numbers(each, format.name)}
        yield {**row, "below_roundoff": float(lost.float().mean())}
        yield {"layer": number, "kind": "output", **_numbers(torch.cat(outputs[number]), format.name)}


def _parts(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _numbers(values: Tensor, name: str) -> dict[str, Any]:
    format = get_format(name)
    values = values.double()
    ordered = values.sort().values
    found = {f"q{q:g}": float(ordered[min(len(ordered) - 1, int(q * len(ordered)))]) for q in QUANTILES}
    there = values > 0
    shares = {"normal": format.smallest_normal, "subnormal": format.smallest_subnormal}
    below = {f"below_{key}": float((there & (values < bound)).double().mean()) for key, bound in shares.items()}
    return {**found, **below, "zero": float((~there).double().mean()), "format": name}
