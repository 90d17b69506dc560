"""Models: int8 .tflite files, what is in them and what they cost.

The names below load on first use, as reading a graph needs numpy and the TFLite schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.models.graph import (
        Graph,
        Layer,
        Operator,
        Tensor,
        TFLiteModel,
        read_model,
        require_int8,
    )

__all__ = [
    "Graph",
    "Layer",
    "Operator",
    "TFLiteModel",
    "Tensor",
    "read_model",
    "require_int8",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from harness.models import graph

        return getattr(graph, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
