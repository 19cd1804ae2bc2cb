"""What is asked of finished runs, of shapes, or of nothing: each kind a module of its own."""

KINDS = {
    "inference": "mpno.measurement.probes.inference:inference",
    "superresolution": "mpno.measurement.probes.superresolution:superresolution",
}
"""By kind, the function that answers, loaded when it is asked."""
