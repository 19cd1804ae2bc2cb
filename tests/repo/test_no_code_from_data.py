"""No file that is read can run code: nothing is unpickled, evaluated or handed to a shell."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator

import pytest

from .paths import ROOT, kept_files

PICKLES = {"pickle", "cPickle", "joblib", "dill", "cloudpickle", "shelve", "marshal", "jsonpickle"}
ONLY = {"pickle.UnpicklingError"}
"""What may be named of these modules: an error to catch."""
REFUSED = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.UnsafeLoader",
}
READ_PICKLE = {"pd.read_pickle", "pandas.read_pickle"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def keyword(call: ast.Call, name: str) -> object:
    found = [word.value for word in call.keywords if word.arg == name]
    return found[0].value if found and isinstance(found[0], ast.Constant) else None


def findings(source: str) -> Iterator[str]:
    """What in `source` could run code that came with data."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PICKLES:
            yield f"line {node.lineno}: from {node.module}"
        if isinstance(node, ast.Attribute):
            name = dotted(node)
            if name.partition(".")[0] in PICKLES and name not in ONLY:
                yield f"line {node.lineno}: {name}"
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in REFUSED | READ_PICKLE:
                yield f"line {node.lineno}: {name}"
            if name == "torch.load" and keyword(node, "weights_only") is not True:
                yield f"line {node.lineno}: torch.load without weights_only=True"
            if name in ("np.load", "numpy.load") and keyword(node, "allow_pickle") is not False:
                yield f"line {node.lineno}: np.load without allow_pickle=False"
            if keyword(node, "allow_pickle") is True or keyword(node, "shell") is True:
                yield f"line {node.lineno}: {name} with allow_pickle or shell"


def test_nothing_that_ships_runs_code_from_data() -> None:
    folders = ("src", "envs", "benchmarks", "workflow")
    kept = [path for path in kept_files() if path.relative_to(ROOT).parts[0] in folders and path.suffix == ".py"]
    assert len(kept) > 200
    found = [f"{path.relative_to(ROOT)}, {line}" for path in kept for line in findings(path.read_text("utf-8"))]
    assert found == []


def test_no_notebook_runs_code_from_data() -> None:
    books = [path for path in kept_files() if path.suffix == ".ipynb"]
    cells = [cell for path in books for cell in json.loads(path.read_text("utf-8"))["cells"]]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert sources and [line for source in sources for line in findings(source)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(file)",
        "from pickle import loads",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import joblib\njoblib.load(path)",
        "import pandas as pd\npd.read_pickle(path)",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "eval(text)",
        "import yaml\nyaml.load(text)",
    ],
)
def test_the_search_finds_what_it_is_for(source: str) -> None:
    assert list(findings(source))
