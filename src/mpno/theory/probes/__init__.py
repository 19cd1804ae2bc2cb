"""What is asked of the theory, of data, and of finished runs in its words. As in :mod:`mpno.measurement.probes`
a kind is a module here with a function of its name, which takes the arms asked and the settings and answers with rows.
"""
