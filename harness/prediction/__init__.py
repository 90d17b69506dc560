"""Predict what a model takes on a board that it was never measured on.

Arena and flash come from the `aot` runtime's own planner and writer. Latency is a sum over layers,
with coefficients that were fitted to the corpus in results/reference (`tools/reference.py`).
"""

from harness.prediction.predict import (
    BoardPrediction,
    LayerPrediction,
    predict_boards,
    predict_model,
    sampled_model,
)
from harness.prediction.reference import Code, PathFit, Reference, load_reference, references

__all__ = [
    "BoardPrediction",
    "Code",
    "LayerPrediction",
    "PathFit",
    "Reference",
    "load_reference",
    "predict_boards",
    "predict_model",
    "references",
    "sampled_model",
]
