"""Refuse notebooks that hold outputs: `python envs/notebooks.py FOLDER_OR_FILE...` (exit status 1 when one does)."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat


def findings(notebook: Path) -> list[str]:
    """Return one line per cell of `notebook` that holds outputs or an execution count."""
    cells = nbformat.read(notebook, as_version=4).cells
    kept = [i for i, cell in enumerate(cells) if cell.get("outputs") or cell.get("execution_count")]
    return [f"{notebook}: cell {i} holds an output; clear all outputs before committing" for i in kept]


def main(paths: list[str]) -> int:
    notebooks: list[Path] = []
    for path in map(Path, paths):
        notebooks += sorted(path.glob("*.ipynb")) if path.is_dir() else [path]
    found = [line for notebook in notebooks for line in findings(notebook)]
    print("\n".join(found) or f"{len(notebooks)} notebooks without outputs")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
