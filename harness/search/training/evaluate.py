"""Accuracy of a network: of the Keras model, and of the int8 one by TensorFlow Lite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.data.metrics import Anomalies, find_anomalies
from harness.errors import ModelError
from harness.models.graph import read_model, require_int8
from harness.models.reference import tflite_outputs

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from harness.data import Split

_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Accuracy of a network on one split."""

    samples: int  # inputs of the split
    accuracy: float  # of the int8 network, from 0 to 1
    float_accuracy: float  # of the Keras model; after quantisation-aware training it rounds, too
    agreement: float  # share of inputs that both put into the same class
    anomalies: Anomalies | None = None  # of the int8 network; None where the data has no anomalies
    float_anomalies: Anomalies | None = None  # of the Keras model


def evaluate(
    content: bytes, split: Split, classes: tuple[str, ...], model: keras.Model
) -> Evaluation:
    """Evaluate an int8 network and the Keras model that it was made from on a split.

    Anomalies are detected by machine-id classification, as in MicroNets (Banbury et al. 2021): the
    score of a recording is the negative logarithm of the softmax of the right machine, averaged
    over the inputs cut from it. Accuracy is then of the normal recordings.

    Raises:
        ModelError: The model is not full int8, its input does not fit, or it does not run.
        DataError: No machine has both normal and anomalous recordings.
    """
    import numpy as np

    logits, floats = int8_logits(content, split.x), float_logits(model, split.x)
    normal = np.ones(len(split), np.bool_) if split.anomalous is None else ~split.anomalous
    chosen, wanted = logits.argmax(axis=1), floats.argmax(axis=1)
    return Evaluation(
        samples=len(split),
        accuracy=float((chosen == split.y)[normal].mean()),
        float_accuracy=float((wanted == split.y)[normal].mean()),
        agreement=float(np.mean(chosen == wanted)),
        anomalies=find_anomalies(logits, split, classes),
        float_anomalies=find_anomalies(floats, split, classes),
    )


def int8_logits(content: bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the dequantised outputs of a full-int8 .tflite, float32 of shape (n, classes).

    The inputs, as in training, are quantised by the model's own scale, and resized if need be.
    """
    import numpy as np

    from harness.data.dataset import resize

    model = read_model(content)
    require_int8(model)
    source, target = model.graph.input_tensors()[0], model.graph.output_tensors()[0]
    height, width, channels = source.shape[1:]
    if x.shape[3] != channels:
        raise ModelError(
            f"inputs have {x.shape[3]} channels", expected=f"{channels}, as the model's input"
        )
    scaled = resize(x, height, width) / np.float32(source.scales[0])
    quantised = np.clip(np.round(scaled) + source.zero_points[0], -128, 127).astype(np.int8)
    outputs = tflite_outputs(model, quantised)
    centred = outputs.astype(np.float32) - target.zero_points[0]
    logits: NDArray[np.float32] = centred * np.float32(target.scales[0])
    return logits.reshape(len(x), -1)


def float_logits(model: keras.Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the outputs of a Keras model, float32 of shape (n, classes)."""
    import numpy as np

    from harness.data.dataset import resize
    from harness.models.convert import load_tensorflow

    tensorflow = load_tensorflow()
    shape = model.inputs[0].shape
    fitting = resize(x, int(shape[1]), int(shape[2]))
    signature = (tensorflow.TensorSpec((None, *fitting.shape[1:]), tensorflow.float32),)
    forward = tensorflow.function(
        lambda part: model(part, training=False), input_signature=signature, autograph=False
    ).get_concrete_function()
    parts = [
        forward(tensorflow.constant(fitting[start : start + _BATCH])).numpy()
        for start in range(0, len(fitting), _BATCH)
    ]
    found: NDArray[np.float32] = np.concatenate(parts)
    return found
