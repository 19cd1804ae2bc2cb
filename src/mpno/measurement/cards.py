"""Graphics cards by their makers' data sheets, and how much of it a program gets: nothing here is fitted."""

from __future__ import annotations

from dataclasses import dataclass

BANDWIDTH_SHARE = 0.8
"""Of a data sheet's bandwidth: what a plain copy of a large tensor commonly reaches: 75 to 90 %."""
RATE_SHARE = 0.7
"""Of a data sheet's rate: what products of large matrices commonly reach: 60 to 90 %, at clocks below the sheet's."""
LAUNCH = 5e-6
"""Seconds that a kernel takes beside its work."""
HOST = 10e-6
"""Seconds that Python and torch's dispatcher take to ask for a kernel; no step is faster than all its requests."""


@dataclass(frozen=True)
class Card:
    """One kind of card.

    Attributes:
        name: as a table names it.
        gib: GiB of memory.
        bandwidth: bytes per second.
        rates: floating-point operations per second of matrix products by format, accumulated in fp32, without
            sparsity; fp32 also of everything else.
        source: of bandwidth and rates.
    """

    name: str
    gib: int
    bandwidth: float
    rates: dict[str, float]
    source: str

    def rate(self, format: str) -> float:
        """Of products in `format`; a format that the card has no units for goes at fp32's rate."""
        return self.rates.get(format, self.rates["fp32"])


CARDS = {
    "v100": Card(
        "V100", 32, 900e9, {"fp32": 15.7e12, "fp16": 125e12}, "NVIDIA V100 data sheet, January 2020, SXM2"
    ),
    "rtx3090ti": Card(
        "RTX 3090 Ti", 24, 1008e9, {"fp32": 40e12, "tf32": 40e12, "fp16": 80e12, "bf16": 80e12},
        "NVIDIA Ampere GA102 whitepaper: the RTX 3090 per core and clock, 10,752 cores, 1.86 GHz; 384 x 21 Gbit/s",
    ),
    "a100": Card(
        "A100", 40, 1555e9, {"fp32": 19.5e12, "tf32": 156e12, "fp16": 312e12, "bf16": 312e12},
        "NVIDIA A100 data sheet, 40 GB SXM",
    ),
    "h100": Card(
        "H100", 80, 3350e9, {"fp32": 67e12, "tf32": 494e12, "fp16": 989e12, "bf16": 989e12},
        "NVIDIA H100 data sheet, SXM",
    ),
}  # fmt: skip
"""By the name that a command takes."""
