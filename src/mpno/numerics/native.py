"""What the processor computes natively, asked at run time, and the evidence class that follows."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

import torch

from mpno.specs import PrecisionSetting
from mpno.specs.names import Evidence, SphericalTransform, Transform

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""The formats that torch stores as a dtype of their own and multiplies matrices in."""

_CPU_FLAGS = {"fp16": ("amx_fp16", "avx512_fp16"), "bf16": ("amx_bf16", "avx512_bf16")}
# Values of ONEDNN_MAX_CPU_ISA that allow each format's instructions, by their beginnings.
_HALF = ("ALL", "DEFAULT", "AVX10", "AVX512_CORE_FP16", "AVX512_CORE_AMX")
_ISA = {"fp16": _HALF, "bf16": (*_HALF, "AVX512_CORE_BF16")}


def matmul_is_native(format: str, device: torch.device) -> bool:
    """Whether `device` multiplies matrices in `format` by its own instructions.

    ``meta`` tensors answer as CUDA does, since they stand for it in traced shapes.
    """
    if format not in DTYPES:
        return False
    if format == "fp32" or device.type in ("cuda", "meta"):
        return True
    return device.type == "cpu" and _cpu_has(format)


def fft_is_native(format: str, device: torch.device) -> bool:
    """Whether torch.fft runs in `format` on `device`: float32 everywhere, half on CUDA, bfloat16 nowhere."""
    return format == "fp32" or (format == "fp16" and device.type in ("cuda", "meta"))


def evidence_of(
    precision: PrecisionSetting, transform: Transform | SphericalTransform, device: torch.device
) -> Evidence:
    """The evidence class of an error obtained with this setting here (see :data:`mpno.specs.names.Evidence`)."""
    parts = precision.variants
    if transform in ("fft", "sht") and not all(fft_is_native(f, device) for p in parts for f in (p.forward, p.inverse)):
        return "simulated"
    formats = {f for p in parts for f in (p.real, p.forward, p.contraction, p.weights, p.inverse)}
    return "native" if all(matmul_is_native(f, device) for f in formats) else "emulated"


def refuse_shortcuts() -> None:
    """Let a format be itself on GPUs: fp32 without TF32, and products in half summed in fp32 to the end.

    torch else rounds the operands of fp32 convolutions to TF32, a format of its own, and lets cuBLAS add partial sums
    of products in half in half. Lasts for the process, since a backward pass asks when it runs.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


@functools.cache
def _cpu_has(format: str) -> bool:
    # oneDNN does the matrix products, and its ISA limit overrides what the processor could do.
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if limit and not limit.startswith(_ISA[format]):
        return False
    flags = torch.cpu.get_capabilities()
    return any(flags.get(flag, False) for flag in _CPU_FLAGS[format])


def processor_name(device: torch.device) -> str:
    """The processor's name as the operating system gives it, for records."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
