"""A notebook executed with papermill, kept as ipynb and as HTML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mpno.specs import MpnoError
from mpno.specs.files import replacing, write_text


def run_notebook(path: Path, *, parameters: dict[str, Any], out: Path) -> None:
    """Execute `path` with `parameters` from the working folder; write `out` and its HTML beside it.

    Raises:
        MpnoError: there is no such notebook, it has no cell tagged ``parameters``, or a cell fails.
    """
    if not path.is_file():
        raise MpnoError(f"{path}: there is no such notebook; run from the repository's root")
    # The kernel of this environment, not one of the same name in the user's home; jupyter reads this on import.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    import nbformat
    import papermill
    from nbconvert import HTMLExporter
    from papermill.exceptions import PapermillExecutionError

    tags = [cell.metadata.get("tags", []) for cell in nbformat.read(path, as_version=4).cells]
    if not any("parameters" in group for group in tags):
        raise MpnoError(f"{path}: has no cell tagged 'parameters'; tag the one that sets {', '.join(parameters)}")
    with replacing(out) as temporary:
        try:
            papermill.execute_notebook(
                str(path), str(temporary), parameters=parameters, kernel_name="python3", progress_bar=False
            )
        except PapermillExecutionError as error:
            raise MpnoError(f"{path}: cell {error.exec_count} fails with {error.ename}: {error.evalue}") from None
        book = nbformat.read(temporary, as_version=4)
        page, _ = HTMLExporter(embed_images=True).from_notebook_node(book)
        write_text(out.with_suffix(".html"), page)
