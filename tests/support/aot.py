"""Generated sources of models, and inputs for them."""

from __future__ import annotations

import numpy as np

from harness.boards import load_board
from harness.models.graph import TFLiteModel
from harness.runtimes import GeneratedSources, RuntimeOptions, get_runtime


def generate(model: TFLiteModel, kernels: str = "cmsis_nn") -> GeneratedSources:
    """Generate the aot sources of a model for the NUCLEO-F746ZG."""
    options = RuntimeOptions(kernels=kernels)
    return get_runtime("aot").generate(model, options, load_board("nucleo_f746zg"))


def random_inputs(model: TFLiteModel, seed: int = 0) -> list[np.ndarray]:
    """Return random inputs of a model, one array for each input tensor."""
    rng = np.random.default_rng(seed)
    return [
        rng.integers(-128, 128, tensor.shape, dtype=np.int8)
        if tensor.dtype == "int8"
        else (1.5 * rng.standard_normal(tensor.shape)).astype(tensor.dtype)
        for tensor in model.graph.input_tensors()
    ]
