"""Standard normal numbers that belong to a sample: a function of (seed, split, index), with any version of numpy."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from mpno.specs import MpnoError, allowed

SPLITS = {"train": 0, "test": 1}


def normals(what: str, seed: int, split: str, index: int, count: int) -> np.ndarray:
    """The first `count` standard normal numbers of a sample; a longer draw starts with a shorter one.

    Args:
        what: data set, named in errors.

    Raises:
        MpnoError: an unknown split, or a seed or index that is not in 0 to 2^64 - 1.
    """
    if split not in SPLITS:
        raise MpnoError(f"{what}: split {split!r}; {allowed(split, SPLITS)}")
    return stream_normals(what, seed, SPLITS[split], index, count)


def stream_normals(what: str, seed: int, stream: int, index: int, count: int) -> np.ndarray:
    """As :func:`normals`, from any stream: those of the splits are the first."""
    if not (0 <= seed < 2**64 and 0 <= index < 2**64):
        raise MpnoError(f"{what}: seed {seed}, sample {index}; allowed: 0 to 2^64 - 1 for both")
    # Typed, since numpy takes a list with a large integer for one of floats.
    key, counter = np.array([seed, stream], np.uint64), np.array([0, 0, 0, index], np.uint64)
    words = np.random.Philox(key=key, counter=counter)
    # numpy keeps a bit generator's raw words across versions, but not its normal variates: make these from the words.
    uniform = ((words.random_raw(count) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return ndtri(uniform)
