"""A notebook executed with papermill, kept as ipynb and as HTML."""

from __future__ import annotations

import os
import sys
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

    try:
        tags = [cell.metadata.get("tags", []) for cell in nbformat.read(path, as_version=4).cells]
    except Exception as error:  # the reader has no one error for what is no notebook
        raise MpnoError(f"{path}: is no notebook ({error}); take the project's own again") from None
    if not any("parameters" in group for group in tags):
        raise MpnoError(f"{path}: has no cell tagged 'parameters'; tag the one that sets {', '.join(parameters)}")
    with replacing(out) as temporary:
        try:
            papermill.execute_notebook(
                str(path), str(temporary), parameters=parameters, kernel_name="python3", progress_bar=False
            )
        except PapermillExecutionError as error:
            raise MpnoError(f"{path}: cell {error.exec_count} fails with {error.ename}: {error.evalue}") from None
        book = _for_others(nbformat.read(temporary, as_version=4))
        nbformat.write(book, temporary)
        page, _ = HTMLExporter(embed_images=True).from_notebook_node(book)
        write_text(out.with_suffix(".html"), page)


def _for_others(book: Any) -> Any:
    """The notebook without the paths of this machine: where it was read and written, and those in its cells."""
    told = book.metadata.get("papermill", {})
    told.pop("input_path", None)
    told.pop("output_path", None)
    told["parameters"] = _without(told.get("parameters", {}))
    for cell in book.cells:
        cell.source = _without(cell.source)
        for output in cell.get("outputs", []):
            texts = {kind: value for kind, value in output.get("data", {}).items() if kind.startswith("text/")}
            output.get("data", {}).update(_without(texts))
            output.update({key: _without(output[key]) for key in ("text",) if key in output})
    return book


def _without(value: Any) -> Any:
    """`value` with the working folder, the environment and the home cut out of every text in it."""
    if isinstance(value, dict):
        return {key: _without(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without(part) for part in value]
    if not isinstance(value, str):
        return value
    for place, instead in ((f"{Path.cwd()}/", ""), (sys.prefix, "ENVIRONMENT"), (str(Path.home()), "~")):
        value = value.replace(place, instead) if len(place) > 1 else value
    return value
