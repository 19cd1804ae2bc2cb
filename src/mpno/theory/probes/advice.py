"""What the advice says of the settings that arms train in, before training and with the weights of full precision."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from mpno.specs import MpnoError
from mpno.theory.advice import FRACTION, TOLERANCE, Advice, advise
from mpno.theory.advice_inputs import SAMPLES, Asked, before_training
from mpno.theory.probes.inputs import Asked as Arm
from mpno.training import load_run


def advice(arms: Sequence[Arm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Ask the advice for every arm with a low format in its spectral block: its model, data, transform and precision.

    Args:
        arms: beside those asked about, those in full precision, whose finished runs give weights.
        settings: ``fraction``, ``tolerance``, ``samples``, each as of :func:`mpno.theory.advice.advise` where missing.

    Returns:
        Rows by part, arm, weights (``untrained``, of the arm's first seed; ``trained``, of full precision with the same
        stabiliser, else without, where such a run has finished) and layer: the numbers of
        :meth:`mpno.theory.advice.Advice.records` with fraction and tolerance, ``output``, the relative error of the
        whole model's output, infinite where it is not finite, and ``safe_alone``, whether the layer is safe by the
        fraction alone.

    Raises:
        MpnoError: an unknown setting.
    """
    known = {"fraction": FRACTION, "tolerance": TOLERANCE, "samples": SAMPLES}
    if unknown := set(settings) - set(known):
        raise MpnoError(f"probe advice: settings are {', '.join(sorted(unknown))}; allowed: {', '.join(known)}")
    wanted = {**known, **settings}
    rows: list[dict[str, Any]] = []
    for arm in arms:
        if "H" not in arm.spec.precision.triple:
            continue
        seed = min(arm.runs, default=0)
        asked = before_training(arm.spec.model_copy(update={"seed": seed}), arm.data, samples=wanted["samples"])
        for weights, model in _models(arm, arms, asked, seed):
            found = advise(
                model,
                asked.batch,
                formats=[arm.spec.precision.format],
                setting=arm.spec.precision,
                fraction=wanted["fraction"],
                tolerance=wanted["tolerance"],
                finer=asked.finer,
            )
            about = {"part": arm.part, "arm": arm.name, "seed": seed, "weights": weights}
            rows += [about | row for row in _rows(found)]
    return rows


def _models(arm: Arm, arms: Sequence[Arm], asked: Asked, seed: int) -> Iterator[tuple[str, nn.Module]]:
    yield "untrained", asked.model
    stabiliser = arm.spec.precision.stabiliser
    same = [other for other in arms if other.part == arm.part and other.spec.precision.setting == "full"]
    same.sort(key=lambda other: other.spec.precision.stabiliser != stabiliser)
    for other in same:
        if seed in other.runs and other.spec.precision.stabiliser in (stabiliser, "none"):
            yield "trained", load_run(other.runs[seed], device="cpu").model
            return


def _rows(found: Advice) -> Iterator[dict[str, Any]]:
    for row in found.records():
        share = found.fraction * row["discretization"]
        alone = not row["overflows"] and max(row["precision"], row["block"]) <= share
        more = {"fraction": found.fraction, "tolerance": found.tolerance, "output": found.outputs[row["setting"]]}
        yield row | more | {"safe_alone": alone and not math.isnan(share)}
