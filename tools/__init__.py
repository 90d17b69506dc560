"""Programs for developers of the harness, run from a checkout: ``python -m tools.NAME``."""
