"""Measure and search neural networks where they will run: on Cortex-M microcontrollers.

The public API is described in docs/api.md. It is loaded on first use, so that importing the
package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import (
        Board,
        BoardPrediction,
        CampaignResult,
        Fit,
        HarnessError,
        Listener,
        Measurement,
        Prediction,
        Station,
        list_boards,
        list_stations,
        load_fit,
        measure,
        predict,
        rows,
        run_campaign,
    )

__version__ = "0.1.0"
__all__ = [
    "Board",
    "BoardPrediction",
    "CampaignResult",
    "Fit",
    "HarnessError",
    "Listener",
    "Measurement",
    "Prediction",
    "Station",
    "__version__",
    "list_boards",
    "list_stations",
    "load_fit",
    "measure",
    "predict",
    "rows",
    "run_campaign",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("harness.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
