"""Models: int8 .tflite files, their contents and their cost."""

from harness.models.graph import (
    Graph,
    Layer,
    Operator,
    Tensor,
    TFLiteModel,
    read_model,
    require_int8,
)

__all__ = ["Graph", "Layer", "Operator", "TFLiteModel", "Tensor", "read_model", "require_int8"]
