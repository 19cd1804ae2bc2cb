"""Both errors of random Lipschitz functions in other bases than Fourier's, beside their bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpno.theory import bases, bounds
from mpno.theory.bases import BasisFunction
from mpno.theory.errors import precision_error, riemann
from mpno.theory.functions import Nodal, random_nodal
from mpno.theory.probes.inputs import Asked
from mpno.theory.systems import PrecisionSystem, of_format

LIPSCHITZ = 3.0


def chosen() -> dict[str, BasisFunction]:
    """One function of each basis; the graph's is apart, for it has no grid."""
    return {
        "Fourier": bases.fourier((2,)),
        "Haar": bases.haar(1, 1),
        "Daubechies": bases.daubechies(),
        "Legendre": bases.legendre(4),
        "spherical": bases.spherical(3, 1),
    }


def basis_errors(arms: Sequence[Asked], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Errors and bounds of random functions by basis and grid.

    Args:
        arms: none are needed.
        settings: ``functions``, how many; ``grids``, cells an axis; ``formats``.

    Returns:
        Rows of basis, function, axes, height (B), steep (Lambda), n, format (empty for discretization), ``what``
        (``disc``, ``disc upper``, ``prec``, ``prec upper``), median and high over functions, ``ratio``, the largest
        share of its own bound that an error takes; evidence.
    """
    rng = np.random.default_rng(0)
    systems: list[PrecisionSystem] = [of_format(name) for name in settings["formats"]]
    rows: list[dict[str, Any]] = []
    for name, basis in chosen().items():
        family = random_nodal(rng, int(settings["functions"]), basis.dim, 5)
        family = Nodal(
            family.nodes * (LIPSCHITZ / np.maximum(family.lipschitz, LIPSCHITZ)).reshape(-1, *[1] * basis.dim)
        )
        exact = bases.integral(family, basis)
        for m in settings["grids"]:
            values, wave = family.grid(m), basis.grid(m)
            limit = bounds.discretization_upper(
                m, basis.dim, lipschitz=family.lipschitz, bound=family.bound,
                steep=basis.steep, height=basis.height, jumps=basis.jumping_cells(m),
            )  # fmt: skip
            error = np.abs(exact - riemann(values, wave))
            about = {"basis": name, "function": basis.name, "axes": basis.dim, "n": m**basis.dim}
            about |= {"height": basis.height, "steep": basis.steep}
            rows += _rows(about, "disc", "", error, limit)
            rows += _precision(about, systems, values, wave, family.bound, None)
    return rows + _graph(rng, settings, systems)


def _graph(
    rng: np.random.Generator, settings: Mapping[str, Any], systems: list[PrecisionSystem]
) -> list[dict[str, Any]]:
    graph = bases.graph_basis()
    functions = graph.functions(rng, int(settings["functions"]), lipschitz=LIPSCHITZ, bound=1.0)
    exact = (functions * graph.values).mean(1)
    rows: list[dict[str, Any]] = []
    for n in (m for m in settings["grids"] if m <= len(graph.values)):
        points, mass, distance = graph.cells(n)
        error = np.abs(exact - riemann(functions[:, points], graph.values[points], mass))
        limit = np.full(len(functions), (LIPSCHITZ * graph.height + graph.steep) * distance)
        about = {"basis": "graph", "function": f"{len(graph.values)} nodes", "axes": 0, "n": n}
        about |= {"height": graph.height, "steep": graph.steep}
        rows += _rows(about, "disc", "", error, np.minimum(limit, 2 * graph.height))
        bound = np.abs(functions).max(1)
        rows += _precision(about, systems, functions[:, points], graph.values[points], bound, mass)
    return rows


def _precision(
    about: dict[str, Any],
    systems: list[PrecisionSystem],
    values: np.ndarray,
    wave: np.ndarray,
    bound: np.ndarray,
    weights: np.ndarray | None,
) -> list[dict[str, Any]]:
    rows = []
    for system in systems:
        limit = bounds.precision_upper(
            system, bound=bound, height=about["height"], complex_basis=bool(np.iscomplexobj(wave))
        )
        rows += _rows(about, "prec", system.name, precision_error(values, wave, system, weights), limit)
    return rows


def _rows(about: dict[str, Any], what: str, name: str, error: np.ndarray, limit: np.ndarray) -> list[dict[str, Any]]:
    evidence = "emulated" if name else "native"
    share = float((error / np.maximum(limit, 1e-300)).max())
    found = ((what, error, evidence), (f"{what} upper", limit, "native"))
    return [
        about
        | {"format": name, "what": said, "median": float(np.median(v)), "high": float(v.max())}
        | {"ratio": share, "evidence": kind}
        for said, v, kind in found
    ]
