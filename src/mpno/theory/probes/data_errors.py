"""Both errors of the samples of a data set against the number of points, beside their bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpno.datasets import load_split, read_attrs
from mpno.datasets.layout import evidence_of_data
from mpno.theory import bounds
from mpno.theory.errors import discretization_error, fourier_precision_error
from mpno.theory.functions import Nodal
from mpno.theory.probes.inputs import Asked
from mpno.theory.systems import of_format

WAVE = (1, 0)


def data_errors(arms: Sequence[Asked], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Errors of inputs and targets of test samples on their finest grid, coarser grids taken from it.

    A sample, divided by the sup-norm of all, is taken as the function that is multilinear between its grid's points,
    which has an exact integral, sup-norm and Lipschitz constant; a periodic one is continued by its first values.

    Args:
        arms: one a data set, with data on fields of two axes.
        settings: ``formats``; ``samples``, how many; ``finest``, by part the test grid.

    Returns:
        Rows of part, view (``input``, ``target``), m, n, format (empty for discretization), ``what`` (``disc``,
        ``disc upper``, ``prec``, ``prec upper``), median, low and high over samples, lipschitz (median), ``data``,
        evidence.
    """
    return [row for arm in arms for row in _rows(arm, settings)]


def _rows(arm: Asked, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    finest = settings["finest"][arm.part]
    attrs = read_attrs(arm.data)
    split = load_split(arm.data, "test", finest, min(int(settings["samples"]), arm.spec.data.n_test))
    rows: list[dict[str, Any]] = []
    for view, fields in (("input", split.x), ("target", split.y)):
        family = as_functions(fields[:, 0], periodic=bool(attrs.get("periodic", False)))
        about = {"part": arm.part, "view": view, "data": evidence_of_data(attrs)}
        about |= {"samples": len(family.nodes), "lipschitz": float(np.median(family.lipschitz))}
        m = 4
        while m <= max(fields.shape[2:]):
            upper = bounds.fourier_upper(m, WAVE, lipschitz=family.lipschitz, bound=family.bound)
            found = {("", "disc"): discretization_error(family, m, WAVE), ("", "disc upper"): upper}
            for name in settings["formats"]:
                system = of_format(name)
                found[name, "prec"] = fourier_precision_error(family, m, WAVE, system)
                found[name, "prec upper"] = bounds.precision_upper(system, bound=family.bound)
            rows += [about | _summary(m, *key, values) for key, values in found.items()]
            m *= 2
    return rows


def as_functions(fields: np.ndarray, *, periodic: bool) -> Nodal:
    """Fields (f, rows, columns) as multilinear functions of sup-norm at most 1; periodic ones closed."""
    nodes = np.asarray(fields, float)
    if periodic:
        nodes = np.pad(nodes, ((0, 0), (0, 1), (0, 1)), mode="wrap")
    return Nodal(nodes / np.abs(nodes).max())


def _summary(m: int, name: str, what: str, values: np.ndarray) -> dict[str, Any]:
    low, median, high = (float(f(values)) for f in (np.min, np.median, np.max))
    evidence = "emulated" if what == "prec" else "native"
    about = {"m": m, "n": m**2, "format": name, "what": what, "evidence": evidence}
    return about | {"median": median, "low": low, "high": high}
