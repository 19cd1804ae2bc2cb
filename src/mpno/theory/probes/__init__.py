"""What is asked of the theory, of data, and of finished runs with the theory's words. As :mod:`mpno.measurement.probes`:
a kind is a module here with a function of its name, which takes the arms asked and the settings and answers with rows.
"""
