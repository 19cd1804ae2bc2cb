"""What a low format does to the coefficients of a layer in a general basis, beside the bound of the theorem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mpno.numerics import hold, processor_name
from mpno.spectral import Basis, BasisConv
from mpno.theory.bounds import precision_upper
from mpno.theory.probes._transforms import domains
from mpno.theory.probes.inputs import Asked
from mpno.theory.systems import of_format


def transform_errors(arms: Sequence[Asked], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Errors of every basis' analysis in each format, on random fields after tanh, and of a whole untrained layer.

    Args:
        arms: none are needed.
        settings: ``fields``, how many; ``formats``.

    Returns:
        Rows of basis, format, points, functions, height (B), evidence: ``error`` and ``bound``, the largest of a
        coefficient; ``ratio``, the largest share of its own bound that an error takes; ``layer``, the relative
        error of the layer's output, both in norm over all fields, against float64.
    """
    rows = []
    for domain in domains():
        values = domain.fields(int(settings["fields"]), seed=1).tanh()
        for name in settings["formats"]:
            error, bound = analysis_errors(domain.basis, values, name)
            points, functions = domain.basis.synthesis.shape
            row = {"basis": domain.name, "format": name, "points": points, "functions": functions}
            row |= {"height": domain.basis.height, "error": float(error.max()), "bound": float(bound.max())}
            row |= {"ratio": float((error / bound).max()), "layer": _layer(domain.basis, values, name)}
            rows.append(row | {"evidence": "emulated", "processor": processor_name(values.device)})
    return rows


def analysis_errors(
    basis: Basis, values: Float[Tensor, "f n"], format: str
) -> tuple[Float[Tensor, "f k"], Float[Tensor, "f k"]]:
    """The error of every coefficient as the layer computes it, and its bound.

    The layer rounds phi w instead of phi, for w the mass of a point. What is lost below the format's smallest numbers
    is then at most eta for each of the n points, where the theorem has eta once for their mean: n eta takes eta's
    place. Storing the result adds u |c| + eta; sums in fp32 err by less than a hundredth of fp16's u and are left out.
    """
    exact = values @ basis.analysis.T
    found = hold(hold(values.float(), format) @ hold(basis.analysis.float(), format).T, format).double()
    system = of_format(format)
    u, eta = system.roundoff, system.underflow
    wide = replace(system, underflow=eta * len(basis.weights))
    each = precision_upper(wide, bound=values.abs().amax(1).numpy(), height=basis.height, complex_basis=False)
    bound = torch.from_numpy(each)[:, None]
    return (found - exact).abs(), bound + u * (exact.abs() + bound) + eta


def _layer(basis: Basis, values: Tensor, format: str) -> float:
    """The relative error of an untrained layer's output, all of it in the format, against float64."""
    torch.manual_seed(0)
    conv = BasisConv(1, 4, basis, precision=f"half-{format}, stabiliser none", bias=False)
    with torch.no_grad():
        found = conv(values[:, None].float()).double()
        s = (values @ basis.analysis.T).T[:, :, None] @ conv.weight.double()[basis.groups]
        exact = torch.einsum("nk,kbo->bon", basis.synthesis, s)
    return float((found - exact).norm() / exact.norm())
