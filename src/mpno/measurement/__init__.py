"""Times that were measured, memory that is predicted."""

from mpno.measurement.describe import Description, describe
from mpno.measurement.memory import predict_arms, predict_bytes
from mpno.measurement.timing import measure_arms

__all__ = ["Description", "describe", "measure_arms", "predict_arms", "predict_bytes"]
