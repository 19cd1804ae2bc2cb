"""What holds in every test: checked shapes and types, one thread, the same random numbers, the default dtype."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic with it alone

from hypothesis import settings
from jaxtyping import install_import_hook

# The hook rewrites modules as they are loaded, so it has to come before the first of them.
CHECKED = ("mpno.numerics", "mpno.spectral", "mpno.models", "mpno.training")
assert not set(CHECKED) & set(sys.modules), "a tensor module of mpno was imported before the type checks were on"
install_import_hook(CHECKED, "beartype.beartype")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

settings.register_profile("mpno", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("mpno")


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Seed every generator a test may draw from."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries under test may draw from the global state
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def default_dtype_is_left_alone() -> Iterator[None]:
    """Fail a test that leaves torch's default dtype changed: every later test would see it."""
    yield
    left = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    if left != torch.float32:
        pytest.fail(f"the test left torch's default dtype at {left}; restore torch.float32")
