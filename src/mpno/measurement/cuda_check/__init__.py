"""What no CPU can verify, verified on a GPU in under eight minutes, with one JSON file as the result."""

from mpno.measurement.cuda_check.record import Record
from mpno.measurement.cuda_check.run import cuda_check

__all__ = ["Record", "cuda_check"]
