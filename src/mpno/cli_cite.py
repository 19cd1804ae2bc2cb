"""`python -m mpno cite`: what to cite, in words and as BibTeX."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mpno.specs import MpnoError, allowed
from mpno.specs.sets import SETS

if TYPE_CHECKING:
    from mpno.datasets.credits import Credit

CITATION = Path(__file__).resolve().parents[2] / "CITATION.cff"
"""The one place in which the paper and this software are described."""
NAMES = ("paper", "software", *SETS)


def cite(
    name: Annotated[str | None, typer.Argument(help=f"{', '.join(NAMES)}; all of them if left out.")] = None,
) -> None:
    """Print how to cite the paper, this software and each data set. The output is a BibTeX file; words are comments."""
    if name is not None and name not in NAMES:
        raise MpnoError(f"cite {name!r}; {allowed(name, NAMES)}")
    for entry in [name] if name else NAMES:
        print("\n\n".join(_data(entry) if entry in SETS else [_cff(entry)]), end="\n\n")


def _cff(name: str) -> str:
    """The paper or the software, from CITATION.cff."""
    import yaml

    if not CITATION.is_file():
        raise MpnoError(f"{CITATION.name}: not beside src; run from a checkout of the repository")
    said = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    if name == "software":
        authors = [author["name"] for author in said["authors"]]
        words = f"{', '.join(authors)}, {said['title']}, version {said['version']}, {said['license']}"
        fields = {"title": said["title"], "author": " and ".join(f"{{{author}}}" for author in authors)}
        return _entry(words, "software", "mpno", fields | {"version": said["version"], "note": said["license"]})
    paper = said["preferred-citation"]
    people = [(author["family-names"], author["given-names"]) for author in paper["authors"]]
    preprint = paper["identifiers"][0]["value"]
    families = ", ".join(family for family, _ in people)
    words = f"{families}, {paper['title']}, {paper['conference']['name']}, {preprint}"
    fields = {
        "title": paper["title"],
        "author": " and ".join(", ".join(names) for names in people),
        "booktitle": paper["collection-title"],
        "year": paper["year"],
        "note": preprint,
        "url": paper["url"],
    }
    return _entry(words, "inproceedings", f"{people[0][0].lower()}{paper['year']}guaranteed", fields)


def _data(name: str) -> Iterator[str]:
    """Every source of a data set, with its licence."""
    from mpno.datasets.credits import credits_of

    for credit in credits_of(name):
        words = f"{name}, {credit.source}: {credit.citation}. Licence: {credit.licence}"
        yield _entry(words, "misc", credit.key, _fields(credit))


def _fields(credit: Credit) -> dict[str, Any]:
    note = f"Cite: {credit.citation}. Licence: {credit.licence}"
    return {"title": credit.title, **({"doi": credit.doi} if credit.doi else {}), "note": note}


def _entry(words: str, kind: str, key: str, fields: dict[str, Any]) -> str:
    width = max(map(len, fields))
    lines = ",\n".join(f"  {field:{width}} = {{{value}}}" for field, value in fields.items())
    return f"% {words}\n@{kind}{{{key},\n{lines}\n}}"
