"""What is asked of finished runs, of shapes, or of nothing: each kind a module of its own."""

KINDS = {
    "first_step": "mpno.measurement.probes.first_step:first_step",
    "ranges": "mpno.measurement.probes.ranges:ranges",
}
"""By kind, the function that answers, loaded when it is asked."""
