"""What of a training's numbers depends on where it runs: the same spec twice, on more threads, on lesser processors.

    python benchmarks/determinism.py

A lesser processor is this one, whose libraries are told to leave its widest instructions alone; another machine may
differ in more, its C library and its torch among it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mpno.datasets import make
from mpno.specs import DataSpec, RunSpec, build_spec

PLACES: dict[str, tuple[int, dict[str, str]]] = {
    "once more": (1, {}),
    "2 threads": (2, {}),
    "AVX2": (1, {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}),
    "no vectors in torch": (1, {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
}
DATA = {"source": "generate", "resolution": 16, "test_resolutions": [16], "n_train": 64, "n_test": 16}
MODEL = {"name": "fno", "modes": [8, 8], "width": 16, "layers": 2}


def spec_of(precision: str, threads: int) -> RunSpec:
    training = {"epochs": 10, "batch_size": 16}
    return build_spec({"data": DATA, "model": MODEL, "precision": precision, "training": training, "threads": threads})


def trained(spec: RunSpec, data: Path, environment: dict[str, str]) -> list[dict[str, Any]]:
    """The errors and losses of each epoch, of a training in a process of its own."""
    threads = str(spec.threads)
    done = subprocess.run(
        [sys.executable, __file__, spec.canonical(), str(data)],
        env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def train(spec: str, data: str) -> None:
    import torch

    from mpno.training import fit
    from mpno.training.data import load_samples

    run = RunSpec.model_validate_json(spec)
    torch.set_num_threads(run.threads)
    outcome = fit(run, load_samples(run, Path(data), torch.device("cpu")), progress=False)
    print(json.dumps([{"train_loss": row["train_loss"], "l2": row["l2@16"]} for row in outcome.history]))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "darcy.h5")
        make(DataSpec.model_validate(DATA), data, cache=Path(folder, "cache"))
        for precision in ("full", "mixed"):
            whole = trained(spec_of(precision, 1), data, {})
            for place, (threads, environment) in PLACES.items():
                found = trained(spec_of(precision, threads), data, environment)
                apart = max(abs(a[key] / b[key] - 1) for a, b in zip(found, whole, strict=True) for key in a)
                same = "the same bits" if found == whole else f"up to {apart:.1e} of a loss or an error"
                print(f"{precision}, {place}: {same}", flush=True)


if __name__ == "__main__":
    train(*sys.argv[1:]) if sys.argv[1:] else main()
