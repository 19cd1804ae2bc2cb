"""Make environment.yaml and Containerfile from the lock: `python envs/render.py`. Standard library only."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = "3.11"  # what the lock is resolved for
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s\\;]+)", re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    """Map each package of a lock's text to its version."""
    return dict(PIN.findall(lock))


def environment(lock: str) -> str:
    """Return a conda environment with the lock's versions; pip puts them in, because the lock is pip's."""
    lines = "".join(f"      - {name}=={version}\n" for name, version in pins(lock).items())
    return (
        "# Made from run.txt by `make lock`. Then: pip install --no-deps -e .\n"
        "name: mpno\n"
        "channels:\n  - conda-forge\n"
        f"dependencies:\n  - python={PYTHON}\n  - pip\n  - git\n  - make\n  - pip:\n{lines}"
    )


def containerfile(lock: str) -> str:
    """Return a container recipe that installs the lock, hashes checked, and runs the workflow."""
    digest = hashlib.sha256(lock.encode()).hexdigest()
    return f"""\
# Made from run.txt by `make lock`. Build: podman build -t mpno -f envs/Containerfile .
# Run: podman run --rm -v "$PWD/results:/mpno/results" mpno   (other scales: append --config scale=smoke)
# For `--software-deployment-method apptainer`: podman save --format docker-archive -o mpno.tar mpno
# and then: apptainer build envs/mpno.sif docker-archive:mpno.tar
FROM docker.io/library/python:{PYTHON}-slim
LABEL mpno.lock.sha256="{digest}" mpno.torch="{pins(lock)["torch"]}"
RUN apt-get update && apt-get install -y --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /mpno
COPY envs/run.txt envs/
RUN pip install --no-cache-dir --require-hashes -r envs/run.txt
COPY . .
RUN pip install --no-cache-dir --no-build-isolation --no-deps -e .
ENTRYPOINT ["snakemake", "--cores", "all"]
"""


def main() -> None:
    lock = (HERE / "run.txt").read_text()
    for name, text in {"environment.yaml": environment(lock), "Containerfile": containerfile(lock)}.items():
        half = HERE / f".{name}.new"
        half.write_text(text)
        half.replace(HERE / name)


if __name__ == "__main__":
    main()
