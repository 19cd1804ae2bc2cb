"""Names of formats, settings, models and data sets; the frozen spec of a run. Standard library and pydantic only."""

from mpno.specs.contraction import ContractionSpec
from mpno.specs.errors import MpnoError, allowed, one_line
from mpno.specs.formats import FORMATS, Format, get_format, gradient_format
from mpno.specs.models import FNOSpec, GINOSpec, ModelSpec, SFNOSpec, UNetSpec
from mpno.specs.names import EVIDENCE, SCALES, SETTINGS
from mpno.specs.precision import PrecisionSetting
from mpno.specs.run import (
    DataSpec,
    OptimizerSpec,
    RunSpec,
    SchedulerSpec,
    TrainingSpec,
    build_spec,
    set_dotted,
    spec_fields,
)

__all__ = [
    "EVIDENCE",
    "FORMATS",
    "SCALES",
    "SETTINGS",
    "ContractionSpec",
    "DataSpec",
    "FNOSpec",
    "Format",
    "GINOSpec",
    "ModelSpec",
    "MpnoError",
    "OptimizerSpec",
    "PrecisionSetting",
    "RunSpec",
    "SFNOSpec",
    "SchedulerSpec",
    "TrainingSpec",
    "UNetSpec",
    "allowed",
    "build_spec",
    "get_format",
    "gradient_format",
    "one_line",
    "set_dotted",
    "spec_fields",
]
