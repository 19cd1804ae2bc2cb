"""Whom to cite for a data set, and under which licence it comes, source by source."""

from __future__ import annotations

from dataclasses import dataclass

from mpno.datasets import darcy, fetch, navier_stokes, shallow_water
from mpno.datasets.bodies import FAMILIES, LABEL
from mpno.datasets.registry import RECORDS
from mpno.specs import MpnoError, allowed
from mpno.specs.sets import SETS

LICENCE = "MIT"
"""Of what is solved here, and of the wheel that ships the small Darcy set."""
_SOLVED = {
    "darcy": darcy.CITATION,
    "navier-stokes": navier_stokes.CITATION,
    "shallow-water": shallow_water.CITATION,
    **{name: family.citation for name, family in FAMILIES.items()},
}


@dataclass(frozen=True)
class Credit:
    """One source of a data set.

    Attributes:
        source: where the samples come from, in words.
        key: of its BibTeX entry.
        title, citation, licence: what it is, what to cite, what one may do with it.
        doi: of the public files; None where there is none.
    """

    source: str
    key: str
    title: str
    citation: str
    licence: str
    doi: str | None = None


def credits_of(name: str) -> list[Credit]:
    """Every source of a data set of the paper, public files first.

    Raises:
        MpnoError: `name` is no data set of the paper.
    """
    if name not in SETS:
        raise MpnoError(f"data set {name!r}; {allowed(name, SETS)}")
    title, found = SETS[name].title, []
    if name in RECORDS:
        public = RECORDS[name]
        doi = f"10.5281/zenodo.{public.id}"
        source = f"public files, Zenodo {public.id}"
        found.append(Credit(source, f"{name}-zenodo", public.title, public.citation, public.licence, doi))
    if name == "darcy":
        source = "16x16 and 32x32, from the neuraloperator wheel"
        found.append(Credit(source, "darcy-wheel", f"{title}, the small public set", fetch.CITATION, LICENCE))
    solved = f"{FAMILIES[name].title}, {LABEL}" if name in FAMILIES else title
    found.append(Credit("solved here", f"{name}-solved", f"{solved}, solved by mpno", _SOLVED[name], LICENCE))
    return found
