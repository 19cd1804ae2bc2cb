"""The models of the paper."""

from mpno.models.build import make_model
from mpno.models.fno import FNO
from mpno.models.saving import load, save

__all__ = ["FNO", "load", "make_model", "save"]
