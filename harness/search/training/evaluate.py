"""Accuracy of a network: of the Keras model, and of the int8 one by TensorFlow Lite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import ModelError
from harness.models.graph import read_model, require_int8
from harness.models.reference import tflite_outputs

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from harness.data import Split

_BATCH = 256
PARTIAL_AUC_RATE = 0.1
"""Largest false positive rate of the partial AUC: DCASE 2020 task 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomalies:
    """How well anomalies are separated from normal sounds, by class (machine) and in the mean."""

    auc: float  # area under the ROC curve, mean over the classes
    partial_auc: float  # the same up to a false positive rate of 0.1, standardised (McClish 1989)
    by_class: Mapping[str, tuple[float, float]]  # both by name of the class


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Accuracy of a network on one split."""

    samples: int  # inputs of the split
    accuracy: float  # of the int8 network, from 0 to 1
    float_accuracy: float  # of the Keras model
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


def find_anomalies(
    logits: NDArray[np.float32], split: Split, classes: tuple[str, ...]
) -> Anomalies | None:
    """Return AUC and partial AUC of the scores that logits give; None without anomalies.

    Raises:
        ModelError: A class has only normal or only anomalous recordings.
    """
    if split.anomalous is None:
        return None
    import numpy as np
    from sklearn.metrics import roc_auc_score

    shifted = logits - logits.max(axis=1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    scores = -log_softmax[np.arange(len(split)), split.y]
    clips = np.arange(len(split)) if split.clip is None else split.clip
    _, first, inverse = np.unique(clips, return_index=True, return_inverse=True)
    per_clip = np.bincount(inverse, weights=scores) / np.bincount(inverse)
    label, truth = split.y[first], split.anomalous[first]
    by_class = {}
    for index, name in enumerate(classes):
        own = label == index
        if len(set(truth[own].tolist())) < 2:
            raise ModelError(
                f"class '{name}' has only {'anomalous' if truth[own].all() else 'normal'} "
                "recordings to test with",
                expected="both, or there is no AUC",
            )
        by_class[name] = (
            float(roc_auc_score(truth[own], per_clip[own])),
            float(roc_auc_score(truth[own], per_clip[own], max_fpr=PARTIAL_AUC_RATE)),
        )
    means = np.mean(list(by_class.values()), axis=0)
    return Anomalies(auc=float(means[0]), partial_auc=float(means[1]), by_class=by_class)
