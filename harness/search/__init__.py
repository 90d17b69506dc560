"""The bundled DNAS: search an architecture that meets its budgets, by measured fits.

Source: Banbury et al., "MicroNets", MLSys 2021, section 5. Light to import: what needs TensorFlow
loads when it is used.
"""
