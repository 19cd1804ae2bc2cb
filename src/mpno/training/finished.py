"""A finished run, ready to be used: its model with what maps the data's units to the model's and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.datasets import Normaliser
from mpno.models import load
from mpno.models.saving import Header, read_header
from mpno.numerics import evidence_of
from mpno.specs import MpnoError, PrecisionSetting, RunSpec, build_spec
from mpno.specs.names import Evidence, SphericalTransform, Transform
from mpno.training.divergence import first_not_finite
from mpno.training.headroom import way_out
from mpno.training.scaling import BodyScaling


@dataclass(frozen=True)
class FinishedRun:
    """What a run's folder holds, in the setting it is used in.

    Attributes:
        run: the spec it was trained by.
        spec: the same with the precision and transform it is used in.
        model: in evaluation mode.
        input, output: the normalisers of fields; None of a run on bodies.
        periodic: whether the fields are.
        bodies: what maps bodies to the model's inputs and back; None of a run on fields.
    """

    run: RunSpec
    spec: RunSpec
    model: nn.Module
    input: Normaliser | None
    output: Normaliser | None
    periodic: bool | None
    bodies: BodyScaling | None = None

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def setting(self) -> PrecisionSetting:
        """The precision it is used in: of a run that switches, the one it ended in."""
        return self.spec.precision.at(1.0)

    @property
    def evidence(self) -> Evidence:
        """The evidence class of what it computes here."""
        return evidence_of(self.setting, self.spec.transform, self.device)

    def predict(
        self, values: Float[Tensor, "b i *grid"] | Float[np.ndarray, "b i *grid"]
    ) -> Float[Tensor, "b o *grid"]:
        """Outputs for inputs, both in the data's own units: normalised as in training, decoded, on the CPU in fp32.

        The whole batch is computed at once; :func:`mpno.training.predict_run` takes files of any length.

        Raises:
            MpnoError: the run is one on bodies, or the shape is not what the model takes.
        """
        if self.input is None or self.output is None:
            raise MpnoError(
                f"{self.run.id}: was trained on bodies of {self.run.data.name}; predict takes fields on a grid, so "
                "give predict_run a store of bodies, or call its model on a geometry"
            )
        with torch.no_grad():
            encoded = self.input.encode(torch.as_tensor(values).to(self.device, torch.float32))
            return torch.as_tensor(self.output.decode(self.model(encoded))).cpu()

    def not_finite(self, x: Any, what: str) -> MpnoError:
        """The one line on `what` was predicted from `x`, as the model takes it, and is not finite: where, and what to
        choose."""
        where, operation = first_not_finite(self.model, x)
        choice = way_out(self.model, self.setting, where, operation)
        return MpnoError(
            f"{what} is not finite, first in {where}{', ' + operation if operation else ''}; "
            f"{f'choose {choice}; ' if choice else ''}nothing was written"
        )


def load_run(
    run: Path | str,
    *,
    device: torch.device | str | None = None,
    precision: PrecisionSetting | str | None = None,
    transform: str | None = None,
) -> FinishedRun:
    """A finished run from its folder; no data file is read.

    Args:
        run: the folder.
        device: where the model goes; by default the GPU where there is one.
        precision, transform: other ones than it was trained in.

    Raises:
        MpnoError: as :func:`mpno.models.load`, and where precision or transform are not for the model.
    """
    header = read_header(run)
    if "run" not in header.more:
        raise MpnoError(f"{run}: holds a model without its run; give the folder of a run, or use mpno.load")
    trained = build_spec(header.more["run"], where=str(run))
    transforms = get_args(SphericalTransform if header.model.name == "sfno" else Transform)
    if transform is not None and transform not in transforms:
        raise MpnoError(
            f"{run}: transform is {transform}; model {header.model.name} has {' and '.join(transforms)}; choose one"
        )
    asked: dict[str, Any] = {"precision": precision, "transform": transform}
    changes = {key: value for key, value in asked.items() if value is not None}
    if trained.precision.full_above is not None:  # its weights alone know how it ended
        changes = {"precision": header.precision, **changes}
    spec = build_spec({**trained.model_dump(), **changes}, where=f"{run}, in another setting") if changes else trained
    model = load(
        run,
        device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
        precision=spec.precision.at(1.0),
        transform=spec.transform if header.model.name != "unet" else None,
    )
    normalisers, periodic, bodies = _scaling(header, str(run))
    return FinishedRun(trained, spec, model, *normalisers, periodic, bodies)


def _scaling(
    header: Header, where: str
) -> tuple[tuple[Normaliser | None, Normaliser | None], bool | None, BodyScaling | None]:
    """What maps the data's units to the model's and back: of fields the normalisers and whether they are periodic."""
    try:
        if "bodies" in header.more:
            bodies = BodyScaling.from_json(header.more["bodies"])
            known = [bodies.sdf, bodies.pressure, *([bodies.inlet_speed] if bodies.inlet_speed else [])]
            if np.asarray(bodies.box, np.float64).shape != (2, 3) or not all(_fits(one, 1) for one in known):
                raise ValueError("box or statistics do not fit")
            return (None, None), None, bodies
        kept = header.more.get("scaling")
        if kept is None:
            return (None, None), None, None
        one, two = (Normaliser(**_tuples(kept[key])) for key in ("input", "output"))
        if not (_fits(one, header.in_channels) and _fits(two, header.out_channels)):
            raise ValueError("statistics are not one finite number per channel")
        return (one, two), bool(kept["periodic"]), None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise MpnoError(
            f"{where}: its scaling of inputs and outputs cannot be read ({error}); train it again"
        ) from None


def _fits(scaling: Normaliser, channels: int) -> bool:
    mean, std = np.asarray(scaling.mean, np.float64), np.asarray(scaling.std, np.float64)
    finite = bool(np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all())
    return mean.shape == std.shape == (channels,) and finite


def _tuples(values: dict[str, list[float]]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(numbers) for name, numbers in values.items()}
