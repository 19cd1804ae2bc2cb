"""The device under a check. Every call that is CUDA's own stands here, and each of them has its dry counterpart.

Dry, everything runs once on meta tensors: these take the path that CUDA would take, so shapes, dtypes and what the
library refuses are those of a GPU, and there are no numbers.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mpno.measurement.cuda_check.record import Device
from mpno.numerics import refuse_shortcuts
from mpno.specs import MpnoError

Step = Callable[[], object]


@dataclass(frozen=True)
class Peak:
    """Bytes above what was there before: in tensors, and in blocks that the allocator took from the driver."""

    allocated: int
    reserved: int


@dataclass(frozen=True)
class Spread:
    """Quartiles of a step's seconds."""

    low: float
    median: float
    high: float


class Bench:
    """Runs steps on a device and measures neither memory nor time."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @property
    def measures(self) -> bool:
        """Whether there are numbers to compare."""
        return self.device.type != "meta"

    def has(self, format: str) -> bool:
        """Whether the device multiplies matrices in a format by its own instructions."""
        return True

    def about(self) -> Device:
        name = f"none: dry on {self.device.type} tensors"
        libraries = {"torch": str(torch.__version__), "cuda": torch.version.cuda, "cudnn": None}
        return Device(name=name, capability=None, memory=None, **libraries)

    def make(self, build: Callable[[], nn.Module]) -> nn.Module:
        """A module on the device. Its parameters are drawn on the CPU, so that they are the same on every device."""
        if self.device.type == "meta":
            # Built there rather than moved: not every module can be.
            with self.device:
                return build()
        return build().to(self.device)

    def number(self, value: Tensor) -> float | None:
        """A tensor of one number, read; None of shapes."""
        return None if value.is_meta else float(value.detach())

    def numbers(self, values: Tensor) -> list[float]:
        """A tensor of one axis, read; empty of shapes."""
        return [] if values.is_meta else values.detach().tolist()

    @contextlib.contextmanager
    def clean(self) -> Iterator[None]:
        """Nothing of what ran inside is left on the device, of which shapes take none."""
        yield

    def peak(self, step: Step) -> Peak | None:
        """The most memory that `step` held at any time."""
        step()
        return None

    def times(self, steps: Mapping[str, Step], *, rounds: int, seconds: float) -> dict[str, Spread]:
        """How long each of `steps` takes on the device, interleaved; fewer rounds where `seconds` would not do."""
        for step in steps.values():
            step()
        return {}

    def context(self) -> int | None:
        """Bytes of the device that are in use and not in tensors' blocks, other processes' included."""
        return None


class CudaBench(Bench):
    """Measures on the current CUDA device, on its current stream."""

    def __init__(self) -> None:
        super().__init__(torch.device("cuda", torch.cuda.current_device()))
        refuse_shortcuts()
        # cuBLAS takes its workspaces at the first products, for good: so they are no step's.
        for dtype in (torch.float32, torch.float16):
            one = torch.ones(2, 64, 64, device=self.device, dtype=dtype, requires_grad=True)
            (one @ one).sum().backward()
            nn.functional.linear(one, one[0], one[0, 0]).sum().backward()
        torch.cuda.synchronize(self.device)

    def has(self, format: str) -> bool:
        return format != "bf16" or torch.cuda.get_device_capability(self.device) >= (8, 0)

    def about(self) -> Device:
        facts = torch.cuda.get_device_properties(self.device)
        libraries = {"torch": str(torch.__version__), "cuda": torch.version.cuda}
        return Device(
            name=facts.name,
            capability=f"{facts.major}.{facts.minor}",
            memory=facts.total_memory,
            cudnn=torch.backends.cudnn.version(),
            **libraries,
        )

    @contextlib.contextmanager
    def clean(self) -> Iterator[None]:
        try:
            yield
        finally:
            gc.collect()
            # After an error of the device every call fails; the check that met it says so, the next one again.
            with contextlib.suppress(RuntimeError):
                torch.cuda.synchronize(self.device)
                torch.cuda.empty_cache()

    def peak(self, step: Step) -> Peak | None:
        gc.collect()
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(self.device), torch.cuda.memory_reserved(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        step()
        torch.cuda.synchronize(self.device)
        after = torch.cuda.max_memory_allocated(self.device), torch.cuda.max_memory_reserved(self.device)
        return Peak(after[0] - before[0], after[1] - before[1])

    def times(self, steps: Mapping[str, Step], *, rounds: int, seconds: float) -> dict[str, Spread]:
        for step in steps.values():  # the first step loads kernels and plans transforms, the second finds memory
            step()
            step()
        torch.cuda.synchronize(self.device)
        started, found = time.perf_counter(), {name: [] for name in steps}
        for number in range(rounds):
            for name, step in steps.items():
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                step()
                end.record()
                end.synchronize()
                found[name].append(begin.elapsed_time(end) / 1e3)
            if number >= 2 and time.perf_counter() - started > seconds:
                break
        return {name: Spread(*statistics.quantiles(values, n=4)) for name, values in found.items()}

    def context(self) -> int | None:
        free, total = torch.cuda.mem_get_info(self.device)
        return total - free - torch.cuda.memory_reserved(self.device)


def open_bench(*, dry: bool) -> Bench:
    """The bench of a check.

    Raises:
        MpnoError: not dry, and torch sees no GPU.
    """
    if dry:
        return Bench(torch.device("meta"))
    if not torch.cuda.is_available():
        build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise MpnoError(
            f"measure cuda-check: torch {torch.__version__}, {build}, sees no GPU; run it on a machine with one, or "
            "add --dry to see what would be checked"
        )
    return CudaBench()
