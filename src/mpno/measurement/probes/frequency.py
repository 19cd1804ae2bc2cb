"""What half precision costs each frequency of a signal of ten sines, and which rounding costs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mpno.measurement.probes.inputs import ProbedArm
from mpno.numerics import evidence_of, round_to
from mpno.specs import PrecisionSetting
from mpno.spectral.fft import fft_forward
from mpno.spectral.matmul import matmul_forward
from mpno.spectral.modes import kept_modes

RATE, LENGTH, SINES = 200, 6, 10
"""Samples per unit of time, units of time, and frequencies 1 to 10, as the authors' notebook has them."""


def frequency(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Errors by frequency, seed and way of transforming.

    The signal is a sum of sines of frequency i and amplitude exp(-i/2) max(0.1, N(1, 0.3)), as the authors have it but
    seeded. Their way is the float64 transform of the signal rounded to fp16, its result rounded too. Beside it stand
    each of the two roundings alone, and this project's transforms in half and bf16.

    Returns:
        Per seed, way and frequency: ``amplitude``; ``unscaled``, the absolute error of the unscaled coefficients in the
        mean over the unit of frequency, in percent of the amplitude; ``relative``, the error at the frequency itself in
        percent of its coefficient. The signal itself comes with seed 0, as rows of way ``signal``.
    """
    rows: list[dict[str, Any]] = []
    time = np.arange(RATE * LENGTH) / RATE
    for seed in range(int(settings.get("seeds", 5))):
        amplitudes = draw(seed)
        values = signal(amplitudes, time)
        if seed == 0:
            about = {"way": "signal", "evidence": "native", "seed": 0}
            rows += [{**about, "time": float(t), "value": float(v)} for t, v in zip(time, values, strict=True)]
        exact = np.fft.fft(values)
        for way, (transform, evidence) in WAYS.items():
            error = np.abs(transform(values) - exact)
            for i, amplitude in enumerate(amplitudes, start=1):
                near = np.abs(np.fft.fftfreq(len(values), 1 / RATE) - i) <= 0.5 - 1e-9
                rows.append(
                    {
                        "way": way,
                        "evidence": evidence,
                        "seed": seed,
                        "frequency": i,
                        "amplitude": float(amplitude),
                        "unscaled": float(100 * error[near].mean() / amplitude),
                        "relative": float(100 * error[i * LENGTH] / abs(exact[i * LENGTH])),
                    }
                )
    return rows


def draw(seed: int) -> np.ndarray:
    """Amplitudes of the ten sines."""
    i = np.arange(1, SINES + 1)
    return np.exp(-0.5 * i) * np.maximum(0.1, np.random.default_rng(seed).normal(1.0, 0.3, SINES))


def signal(amplitudes: np.ndarray, time: np.ndarray) -> np.ndarray:
    i = np.arange(1, len(amplitudes) + 1)
    return (amplitudes[:, None] * np.sin(2 * np.pi * i[:, None] * time)).sum(0)


def _rounded(values: np.ndarray, format: str = "fp16") -> np.ndarray:
    return round_to(torch.from_numpy(values).float(), format).double().numpy()


def _rounded_parts(values: np.ndarray) -> np.ndarray:
    return _rounded(np.real(values).copy()) + 1j * _rounded(np.imag(values).copy())


def _ours(format: str, transform: str) -> Callable[[np.ndarray], np.ndarray]:
    def apply(values: np.ndarray) -> np.ndarray:
        n, modes = len(values), 2 * (SINES + 1) * LENGTH
        kept = kept_modes((n,), (modes,))
        x = torch.from_numpy(values).float().reshape(1, n, 1)
        if transform == "fft":
            found = fft_forward(x, kept, format)[0, :, 0].to(torch.complex64).numpy().astype(complex)
        else:
            pair = matmul_forward(x, kept, format)[0, :, :, 0].double().numpy()
            found = pair[0] + 1j * pair[1]
        whole = np.fft.fft(values)  # frequencies beyond the ten carry nothing and are not asked for
        whole[: len(found)] = n * found
        whole[len(whole) - len(found) + 1 :] = (n * found[1:][::-1]).conj()
        return whole

    return apply


def _evidence(setting: str, transform: str) -> str:
    return evidence_of(PrecisionSetting.model_validate(setting), transform, torch.device("cpu"))  # type: ignore[arg-type]


WAYS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "authors": (lambda values: _rounded_parts(np.fft.fft(_rounded(values))), "emulated"),
    "input rounded": (lambda values: np.fft.fft(_rounded(values)), "emulated"),
    "result rounded": (lambda values: _rounded_parts(np.fft.fft(values)), "emulated"),
    "fft fp16": (_ours("fp16", "fft"), _evidence("half", "fft")),
    "matmul fp16": (_ours("fp16", "matmul"), _evidence("half", "matmul")),
    "matmul bf16": (_ours("bf16", "matmul"), _evidence("half-bf16", "matmul")),
}
"""By name, from the signal to its unscaled coefficients, and the evidence class of that."""
