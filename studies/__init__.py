"""Studies of the harness, run from a checkout: ``python -m studies.NAME``."""
