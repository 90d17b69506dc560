"""Make a trained network full int8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.backbones.draw import Draw, key_of
from harness.models.convert import to_int8_tflite

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from harness.data import Dataset

CALIBRATION_SAMPLES = 200
"""Training samples that activation ranges are taken from."""


def quantise(model: keras.Model, dataset: Dataset, *, seed: int = 0) -> bytes:
    """Convert a trained model to a .tflite with int8 weights, activations, inputs and outputs.

    Activation ranges are those of quantisation-aware training. Without it they come from the
    training split, the same number of each class as far as there are enough. The file depends on
    model, data and `seed` alone.

    Raises:
        ModelError: The converter refuses the model.
    """
    from harness.search.training.qat import is_fake_quantised

    if is_fake_quantised(model):
        return to_int8_tflite(model, None)
    shape: tuple[Any, ...] = tuple(model.inputs[0].shape)
    fitting = dataset.resized(int(shape[1]), int(shape[2]))
    chosen = representative(fitting.train.y, CALIBRATION_SAMPLES, seed)
    return to_int8_tflite(model, fitting.train.x[chosen])


def representative(y: NDArray[np.int64], samples: int, seed: int) -> NDArray[np.int64]:
    """Return indices of a sample that takes the classes in turn."""
    import numpy as np

    order = np.argsort(Draw(seed, key_of("calibration")).uniform(len(y)), kind="stable")
    rank = np.zeros(len(y), np.int64)
    for label in np.unique(y):
        of_class = order[y[order] == label]
        rank[of_class] = np.arange(len(of_class))
    turns = order[np.argsort(rank[order], kind="stable")]
    return turns[:samples].astype(np.int64)
