"""What is asked of finished runs, of shapes, or of nothing: each kind a module of its own."""

KINDS = {
    "activations": "mpno.measurement.probes.activations:activations",
    "headroom": "mpno.measurement.probes.headroom:headroom",
    "overflow": "mpno.measurement.probes.overflow:overflow",
}
"""By kind, the function that answers, loaded when it is asked."""
