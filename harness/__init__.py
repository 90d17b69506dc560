"""Measure and search neural networks where they will run: on Cortex-M microcontrollers."""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["__version__"]
