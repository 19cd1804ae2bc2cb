"""The frozen spec of one training, and its readable id."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from mpno.specs.errors import MpnoError, one_line
from mpno.specs.grid import Resolution, by_size, grid_of, resolved_degrees
from mpno.specs.models import ARCHITECTURES, FNOSpec, ModelSpec, SFNOSpec, UNetSpec
from mpno.specs.names import DATASETS, Loss, Medium, Optimizer, RunTransform, Scale, Scheduler, Source
from mpno.specs.numbers import Count, Seed, Threads
from mpno.specs.precision import PrecisionSetting
from mpno.specs.public import lacking, ships
from mpno.specs.sets import BODIES, imported_folder


class Frozen(BaseModel):
    """A value object: unknown keys are refused, fields cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


IMPORT_NAME = r"[a-z0-9][a-z0-9-]{0,39}"
"""What an imported set may be called: it becomes part of file names and run ids."""


class DataSpec(Frozen):
    """Which samples. `medium` (Darcy), `viscosity` (Navier-Stokes) and `seed` count where the data are generated."""

    source: Source = "fetch"
    name: str = Field(
        default="darcy",
        validate_default=True,
        json_schema_extra={"anyOf": [{"enum": list(DATASETS)}, {"pattern": f"^{IMPORT_NAME}$"}]},
    )
    medium: Medium = "public"
    viscosity: PositiveFloat | None = Field(default=None, description="null: what the generator states")
    resolution: Resolution = 16
    test_resolutions: tuple[Resolution, ...] = Field(default=(16, 32), min_length=1)
    n_train: Count = 1000
    n_test: Count = 50
    n_test_finer: Count | None = Field(
        default=None, description="test samples on grids finer than the training one; null: n_test"
    )
    seed: Seed = 0
    points: Count | None = Field(
        default=None, description="surface points taken of each body, in training and tests; null: all"
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        if info.data.get("source") != "import":
            if name not in DATASETS:
                listed = ", ".join(f"'{known}'" for known in DATASETS)
                raise PydanticCustomError(
                    "literal_error",
                    "is no data set of the paper",
                    {"expected": f"{listed}, or, with source import, yours"},
                )
        elif name in DATASETS or not re.fullmatch(IMPORT_NAME, name):
            raise ValueError(
                "must, with source import, be lower-case letters, digits and hyphens, and no set of the paper"
            )
        return name

    @field_validator("test_resolutions")
    @classmethod
    def _sorted(cls, values: tuple[int | str, ...]) -> tuple[int | str, ...]:
        return by_size(values)

    @model_validator(mode="after")
    def _there(self) -> DataSpec:
        if len({len(grid_of(r)) for r in (self.resolution, *self.test_resolutions) if isinstance(r, str)}) > 1:
            raise ValueError("resolution and test_resolutions differ in their number of axes; give all the same")
        if self.source != "import" and any(isinstance(r, str) for r in self.resolutions):
            raise ValueError(f"the grids of {self.name} have one number; give it, as in resolution 64")
        if self.source == "fetch" and (missing := lacking(self.name, self.wanted)):
            raise ValueError(missing)
        return self

    @property
    def wanted(self) -> list[tuple[str, int | str, int]]:
        """(split, resolution, count) of everything asked for."""
        tests = [("test", resolution, self.n_tests(resolution)) for resolution in self.test_resolutions]
        return [("train", self.resolution, self.n_train), *tests]

    def n_tests(self, resolution: int | str) -> int:
        """How many test samples there are at a resolution."""
        finer = math.prod(grid_of(resolution)) > math.prod(grid_of(self.resolution))
        return self.n_test if self.n_test_finer is None or not finer else self.n_test_finer

    @property
    def resolutions(self) -> tuple[int | str, ...]:
        """Every resolution of the spec once, coarse before fine."""
        return by_size([self.resolution, *self.test_resolutions])

    @property
    def square(self) -> tuple[int, list[int]]:
        """The resolution and the test resolutions of a set of the paper, whose grids have one number each."""
        numbers = [grid_of(r, 1)[0] for r in (self.resolution, *self.test_resolutions)]
        return numbers[0], numbers[1:]

    @property
    def shipped(self) -> bool:
        """Whether these are public files that ship in a small package, whole whatever share of them is asked for."""
        return self.source == "fetch" and ships(self.name, self.wanted)

    @property
    def slug(self) -> str:
        """Names the data file: equal slugs share one file."""
        if self.source == "import":
            return self.name
        if self.shipped:
            return f"{self.name}-fetch"
        grids = "-".join(map(str, self.resolutions))
        finer = "" if self.n_test_finer is None else f"-{self.n_test_finer}"
        count = f"{grids}-n{self.n_train}-{self.n_test}{finer}"
        if self.source == "fetch":
            return f"{self.name}-fetch-{count}"
        law = f"-{self.medium}" if self.name == "darcy" else ""
        law += "" if self.viscosity is None else f"-nu{self.viscosity:g}"
        return f"{self.name}-generate{law}-{count}-s{self.seed}"

    def file(self, root: Path) -> Path:
        """The data file: below `root` for what can be made, in the folder of imports for what was imported."""
        folder = imported_folder() if self.source == "import" else root / "data"
        return folder / f"{self.slug}.h5"


class OptimizerSpec(Frozen):
    name: Optimizer = "adamw"
    lr: PositiveFloat = 5e-3
    weight_decay: float = Field(default=1e-4, ge=0)


class SchedulerSpec(Frozen):
    """one-cycle peaks at the optimiser's lr; step multiplies lr by gamma every step_epochs epochs."""

    name: Scheduler = "one-cycle"
    step_epochs: Count | None = None
    gamma: PositiveFloat | None = None

    @model_validator(mode="after")
    def _complete(self) -> SchedulerSpec:
        given = (self.step_epochs is not None, self.gamma is not None)
        if self.name == "step" and not all(given):
            raise ValueError("scheduler step needs both step_epochs and gamma")
        if self.name != "step" and any(given):
            raise ValueError(f"scheduler {self.name} takes no step_epochs or gamma; remove them or choose step")
        return self


class TrainingSpec(Frozen):
    """The loop, and the standard techniques against overflow that the paper tries (its Appendix B.5), off unless given.

    loss_scaling: ``dynamic`` (as torch's GradScaler) or a constant factor on the loss; a step whose gradient
    overflows is skipped. grad_clip: largest norm of the whole gradient (the paper tries 5). delayed_updates:
    gradients of this many batches are summed before the weights are updated (the paper tries 3).
    """

    epochs: Count = 60
    batch_size: Count = 32
    loss: Loss = "l2"
    normalise_output: bool = False
    loss_scaling: Literal["dynamic"] | PositiveFloat | None = None
    grad_clip: PositiveFloat | None = None
    delayed_updates: int | None = Field(default=None, ge=2, le=10**9)

    @field_validator("loss_scaling", mode="before")
    @classmethod
    def _factor(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value in (None, "dynamic") or (number and 0 < value < float("inf")):
            return value
        raise ValueError("should be dynamic or a number above 0")

    @property
    def techniques(self) -> str:
        """The techniques in use in a few words, empty for none."""
        parts = []
        if self.loss_scaling is not None:
            scale = self.loss_scaling if self.loss_scaling == "dynamic" else f"by {self.loss_scaling:g}"
            parts.append(f"loss scaling {scale}")
        if self.grad_clip is not None:
            parts.append(f"gradients clipped at {self.grad_clip:g}")
        if self.delayed_updates is not None:
            parts.append(f"an update every {self.delayed_updates} batches")
        return ", ".join(parts)


class RunSpec(Frozen):
    """One training. Equal specs are one run, whatever number of tables use it."""

    data: DataSpec = DataSpec()
    model: ModelSpec = FNOSpec()
    precision: PrecisionSetting = PrecisionSetting()
    transform: RunTransform = "fft"
    optimizer: OptimizerSpec = OptimizerSpec()
    scheduler: SchedulerSpec = SchedulerSpec()
    training: TrainingSpec = TrainingSpec()
    seed: Seed = 0
    threads: Threads = 1
    scale: Scale = "desk"

    @model_validator(mode="before")
    @classmethod
    def _transform_of_sphere(cls, data: Any) -> Any:
        """Spherical models have a transform of their own where none is named."""
        if not isinstance(data, dict) or "transform" in data:
            return data
        model = data.get("model")
        name = model.get("name") if isinstance(model, dict) else getattr(model, "name", None)
        return {**data, "transform": "sht"} if name == "sfno" else data

    @model_validator(mode="after")
    def _fits(self) -> RunSpec:
        self._check_set()
        self._check_grids()
        model, precision = self.model, self.precision
        if model.name == "unet" and self.transform != "fft":
            raise ValueError(f"transform is {self.transform}; model unet has no transform to choose; leave it out")
        transforms = ("sht", "matmul") if model.name == "sfno" else ("fft", "matmul")
        if self.transform not in transforms:
            raise ValueError(
                f"transform is {self.transform}; model {model.name} has {' and '.join(transforms)}; choose one"
            )
        if model.name == "unet" and any(
            p.setting not in ("full", "amp") or p.stabiliser != "none" for p in precision.variants
        ):
            raise ValueError(
                f"model unet has no spectral block, so precision {precision.label} is not for it; choose full or amp"
            )
        layers = getattr(model, "layers", 0)
        if beyond := [index for index, _ in precision.layers if index >= layers]:
            there = f"layers 0 to {layers - 1}" if layers else "no spectral layers"
            raise ValueError(f"precision gives layer {beyond[0]} a setting; the model has {there}; remove it")
        epochs = self.training.epochs
        if precision.full_above is None and {precision.phase(epoch + 1, epochs) for epoch in range(epochs)} < {
            p for _, p in precision.phases
        }:
            raise ValueError(f"{epochs} training.epochs leave a phase of the precision schedule without any; give more")
        return self

    def _check_set(self) -> None:
        """Bodies need the model for bodies, and it needs them, one at a time; a sphere's latitudes are of one kind."""
        name, model = self.data.name, self.model.name
        if name == "shallow-water" and isinstance(self.model, SFNOSpec) and self.model.grid != "equiangular":
            raise ValueError(f"model.grid is {self.model.grid}, latitudes of {name} are equiangular; leave it out")
        if isinstance(self.model, SFNOSpec) and name in ("darcy", "navier-stokes"):
            raise ValueError(f"model sfno takes fields on a sphere, {name} has a plane's; choose shallow-water")
        bodies = name in BODIES
        if bodies and model != "gino":
            raise ValueError(f"data set {name} holds bodies, which model {model} does not take; choose model gino")
        if model == "gino" and not bodies:
            raise ValueError(f"model gino takes bodies, data set {name} holds fields; choose {' or '.join(BODIES)}")
        if bodies and self.training.batch_size != 1:
            raise ValueError(
                f"training.batch_size is {self.training.batch_size}; bodies differ in their points, so give 1"
            )
        if not bodies and self.data.points is not None:
            raise ValueError(f"data.points are of bodies, data set {name} holds fields; leave it out")
        if bodies and self.training.loss != "l2":
            raise ValueError("training.loss is h1, whose differences need a grid; give l2 for bodies")

    def _check_grids(self) -> None:
        modes = getattr(self.model, "modes", None)
        if self.data.name in DATASETS and self.data.name not in BODIES and modes and len(modes) != 2:
            raise ValueError(
                f"model.modes {modes} are {len(modes)}, fields of {self.data.name} have 2 axes; give 2 modes"
            )
        for resolution in self.data.resolutions:
            grid = grid_of(resolution, self.axes, name=self.data.name)
            if len(grid) != self.axes:
                wanted = f"model.modes {modes} are {len(modes)}" if modes else f"model {self.model.name} has two axes"
                raise ValueError(
                    f"{wanted}, resolution {resolution} has {len(grid)} axes; give one number of modes per axis"
                )
            if isinstance(self.model, UNetSpec) and min(grid) < 2**self.model.depth:
                raise ValueError(
                    f"model.depth {self.model.depth} halves a grid of at least {2**self.model.depth} points per axis, "
                    f"the smallest has {min(grid)}; lower depth"
                )
            if not modes:
                continue
            if isinstance(self.model, SFNOSpec):
                # Weights of degrees that training does not reach would act untrained on a finer grid.
                most = resolved_degrees(grid[0], self.model.grid), grid[1] // 2
                what = f"the {most[0]} degrees and {most[1]} orders of the smallest grid"
            else:
                most, what = grid, "the smallest grid"
            if any(kept > points for kept, points in zip(modes, most, strict=True)):
                raise ValueError(f"model.modes {modes} exceed {what}, {resolution}; lower modes")

    @property
    def axes(self) -> int:
        """How many axes the model's grids have."""
        modes = getattr(self.model, "modes", None)
        return len(modes) if modes else 2

    def canonical(self) -> str:
        """The spec as JSON with sorted keys: what the id hashes and what spec.json holds."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def id(self) -> str:
        """Readable, and unique by a short hash of the whole spec."""
        digest = hashlib.sha256(self.canonical().encode()).hexdigest()[:8]
        parts = [f"{self.data.name}{self.data.resolution}", self.model.name, self.precision.slug]
        return "_".join([*parts, *self.transforms, f"s{self.seed}", digest])

    @property
    def transforms(self) -> tuple[str, ...]:
        """The transform, or none for a model without a spectral block."""
        return () if self.model.name == "unet" else (self.transform,)

    @property
    def arm(self) -> RunSpec:
        """The same run with seed 0: what seeds are repetitions of."""
        return self.model_copy(update={"seed": 0})


def spec_fields(model: type[BaseModel] = RunSpec, prefix: str = "") -> dict[str, list[str]]:
    """Map each dotted prefix of a spec to the keys allowed below it; of a model, by its name, as in ``model.sfno``."""
    fields = {prefix: sorted(model.model_fields)}
    for name, field in model.model_fields.items():
        kind = field.annotation
        below = f"{prefix}.{name}".strip(".")
        if kind == RunSpec.model_fields["model"].annotation:
            for architecture, spec in ARCHITECTURES.items():
                fields |= spec_fields(spec, f"{below}.{architecture}")
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            fields |= spec_fields(kind, below)
    return fields


def build_spec(values: dict[str, Any], *, where: str = "the spec") -> RunSpec:
    """Validate nested `values` into a :class:`RunSpec`.

    Raises:
        MpnoError: one line that names `where`, the key, the value and what is allowed.
    """
    try:
        return RunSpec.model_validate(values)
    except ValidationError as error:
        raise one_line(error, where=where, fields=spec_fields()) from None


def set_dotted(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy of nested `values` with ``a.b.c`` set. `value` replaces what stood there."""
    head, _, rest = key.partition(".")
    out = dict(values)
    if not rest:
        out[head] = value
        return out
    inner = out.get(head, {})
    if not isinstance(inner, dict):
        raise MpnoError(f"--set {key}: {head} is {inner!r}, which has no parts; set {head} itself")
    out[head] = set_dotted(inner, rest, value)
    return out
