"""The models of the paper."""

from mpno.models.fno import FNO

__all__ = ["FNO"]
