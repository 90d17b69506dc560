"""Convert Keras models to full-int8 .tflite with TensorFlow's converter.

The model is traced with its weights as constants (`stateless_call`) and given to the converter as
one concrete function. Measured on a DS-CNN with TensorFlow 2.21 on one core, this takes 0.3 s,
against two for `TFLiteConverter.from_keras_model`, which exports a SavedModel and reads it back;
tracing with variables and freezing them lies between. The outputs of the resulting models are
byte-identical, and the file is the same for the same model, weights and calibration inputs.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from harness.backbones import get_backbone
from harness.errors import ModelError
from harness.models.quiet import captured_stderr
from harness.models.sampled import CALIBRATION_SAMPLES, CALIBRATION_SEED

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

_COLLECT_EVERY = 8
_conversions = itertools.count(1)
TENSORFLOW_PACKAGES = ("tensorflow-cpu", "tensorflow")


def converter_version() -> str:
    """Return name and version of the converter without importing it.

    Raises:
        ModelError: TensorFlow is not installed.
    """
    found = installed_version(TENSORFLOW_PACKAGES)
    if found is None:
        raise _not_installed()
    return f"tensorflow {found.split()[1]}"


def installed_version(packages: Sequence[str]) -> str | None:
    """Return name and version of the first of `packages` that is installed."""
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            return f"{package} {metadata.version(package)}"
    return None


@lru_cache(maxsize=1)
def load_tensorflow() -> Any:
    """Import TensorFlow without its log lines, on one core, and return the module.

    One core leaves the others to the firmware build; the environment variable
    ``HARNESS_TF_THREADS`` asks for more (0: as TensorFlow likes). Other settings of TensorFlow
    that are already in the environment are kept.

    Raises:
        ModelError: TensorFlow is not installed, or ``HARNESS_TF_THREADS`` is no number.
    """
    wanted = os.environ.get("HARNESS_TF_THREADS", "1")
    if not wanted.isdecimal():
        raise ModelError(f"HARNESS_TF_THREADS is '{wanted}'", expected="a number of threads")
    threads = int(wanted)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors stay
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with captured_stderr():
        try:
            tensorflow = importlib.import_module("tensorflow")
        except ModuleNotFoundError as failure:
            if failure.name != "tensorflow":
                raise
            raise _not_installed() from None
        try:
            tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
            tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError:
            # Someone else has used TensorFlow here already: theirs are the settings that hold.
            logging.getLogger(__name__).info("TensorFlow runs already; its threads are kept")
    # TensorFlow's hundred thousands of objects stay for good: without this, every collection walks
    # them, which is a third of the time of a conversion.
    gc.collect()
    gc.freeze()
    return tensorflow


def to_int8_tflite(model: keras.Model, representative: NDArray[np.float32] | None) -> bytes:
    """Convert `model` to a .tflite with int8 weights, activations, inputs and outputs.

    Args:
        model: One input, one output, batch size 1.
        representative: Calibration inputs, shape (count, *input shape without the batch*); None
            for a model whose activations are fake-quantised and so have their ranges.

    Raises:
        ModelError: The model or the calibration inputs do not fit, or the converter refuses it.
    """
    tensorflow = load_tensorflow()
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"model '{model.name}' has {len(model.inputs)} inputs and {len(model.outputs)} outputs",
            expected="one of each",
        )
    shape = tuple(model.inputs[0].shape)
    if shape[0] != 1:
        raise ModelError(
            f"model '{model.name}' has batch size {shape[0]}",
            expected="a batch size of 1",
            fix="give its Input layer batch_size=1",
        )
    if representative is not None and (
        len(representative) == 0 or tuple(representative.shape[1:]) != shape[1:]
    ):
        raise ModelError(
            f"calibration inputs for '{model.name}' have shape {tuple(representative.shape)}",
            expected=f"(count, {', '.join(map(str, shape[1:]))}) with a count from 1",
        )
    function = _with_constant_weights(tensorflow, model, shape)
    with captured_stderr() as log, _without_advice():
        converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([function])
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
        if representative is not None:
            converter.representative_dataset = lambda: (
                [sample[None].astype("float32")] for sample in representative
            )
            converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tensorflow.int8
        converter.inference_output_type = tensorflow.int8
        try:
            return bytes(converter.convert())
        except Exception as failure:
            # The converter raises many types, all of which mean that it cannot take this model.
            reason = failure
    raise ModelError(
        f"TensorFlow cannot convert '{model.name}' to int8: {reason}",
        where=log.tail() or None,
        expected="layers that have an int8 TFLite kernel",
    ) from reason


def convert_architecture(
    backbone_name: str,
    architecture: str | Mapping[str, Any],
    seed: int = 0,
    *,
    calibration_samples: int = CALIBRATION_SAMPLES,
) -> bytes:
    """Build one network of a backbone with weights from `seed` and convert it.

    Meant for a long-lived worker process: a top-level function of picklable arguments that leaves
    no Keras state behind. The .tflite depends on its arguments and the TensorFlow release alone.

    Args:
        backbone_name: Backbone that the architecture must be of.
        architecture: What `Architecture.dumps` or `.to_json` gave.
        seed: Seed of the weights.
        calibration_samples: Number of synthetic inputs to calibrate with.

    Raises:
        BackboneError: Backbone or architecture is unknown or outside the search space.
        ModelError: TensorFlow is missing or refuses the model.
    """
    backbone = get_backbone(backbone_name)
    parsed = backbone.from_json(architecture)
    load_tensorflow()
    try:
        model = backbone.build(parsed, seed)
        inputs = backbone.representative(CALIBRATION_SEED, calibration_samples, parsed)
        return to_int8_tflite(model, inputs)
    finally:
        importlib.import_module("keras").backend.clear_session(free_memory=False)
        # A collection of what is in cycles takes a tenth of the time of a conversion.
        if next(_conversions) % _COLLECT_EVERY == 0:
            gc.collect()


def _with_constant_weights(tensorflow: Any, model: keras.Model, shape: tuple[int, ...]) -> Any:
    trainable = [variable.numpy() for variable in model.trainable_variables]
    others = [variable.numpy() for variable in model.non_trainable_variables]

    def forward(inputs: Any) -> Any:
        outputs, _ = model.stateless_call(trainable, others, inputs, training=False)
        return outputs

    signature = [tensorflow.TensorSpec(shape, tensorflow.float32, name="input")]
    function = tensorflow.function(forward, input_signature=signature, autograph=False)
    return function.get_concrete_function()


@contextmanager
def _without_advice() -> Iterator[None]:
    # The converter warns that only a SavedModel carries variables and signatures (there are none
    # here) and that float inputs have no statistics (they come from the calibration inputs).
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
            yield
    finally:
        logger.setLevel(level)


def _not_installed() -> ModelError:
    return ModelError(
        "TensorFlow is not installed",
        expected="tensorflow or tensorflow-cpu, to build and convert networks",
        fix="pip install 'tinyml-harness[train]'",
    )
