"""Fit op throughput per backbone; loading and using a fit needs no heavy package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.fit.artefact import load_fit, save_fit
from harness.fit.model import (
    Fingerprint,
    Fit,
    LayerModel,
    LinearModel,
    Metrics,
    Prediction,
    Predictor,
)
from harness.fit.select import group_rows

if TYPE_CHECKING:
    from harness.fit.regress import FitFailure, fit_all, fit_rows

__all__ = [
    "Fingerprint",
    "Fit",
    "FitFailure",
    "LayerModel",
    "LinearModel",
    "Metrics",
    "Prediction",
    "Predictor",
    "fit_all",
    "fit_rows",
    "group_rows",
    "load_fit",
    "save_fit",
]


def __getattr__(name: str) -> Any:
    # scikit-learn takes a second to import, and only fitting needs it.
    if name in ("FitFailure", "fit_all", "fit_rows"):
        from harness.fit import regress

        return getattr(regress, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
