"""Models: int8 .tflite files, what is in them and what they cost."""

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
