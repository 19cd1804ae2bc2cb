"""How a spectral weight is stored and contracted, as a frozen spec."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, PositiveFloat, model_validator

from mpno.specs.names import ContractionOption, Factorization, PathStrategy, WeightLayout
from mpno.specs.numbers import Count

Rank = Count | PositiveFloat | tuple[Count, ...]


class ContractionSpec(BaseModel):
    """Factorisation and layout of a spectral weight, and the way it is multiplied with the spectrum.

    Attributes:
        factorization: ``dense``, or the decomposition whose factors are learned.
        rank: a fraction of the dense weight's parameters (a float), the rank itself (an integer), or one rank
            per axis (Tucker: input, output, modes) or per bond (TT: both unit ends included). None for dense.
        layout: ``joint``, one tensor over all stored modes, or ``corners``, one tensor with its own factors
            for each combination of signs of the axes before the last.
        option: ``A`` everything viewed as real in one einsum, ``B`` as real pair by pair, ``C`` as real only
            where indices are summed, complex where a step is a product without a sum.
        path: which order of pairs: least ``flops``, least ``memory``, or opt_einsum's ``default``.
        cached: whether a path found once serves all later calls of the same shapes.

    Source: paper, section 4.2 and Appendix B.12.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    factorization: Factorization = "dense"
    rank: Rank | None = None
    layout: WeightLayout = "joint"
    option: ContractionOption = "C"
    path: PathStrategy = "memory"
    cached: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> ContractionSpec:
        if self.factorization == "dense" and self.rank is not None:
            raise ValueError(
                f"rank {self.rank} does not go with factorization dense, which has none; "
                "remove it, or choose cp, tucker or tt"
            )
        if self.factorization != "dense" and self.rank is None:
            raise ValueError(
                f"factorization {self.factorization} needs a rank; give an integer, or a fraction of the dense "
                "weight's parameters, as 0.05"
            )
        if self.factorization == "cp" and isinstance(self.rank, tuple):
            raise ValueError(
                f"rank {self.rank} has {len(self.rank)} numbers, cp has one; give an integer or a fraction"
            )
        return self
