"""The models of the paper, and mixed precision for other people's."""

from mpno.models.adapters import register_adapter
from mpno.models.audit import audit
from mpno.models.audit_report import Audit
from mpno.models.build import make_model
from mpno.models.convert import ConversionReport, convert, revert
from mpno.models.fno import FNO
from mpno.models.kernels import CornerKernel, JointKernel, SphericalKernel

__all__ = [
    "FNO",
    "Audit",
    "ConversionReport",
    "CornerKernel",
    "JointKernel",
    "SphericalKernel",
    "audit",
    "convert",
    "make_model",
    "register_adapter",
    "revert",
]
