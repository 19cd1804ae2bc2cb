"""Make pip see what an interrupted installation left unfinished: `python -I mend.py SITE_PACKAGES`.

pip takes a package for installed as soon as its metadata is there. Here the metadata of every package
that is not whole is removed, so that the next `pip install` puts that package in place again.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path


def is_whole(dist_info: Path) -> bool:
    """Whether pip finished the package: INSTALLER (written near the end) and all recorded files are there."""
    record = dist_info / "RECORD"
    if not record.is_file() or not (dist_info / "INSTALLER").is_file():
        return False
    with record.open(newline="", encoding="utf-8") as lines:
        for name, _, size in csv.reader(lines):
            file = dist_info.parent / name
            if not file.is_file() or (size and file.stat().st_size != int(size)):
                return False
    return True


def mend(site_packages: Path) -> list[str]:
    """Remove the metadata of unfinished packages and pip's own leftovers; return what was removed."""
    unfinished = [path for path in site_packages.glob("*.dist-info") if not is_whole(path)]
    leftovers = [path for path in site_packages.glob("~*") if path.is_dir()]
    for path in unfinished + leftovers:
        shutil.rmtree(path)
    return sorted(path.name for path in unfinished + leftovers)


if __name__ == "__main__":
    for name in mend(Path(sys.argv[1])):
        print(f"set-up: will install again: {name}")
