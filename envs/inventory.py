"""Write licences.csv and sbom.json (CycloneDX 1.6) from the lock and the installed packages' own metadata.

`python envs/inventory.py`, in the environment of the test group.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from render import PYTHON, pins  # noqa: E402

LONGEST = 80
"""Characters of a licence's name; some packages put its whole text there."""
TARGET = {
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
    "implementation_name": "cpython",
    "implementation_version": f"{PYTHON}.0",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "platform_release": "",
    "platform_version": "",
    "extra": "",
}
"""The machine that the lock is for, whichever one this is."""


def licence(name: str) -> tuple[str, bool]:
    """What a package says of its licence, and whether that is an SPDX expression."""
    metadata: Any = distribution(name).metadata
    if expression := metadata.get("License-Expression"):
        return expression, True
    said = (metadata.get("License") or "").strip()
    if said and said != "UNKNOWN" and "\n" not in said and len(said) <= LONGEST:
        return said, False
    kinds = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")]
    if kinds:
        return "; ".join(kinds), False
    files = [file for file in distribution(name).files or [] if file.name.upper().startswith(("LICENSE", "LICENCE"))]
    texts = [said, *(Path(str(file.locate())).read_text(encoding="utf-8") for file in files)]
    first = [line.strip() for text in texts for line in text.splitlines() if line.strip()][:1]
    return f"text begins: {first[0][:LONGEST]}" if first else "not stated", False


def licences(run: str, test: str) -> str:
    """The CSV of every locked package; `run` and `test` are the texts of the locks."""
    shipped = pins(run)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["package", "version", "group", "licence"])
    for name, version in sorted(pins(test).items()):
        writer.writerow([name, version, "run" if name in shipped else "test", licence(name)[0]])
    return text.getvalue()


def sbom(run: str) -> str:
    """The bill of materials of what `make reproduce` installs: CycloneDX without dates, so equal locks, equal bytes."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    locked: dict[str, str] = {canonicalize_name(name): version for name, version in pins(run).items()}
    own = f"pkg:pypi/mpno@{project['version']}"
    refs = {name: f"pkg:pypi/{name}@{version}" for name, version in locked.items()}
    direct = [Requirement(line).name for line in (HERE / "run.in").read_text().splitlines() if line[:1] not in "#-"]
    graph = [{"ref": own, "dependsOn": sorted(refs[canonicalize_name(name)] for name in direct)}]
    graph += [{"ref": refs[name], "dependsOn": [refs[need] for need in _needs(name) if need in refs]} for name in refs]
    found: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": own, "name": "mpno", "version": project["version"],
                          "purl": own, "licenses": [{"license": {"id": project["license"]}}]},
            "properties": [{"name": "mpno:lock:sha256", "value": hashlib.sha256(run.encode()).hexdigest()}],
        },
        "components": [_component(name, version, refs[name]) for name, version in locked.items()],
        "dependencies": graph,
    }  # fmt: skip
    return json.dumps(found, indent=1) + "\n"


def _component(name: str, version: str, ref: str) -> dict[str, Any]:
    said, spdx = licence(name)
    kind = {"expression": said} if spdx else {"license": {"name": said}}
    return {"type": "library", "bom-ref": ref, "name": name, "version": version, "purl": ref, "licenses": [kind]}


def _needs(name: str) -> list[str]:
    needs = [Requirement(text) for text in distribution(name).requires or []]
    return sorted({canonicalize_name(n.name) for n in needs if n.marker is None or n.marker.evaluate(dict(TARGET))})


def main() -> None:
    run, test = ((HERE / f"{group}.txt").read_text() for group in ("run", "test"))
    for name, text in {"licences.csv": licences(run, test), "sbom.json": sbom(run)}.items():
        half = HERE / f".{name}.new"
        half.write_text(text)
        half.replace(HERE / name)


if __name__ == "__main__":
    main()
