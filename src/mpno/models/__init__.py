"""The models of the paper, and mixed precision for other people's."""

from mpno.models.adapters import register_adapter
from mpno.models.audit import audit
from mpno.models.audit_report import Audit
from mpno.models.build import make_model
from mpno.models.convert import ConversionReport, convert, revert
from mpno.models.fno import FNO
from mpno.models.gino import GINO
from mpno.models.graph import Geometry
from mpno.models.kernels import CornerKernel, JointKernel, SphericalKernel
from mpno.models.peers import from_neuralop
from mpno.models.saving import load, save
from mpno.models.sfno import SFNO
from mpno.models.unet import UNet

__all__ = [
    "FNO",
    "GINO",
    "SFNO",
    "Audit",
    "ConversionReport",
    "CornerKernel",
    "Geometry",
    "JointKernel",
    "SphericalKernel",
    "UNet",
    "audit",
    "convert",
    "from_neuralop",
    "load",
    "make_model",
    "register_adapter",
    "revert",
    "save",
]
