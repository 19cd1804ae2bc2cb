"""Times that were measured, memory that is predicted."""

from mpno.measurement.memory import predict_bytes
from mpno.measurement.timing import measure_arms

__all__ = ["measure_arms", "predict_bytes"]
