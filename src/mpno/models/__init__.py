"""The models of the paper."""

from mpno.models.build import make_model
from mpno.models.fno import FNO

__all__ = ["FNO", "make_model"]
