"""The lock: two groups that agree, complete by the packages' own metadata, and free of addresses."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, version

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from .paths import ENVS, ROOT, load_script

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
GROUPS = ("run", "test")
render = load_script("render")


def pins(group: str) -> dict[str, str]:
    return {canonicalize_name(name): found for name, found in render.pins((ENVS / f"{group}.txt").read_text()).items()}


def direct(group: str) -> list[Requirement]:
    lines = (ENVS / f"{group}.in").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]


def unmet(locked: dict[str, str], roots: list[Requirement], python: str) -> list[str]:
    """Walk the installed packages' metadata from `roots` as Python `python` would; name what the lock lacks."""
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.9"}
    missing: list[str] = []
    seen: set[tuple[str, str]] = set()
    queue = [(requirement, "the .in file") for requirement in roots]
    while queue:
        requirement, wanted_by = queue.pop()
        name = canonicalize_name(requirement.name)
        if name not in locked or not requirement.specifier.contains(locked[name], prereleases=True):
            missing.append(f"{wanted_by} needs {requirement}; locked: {locked.get(name)}")
            continue
        for extra in {"", *requirement.extras} - {extra for known, extra in seen if known == name}:
            seen.add((name, extra))
            for text in distribution(name).requires or []:
                need = Requirement(text)
                if need.marker is None or need.marker.evaluate({**environment, "extra": extra}):
                    queue.append((need, name))
    return missing


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("group", GROUPS)
def test_lock_holds_all_that_its_packages_ask_for(group: str, python: str) -> None:
    roots = direct("run") + (direct("test") if group == "test" else [])
    assert unmet(pins(group), roots, python) == []


def test_a_missing_or_wrong_pin_is_seen() -> None:
    locked = pins("run")
    del locked["aiosignal"]
    locked["numpy"] = "1.0"
    found = " ".join(unmet(locked, direct("run"), "3.12"))
    assert "aiosignal" in found and "locked: 1.0" in found


@pytest.mark.parametrize("python", PYTHONS)
def test_locked_packages_run_on_every_supported_python(python: str) -> None:
    ranges = {name: str(distribution(name).metadata.json.get("requires_python", "")) for name in pins("test")}
    assert [name for name, text in ranges.items() if f"{python}.9" not in SpecifierSet(text)] == []


def test_the_environment_is_the_lock() -> None:
    locked = pins("test")
    assert {name: version(name) for name in locked} == locked
    check = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout


def test_the_run_group_is_part_of_the_test_group() -> None:
    assert pins("run").items() <= pins("test").items()


def test_the_peer_and_what_it_pulls_in_stay_out_of_the_run_group() -> None:
    only_test = set(pins("test")) - set(pins("run"))
    assert {"neuraloperator", "wandb", "tensorly", "pytest", "beartype"} <= only_test


@pytest.mark.parametrize("group", GROUPS)
def test_every_line_is_a_pin_or_a_hash(group: str) -> None:
    text = (ENVS / f"{group}.txt").read_text()
    pin = r"[a-z0-9][a-z0-9-]*==[^\s\\]+( \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert re.fullmatch(f"({pin})+", text), "a line is neither a pin nor a hash: remake the lock with `make lock`"


def test_pyproject_asks_for_nothing_the_lock_does_not_hold() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {
        "run": project["dependencies"] + extras["data"] + extras["theory"] + extras["workflow"],
        "test": extras["test"],
    }
    for group, texts in wanted.items():
        for requirement in map(Requirement, texts):
            if requirement.name != "mpno":
                found = pins(group).get(canonicalize_name(requirement.name))
                assert found is not None and requirement.specifier.contains(found), f"{group}: {requirement}: {found}"


def test_every_package_named_in_the_run_group_imports() -> None:
    other = {"pyyaml": "yaml", "PyWavelets": "pywt"}  # imported under another name
    modules = [other.get(requirement.name, requirement.name.replace("-", "_")) for requirement in direct("run")]
    assert {"torch", "snakemake", "h5py", "papermill"} <= set(modules)
    code = f"import importlib\nfor name in {modules!r}:\n    importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(("name", "make"), [("environment.yaml", "environment"), ("Containerfile", "containerfile")])
def test_what_is_made_from_the_lock_agrees_with_it(name: str, make: str) -> None:
    lock = (ENVS / "run.txt").read_text()
    assert (ENVS / name).read_text() == getattr(render, make)(lock), f"envs/{name} is stale: call `make lock`"


def test_the_environment_file_pins_each_package_once() -> None:
    import yaml

    dependencies = yaml.safe_load((ENVS / "environment.yaml").read_text())["dependencies"]
    listed = dependencies[-1]["pip"]
    assert dict(line.split("==") for line in listed) == pins("run") and len(listed) == len(pins("run"))
