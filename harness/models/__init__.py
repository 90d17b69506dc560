"""Models: int8 .tflite files, their contents and their cost."""

from harness.models.graph import TFLiteModel, read_model, require_int8

__all__ = ["TFLiteModel", "read_model", "require_int8"]
