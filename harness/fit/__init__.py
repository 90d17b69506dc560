"""Fit op throughput per backbone; loading and using a fit needs no heavy package."""

from __future__ import annotations

from harness.fit.artefact import load_fit, save_fit
from harness.fit.model import (
    Fingerprint,
    Fit,
    LayerModel,
    LinearModel,
    Margin,
    Metrics,
    Prediction,
)

__all__ = [
    "Fingerprint",
    "Fit",
    "LayerModel",
    "LinearModel",
    "Margin",
    "Metrics",
    "Prediction",
    "load_fit",
    "save_fit",
]
