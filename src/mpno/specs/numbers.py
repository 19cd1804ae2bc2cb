"""Numbers as a spec may hold them: what no machine could count to is a slip of the pen."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(gt=0, le=10**9)]
"""Samples, points, channels, epochs."""
Layers = Annotated[int, Field(gt=0, le=1000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""What every generator of random numbers takes."""
Threads = Annotated[int, Field(gt=0, le=4096)]
