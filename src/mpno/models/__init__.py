"""The models of the paper."""

from mpno.models.audit import audit
from mpno.models.audit_report import Audit
from mpno.models.build import make_model
from mpno.models.fno import FNO

__all__ = ["FNO", "Audit", "audit", "make_model"]
