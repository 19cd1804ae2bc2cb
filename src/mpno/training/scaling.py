"""What maps bodies to a model's inputs and its outputs back to pascal, kept with the weights of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpno.datasets.meshes import open_bodies, statistics
from mpno.datasets.normalise import EPS, Normaliser


@dataclass(frozen=True)
class BodyScaling:
    """The frame and the statistics of the bodies that a run was trained on.

    Attributes:
        box: low and high corner of the latent grid, metres; it becomes the unit cube.
        sdf, pressure: normalisers of the signed distance and of the model's output.
        inlet_speed: that of the inlet speed; None where the training bodies have none.
    """

    box: tuple[tuple[float, ...], ...]
    sdf: Normaliser
    pressure: Normaliser
    inlet_speed: Normaliser | None = None

    @classmethod
    def fitted(cls, path: Path, *, normalise_output: bool) -> BodyScaling:
        """That of the training bodies of a store.

        Raises:
            MpnoError: no such file, or not a store of bodies.
        """
        kept = statistics(path)
        pressure = kept["pressure"] if normalise_output else Normaliser.identity(1)
        box = tuple(map(tuple, open_bodies(path, "train")[0].box.tolist()))
        return cls(box, kept["sdf"], pressure, kept.get("inlet_speed"))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BodyScaling:
        """What :meth:`to_json` gave."""
        parts = {key: Normaliser(tuple(one["mean"]), tuple(one["std"])) for key, one in values.items() if key != "box"}
        return cls(tuple(map(tuple, values["box"])), **parts)

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}

    @property
    def takes_speed(self) -> bool:
        """Whether the inlet speed is an input: only where training bodies differ in it."""
        return self.inlet_speed is not None and self.inlet_speed.std[0] > EPS

    @property
    def only_speed(self) -> float | None:
        """The inlet speed of all training bodies, where they have one and the same."""
        return None if self.inlet_speed is None or self.takes_speed else self.inlet_speed.mean[0]

    def same_box(self, box: np.ndarray) -> bool:
        """Whether `box`, (2, 3) in metres, is the run's to the rounding of what is stored."""
        low, high = np.array(self.box)
        return bool(np.abs(box - self.box).max() <= np.finfo(np.float32).eps * (high - low).max())
