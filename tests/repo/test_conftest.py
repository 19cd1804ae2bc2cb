"""The guards of tests/conftest.py bite."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import shutil
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from .paths import ROOT

LEAK = """
import torch
def test_leaks(): torch.set_default_dtype(torch.float64)
def test_comes_after(): assert torch.ones(1).dtype == torch.float32
"""


def test_a_leaked_default_dtype_fails_its_test_alone(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    (tmp_path / "test_leak.py").write_text(LEAK)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed, 1 error" in done.stdout and "torch.float64" in done.stdout, done.stdout


def test_types_and_shapes_are_checked_in_the_tensor_rooms() -> None:
    from mpno.numerics import round_to

    with pytest.raises(TypeCheckError):
        round_to("not a tensor", "fp16")  # pyright: ignore[reportArgumentType]


def functions() -> list[Callable[..., object]]:
    """Every function and method that the tensor rooms define."""
    found: list[Callable[..., object]] = []
    for room in ("numerics", "spectral", "models", "training"):
        package = importlib.import_module(f"mpno.{room}")
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            owners = [module, *(kind for kind in vars(module).values() if inspect.isclass(kind))]
            members = [member for owner in owners for member in vars(owner).values()]
            found += [m for m in members if inspect.isfunction(m) and m.__module__ == info.name]
    return found


def test_every_signature_can_be_evaluated() -> None:
    """One that cannot is not checked, and nothing says so."""
    everything = functions()
    assert len(everything) > 150
    for function in everything:
        typing.get_type_hints(inspect.unwrap(function))


def test_one_thread() -> None:
    assert torch.get_num_threads() == 1
