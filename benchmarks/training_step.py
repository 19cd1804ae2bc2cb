"""Seconds and bytes of one training step of the FNO, ours beside the peer's, arm by arm.

    python benchmarks/training_step.py [--case large|small] [--threads 1] [--rounds 9] [--out FOLDER]

Every arm lives in a process of its own, since the allocator and the instruction set are chosen at its start. The arms
take turns, one step each per round, so that a busy moment of the machine falls on all of them; ratios are
taken within a round. The gain is shown in factors, each arm differing from the one it is set against in one thing.
Bytes are those of live tensors over the third step, optimiser states included; scratch inside an operation is not
seen. Needs the test group (neuraloperator).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

CASES = {
    "large": {"grid": 128, "batch": 8, "modes": 32, "width": 64, "layers": 4},
    "small": {"grid": 64, "batch": 16, "modes": 24, "width": 32, "layers": 4},
}


class Arm(NamedTuple):
    """One way to do the step; `against` is the arm that differs in `factor` alone."""

    name: str
    side: str
    options: dict[str, Any]
    against: str = ""
    factor: str = ""
    env: Mapping[str, str] = MappingProxyType({})


AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
ARMS = [
    Arm("peer, as installed", "peer", {"keep": False}),
    Arm("peer", "peer", {}, "peer, as installed", "memory kept between steps"),
    Arm("peer, autocast bf16", "peer", {"autocast": True}, "peer", "autocast"),
    Arm("ours, fft, fp32", "ours", {"transform": "fft", "precision": "full"}, "peer", "layout and optimiser"),
    Arm("ours, matmul, fp32", "ours", {"transform": "matmul", "precision": "full"}, "ours, fft, fp32", "transform"),
    Arm(
        "ours, matmul, fp32 + tanh",
        "ours",
        {"transform": "matmul", "precision": "full+tanh"},
        "ours, matmul, fp32",
        "tanh",
    ),
    Arm(
        "ours, matmul, bf16",
        "ours",
        {"transform": "matmul", "precision": "mixed-bf16"},
        "ours, matmul, fp32 + tanh",
        "format",
    ),
    Arm(
        "ours, matmul, bf16, all kept",
        "ours",
        {"transform": "matmul", "precision": "mixed-bf16", "recompute": False},
        "ours, matmul, bf16",
        "nothing recomputed",
    ),
    Arm(
        "ours, matmul, bf16, no tanh",
        "ours",
        {"transform": "matmul", "precision": "mixed-bf16+none"},
        "ours, matmul, bf16",
        "no tanh",
    ),
    Arm(
        "ours, fft, fp32, saved packed",
        "ours",
        {"transform": "fft", "precision": "full, saved mxfp8"},
        "ours, fft, fp32",
        "activations packed",
    ),
    Arm(
        "ours, matmul, bf16, saved packed",
        "ours",
        {"transform": "matmul", "precision": "mixed-bf16, saved mxfp8"},
        "ours, matmul, bf16",
        "activations packed",
    ),
    Arm("peer, AVX2", "peer", {}, "peer", "no AVX-512", AVX2),
    Arm(
        "ours, matmul, fp32, AVX2",
        "ours",
        {"transform": "matmul", "precision": "full"},
        "peer, AVX2",
        "layout, optimiser and transform",
        AVX2,
    ),
]


def stepper(arm: Arm, case: dict[str, int]) -> tuple[Callable[[], float], Any]:
    """A training step of `arm`, and its model."""
    import torch

    torch.manual_seed(0)
    size = case["grid"]
    x, y = torch.randn(case["batch"], 1, size, size), torch.randn(case["batch"], 1, size, size)
    modes, width, layers = (case["modes"],) * 2, case["width"], case["layers"]
    model: torch.nn.Module
    if arm.side == "peer":
        from neuralop.models import FNO as Peer

        model = Peer(n_modes=modes, in_channels=1, out_channels=1, hidden_channels=width, n_layers=layers)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    else:
        from mpno import FNO
        from mpno.specs import FNOSpec

        spec = FNOSpec(modes=modes, width=width, layers=layers)
        options = {key: arm.options[key] for key in ("precision", "transform", "recompute") if key in arm.options}
        model = FNO(1, 1, spec, **options)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    autocast = arm.options.get("autocast", False)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            prediction = model(x)
        loss = (prediction.float() - y).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, model


def work(arm: Arm, case: dict[str, int], threads: int) -> None:
    """A worker: one step, timed, for every line that comes in."""
    import torch

    from mpno.numerics import LiveBytes
    from mpno.training.allocator import keep_freed_memory

    torch.set_num_threads(threads)
    if arm.options.get("keep", True):
        keep_freed_memory()
    step, model = stepper(arm, case)
    step()
    states = 3 * sum(p.numel() * p.element_size() for p in model.parameters())  # the parameters and two moments
    counter = LiveBytes(apart=model.parameters())
    with counter:
        step()
    loss = step()
    print(json.dumps({"bytes": states + counter.peak, "loss": loss}), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        step()
        print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)


def start(arm: Arm, case: str, threads: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--case", case, "--threads", str(threads), "--worker", arm.name]
    env = os.environ | {"OMP_WAIT_POLICY": "passive"} | dict(arm.env)
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    )


def ask(worker: subprocess.Popen[str]) -> dict[str, float]:
    assert worker.stdin and worker.stdout
    worker.stdin.write("\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def run(case: str, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Measure every arm; one row each."""
    import numpy as np

    workers, facts = {}, {}
    for arm in ARMS:
        workers[arm.name] = start(arm, case, threads)
        facts[arm.name] = json.loads(workers[arm.name].stdout.readline())
    times: dict[str, list[float]] = {arm.name: [] for arm in ARMS}
    for _ in range(rounds):
        for arm in ARMS:
            times[arm.name].append(ask(workers[arm.name])["seconds"])
    for worker in workers.values():
        worker.stdin.close()
        worker.wait(60)
    rows = []
    for arm in ARMS:
        seconds = np.array(times[arm.name])
        row: dict[str, Any] = {"arm": arm.name, "seconds": np.median(seconds), "MiB": facts[arm.name]["bytes"] / 2**20}
        row |= {"low": np.quantile(seconds, 0.25), "high": np.quantile(seconds, 0.75)}
        for name in ("peer, as installed", "peer"):
            row[f"times {name}"] = quartiles(np.array(times[name]) / seconds)
        row["share of the peer's bytes"] = facts[arm.name]["bytes"] / facts["peer"]["bytes"]
        row["factor"] = arm.factor
        row["gain of the factor"] = quartiles(np.array(times[arm.against]) / seconds) if arm.against else ""
        rows.append(row)
    return rows


def quartiles(ratios: Any) -> str:
    import numpy as np

    low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{median:.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", choices=CASES, default="large")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="a folder for the rows as CSV")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(next(arm for arm in ARMS if arm.name == given.worker), CASES[given.case], given.threads)
        return
    rows = run(given.case, given.threads, given.rounds)
    import pandas as pd
    import torch

    from mpno.numerics import processor_name

    flags = [name for name, on in torch.cpu.get_capabilities().items() if on is True]
    print(f"{given.case}: {CASES[given.case]}, {given.threads} thread(s), {given.rounds} rounds")
    print(f"torch {torch.__version__}")
    print(f"{processor_name(torch.device('cpu'))}: {', '.join(flags)}")
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".3f"))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        path = given.out / f"training_step-{given.case}-{given.threads}.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        print(path)


if __name__ == "__main__":
    main()
