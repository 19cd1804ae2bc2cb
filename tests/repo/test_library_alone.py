"""`pip install .` without extras is enough for the library: it imports, and its spectral layer runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .paths import ROOT

CODE = """
import importlib.util
import torch
from mpno import SpectralConv
assert importlib.util.find_spec("h5py") is None, "the environment holds more than the library's own needs"
print(tuple(SpectralConv(2, 3, (4, 4))(torch.randn(1, 2, 8, 8)).shape))
"""


def core_distributions() -> set[str]:
    """The library's dependencies without extras, and all that those need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    queue = [(Requirement(text), "") for text in project["dependencies"]]
    seen: set[tuple[str, str]] = set()
    while queue:
        requirement, _ = queue.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for text in distribution(name).requires or []:
                need = Requirement(text)
                if need.marker is None or need.marker.evaluate({"extra": extra}):
                    queue.append((need, name))
    return {name for name, _ in seen}


def link(name: str, site: Path) -> None:
    """Show the installed distribution `name` in the folder `site`."""
    found = distribution(name)
    tops = {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}
    for top in tops - {"__pycache__"}:
        target = site / top
        if not target.exists():  # several nvidia packages share one folder
            target.symlink_to(Path(str(found.locate_file(top))))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with mpno's wheel and its core dependencies alone."""
    home = tmp_path_factory.mktemp("alone")
    # The wheel is built from a copy: setuptools leaves files in the folder it builds in.
    source = home / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(home), str(source)]
    subprocess.run(build, check=True)
    venv.create(home / "venv", with_pip=False, symlinks=True)
    (site,) = (home / "venv/lib").glob("python3*/site-packages")
    (wheel,) = home.glob("mpno-*.whl")
    install = [*pip, "install", "--no-deps", "--no-index", "--no-warn-conflicts", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True)
    for name in core_distributions():
        link(name, site)
    return home / "venv/bin/python"


def test_the_library_runs_a_spectral_layer_with_its_core_dependencies_alone(python: Path) -> None:
    done = subprocess.run([python, "-I", "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "(1, 3, 8, 8)"


def test_the_wheel_holds_the_type_marker(python: Path) -> None:
    (marker,) = python.parents[1].glob("lib/python3*/site-packages/mpno/py.typed")
    assert marker.is_file()
