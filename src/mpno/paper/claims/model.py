"""What a claim is: who said it, what would decide it, and which records are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mpno.paper.records import PROVENANCE
from mpno.specs import MpnoError
from mpno.specs.errors import allowed, one_line

Test = Literal["effect", "ordering", "rate", "divergence"]
Where = Literal["predicted", "desk", "paper"]
Verdict = Literal[
    "supported",
    "not supported",
    "inconclusive",
    "no power at this scale",
    "consistent with",
    "not consistent with",
    "not tested here",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
DECIDED: tuple[Verdict, ...] = ("supported", "not supported")
"""The verdicts that settle a claim. A prediction settles none: the most that it may say is (not) consistent with."""
PREDICTED: tuple[Verdict, ...] = ("consistent with", "not consistent with")
DAY = r"^\d{4}-\d{2}-\d{2}$"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Published(_Frozen):
    """A published value, with its unit as a reader sees it."""

    value: float
    unit: str = Field(min_length=1)

    def __str__(self) -> str:
        return f"{self.value:,g} {self.unit}"


class Bounds(_Frozen):
    """Where an effect must lie for the claim to hold; `above` and `below` exclude their end."""

    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None

    @property
    def given(self) -> bool:
        return any(value is not None for value in (self.above, self.at_least, self.at_most, self.below))

    def holds(self, value: float) -> bool:
        """Whether `value` lies inside."""
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def apart(self, low: float, high: float) -> bool:
        """Whether the whole of [low, high] lies on one side outside."""
        below = (self.above is not None and high <= self.above) or (self.at_least is not None and high < self.at_least)
        above = (self.below is not None and low >= self.below) or (self.at_most is not None and low > self.at_most)
        return below or above


class Threshold(Bounds):
    """The rule by which readings are judged, with what the source says that it rests on.

    Attributes:
        rule: as a reader sees it.
        words: what the source says, in paraphrase but for its numbers.
        control: whether an effect inside the bounds counts only where the few-bit control is told apart.
    """

    rule: str = Field(min_length=1)
    words: str = Field(min_length=1)
    control: bool = False


class Ask(_Frozen):
    """Which records are asked, by which reader, and what the answer may count for.

    Attributes:
        name: as a reader sees it.
        reader: one of :data:`mpno.paper.claims.readers.READERS`.
        given: its arguments.
        item: where the records lie, if not where the claim's do.
        view: readings of one view judge the claim together; each view judges it apart. None counts in every view.
        bounds: in place of the threshold's, in the reading's own unit.
        without_verdict: why the answer is an illustration wherever it comes from; None where it may count.
        published: the published value in the reading's unit, where an interval that leaves it out should say so.
        needed: whether the claim stays open for want of this answer's verdict.
    """

    name: str
    reader: str
    given: dict[str, Any] = Field(default_factory=dict)
    item: str | None = None
    view: str | None = None
    bounds: Bounds | None = None
    without_verdict: str | None = None
    published: float | None = None
    needed: bool = False


class Claim(_Frozen):
    """A claim of the paper, its abstract or its review discussion.

    Attributes:
        provenance: of the published value, one of :data:`mpno.paper.records.PROVENANCE`.
        scales: where it can be decided: predicted (from shapes at the published size), desk, paper.
        gpu: whether it is of a GPU, so that simulated halves and CPU times neither confirm nor refute it.
        accuracy: whether it is of errors, so that stand-in data and a missing control keep it open.
        part: the part of the item that judges it, where it has several.
        caveat: what a reader must know beside the verdict, in a few words.
    """

    id: str = Field(pattern=r"^C\d\d$")
    group: str
    statement: str
    source: str
    provenance: str | None = None
    published: Published | None = None
    test: Test
    scales: tuple[Where, ...] = Field(min_length=1)
    gpu: bool = False
    accuracy: bool = False
    item: str
    part: str | None = None
    threshold: Threshold
    records: tuple[Ask, ...] = Field(min_length=1)
    caveat: str | None = None

    @field_validator("provenance")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in PROVENANCE:
            raise ValueError(f"is no provenance; {allowed(value, PROVENANCE)}")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.published is not None and self.provenance is None:
            raise ValueError(f"has a published value without provenance; {allowed('', PROVENANCE)}")
        if self.accuracy and not self.threshold.control:
            raise ValueError("is of accuracy, so its threshold needs the few-bit control; add threshold.control: true")
        bare = [ask.name for ask in self.records if not (ask.bounds or self.threshold).given]
        if bare:
            raise ValueError(f"has no bound for {bare[0]!r}; give above, at_least, at_most or below")
        return self


class Change(_Frozen):
    """A later change of a threshold, or of how a claim is judged."""

    date: str = Field(pattern=DAY)
    claim: str
    what: str = Field(min_length=1)


class Claims(_Frozen):
    """All claims.

    Attributes:
        fixed: the day on which the thresholds were written.
        known: what was known of results then.
        changes: what was changed after a verdict had been seen.
    """

    fixed: str = Field(pattern=DAY)
    known: str = Field(min_length=1)
    changes: tuple[Change, ...] = ()
    claims: tuple[Claim, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [claim.id for claim in self.claims]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise ValueError(f"claim {twice[0]} stands there twice; keep one")
        unknown = [change.claim for change in self.changes if change.claim not in names]
        if unknown:
            raise ValueError(f"changes name claim {unknown[0]}, which is none; {allowed(unknown[0], names)}")
        return self


_FIELDS = {"records": Ask, "threshold": Threshold, "published": Published, "bounds": Bounds}


def load_claims(path: Path) -> Claims:
    """Read the file of claims.

    Raises:
        MpnoError: it cannot be read, or holds an unknown key or a bad value; the line names claim and key.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MpnoError(f"{path}: cannot be read ({error.strerror}); name the file of claims") from None
    except (yaml.YAMLError, ValueError) as error:
        raise MpnoError(f"{path}: not YAML ({error}); mend it") from None
    try:
        return Claims.model_validate(found)
    except ValidationError as error:
        place = error.errors()[0]["loc"]
        prefix = ".".join(str(part) for part in place[:-1])
        kind = next((_FIELDS[part] for part in reversed(place[:-1]) if part in _FIELDS), None)
        kind = kind or (Claim if "claims" in place[:-1] else Change if "changes" in place[:-1] else Claims)
        raise one_line(error, where=_where(path, found, place), fields={prefix: list(kind.model_fields)}) from None


def _where(path: Path, found: Any, place: tuple[int | str, ...]) -> str:
    """The file, and the claim that a finding is of."""
    if len(place) < 2 or place[0] != "claims" or not isinstance(place[1], int):
        return str(path)
    entry = found["claims"][place[1]]
    return f"{path}: claim {entry.get('id', place[1]) if isinstance(entry, dict) else place[1]}"
