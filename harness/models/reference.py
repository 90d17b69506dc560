"""Expected outputs of a model, computed on the host.

Two references:

- ``tflm``: the `tflite-micro` wheel, TensorFlow Lite for Microcontrollers itself with its reference
  kernels. It starts in 0.1 s and is what a device is compared with when it is installed.
- ``tflite``: TensorFlow Lite's interpreter with its reference kernels (``BUILTIN_REF``), from
  `ai-edge-litert` if that is installed, else from TensorFlow.

They agree byte for byte (TensorFlow 2.21, tflite-micro of 2026-10; 20 random inputs a model) on
MLPerf Tiny's keyword-spotting, person-detection and image-classification models, MicroNet-KWS-M and
Heim's LeNet, softmax included, and on 48 sampled networks of the three backbones (one input each).
They differ on FULLY_CONNECTED: MLPerf's autoencoder, ten of them in a row, has 31 % of its output
bytes off, by 2 at most, as the two round the requantised accumulator differently. So a device that
runs TFLM's or CMSIS-NN's arithmetic is bit-exact with ``tflm`` only, and ``run_reference`` records
which one was used.
"""

from __future__ import annotations

import importlib
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import util
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from harness.errors import ModelError
from harness.models.convert import TENSORFLOW_PACKAGES, installed_version, load_tensorflow
from harness.models.graph import TFLiteModel
from harness.models.quiet import captured_stderr

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ReferenceName = Literal["tflm", "tflite"]
_T = TypeVar("_T")

_TFLM = "TensorFlow Lite for Microcontrollers"
_ARENA_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")


@dataclass(frozen=True, slots=True)
class Reference:
    """Outputs of a host reference."""

    name: ReferenceName  # which reference
    version: str  # package and version that computed it
    outputs: tuple[bytes, ...]  # one buffer for each output, in order


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """Device output against reference, byte for byte."""

    bytes_total: int  # bytes of the reference
    bytes_differing: int  # how many of them differ
    max_abs_diff: int  # largest difference between two bytes read as int8

    @property
    def bit_exact(self) -> bool:
        """Whether nothing differs."""
        return self.bytes_differing == 0


def compare_outputs(device: bytes, reference: bytes) -> OutputComparison:
    """Compare all output bytes of the device with those of the host.

    Raises:
        ModelError: The sizes differ: they are not of the same model.
    """
    import numpy as np

    if len(device) != len(reference):
        raise ModelError(
            f"device output has {len(device)} bytes",
            expected=f"{len(reference)} bytes, as the reference",
        )
    ours = np.frombuffer(device, dtype=np.int8).astype(np.int16)
    difference = np.abs(ours - np.frombuffer(reference, dtype=np.int8))
    return OutputComparison(
        bytes_total=len(reference),
        bytes_differing=int(np.count_nonzero(difference)),
        max_abs_diff=int(difference.max(initial=0)),
    )


def default_reference() -> ReferenceName:
    """Return the reference that is used by default: ``tflm`` where it is installed."""
    return "tflm" if util.find_spec("tflite_micro") is not None else "tflite"


def run_reference(
    model: TFLiteModel, inputs: Sequence[bytes], name: ReferenceName | None = None
) -> Reference:
    """Run a reference (`default_reference` unless named) on one buffer for each input.

    Raises:
        ModelError: The package is missing, the inputs do not fit or the model does not run.
    """
    chosen = name or default_reference()
    outputs = run_tflm(model, inputs) if chosen == "tflm" else run_tflite(model, inputs)
    return Reference(chosen, reference_version(chosen), tuple(outputs))


def reference_version(name: ReferenceName) -> str:
    """Return package and version behind `name`, for provenance.

    Raises:
        ModelError: It is not installed.
    """
    packages = ("tflite-micro",) if name == "tflm" else ("ai-edge-litert", *TENSORFLOW_PACKAGES)
    found = installed_version(packages)
    if found is None:
        raise _missing(name)
    return found


def run_tflite(model: TFLiteModel, inputs: Sequence[bytes]) -> list[bytes]:
    """Run TensorFlow Lite's reference kernels; return one buffer for each output.

    Raises:
        ModelError: No interpreter is installed, the inputs do not fit or the model does not run.
    """
    arrays = _input_arrays(model, inputs)

    def once(interpreter: Any) -> list[bytes]:
        for details, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(details["index"], array)
        interpreter.invoke()
        outputs = interpreter.get_output_details()
        return [interpreter.get_tensor(details["index"]).tobytes() for details in outputs]

    return _with_tflite(model, once)


def tflite_outputs(model: TFLiteModel, inputs: NDArray[np.int8]) -> NDArray[np.int8]:
    """Run TensorFlow Lite's reference kernels on many inputs; return the output for each.

    Not the optimised kernels, though they are ten times as fast: on a trained DS-CNN they were off
    by up to 4 in an output byte with XNNPACK, and differed without it as well, so their accuracy
    would not be the device's.

    Args:
        model: One input, one output, batch size 1.
        inputs: Shape (n, *input shape without the batch*).

    Raises:
        ModelError: No interpreter is installed or the model does not run.
    """
    import numpy as np

    def outputs_of(interpreter: Any, part: NDArray[np.int8]) -> list[NDArray[np.int8]]:
        source = interpreter.get_input_details()[0]["index"]
        target = interpreter.get_output_details()[0]["index"]
        outputs = []
        for sample in part:
            interpreter.set_tensor(source, sample[None])
            interpreter.invoke()  # without the interpreter lock of Python
            outputs.append(interpreter.get_tensor(target)[0])
        return outputs

    def all_of_them(first: Any) -> NDArray[np.int8]:
        # The reference kernels have no threads of their own.
        parts = np.array_split(inputs, min(os.cpu_count() or 1, len(inputs)))
        interpreters = [first, *(_tflite_interpreter_of(model) for _ in parts[1:])]
        with ThreadPoolExecutor(len(parts)) as pool:
            others = pool.map(outputs_of, interpreters[1:], parts[1:])
            found = [outputs_of(first, parts[0]), *others]  # the first on this thread
        return np.stack([output for part in found for output in part])

    return _with_tflite(model, all_of_them)


def run_tflm(model: TFLiteModel, inputs: Sequence[bytes]) -> list[bytes]:
    """Run TensorFlow Lite for Microcontrollers on the host; return one buffer for each output.

    Raises:
        ModelError: The wheel is not installed, the inputs do not fit or the model does not run.
    """
    arrays = _input_arrays(model, inputs)

    def once() -> list[bytes]:
        interpreter = _tflm_interpreter(model)
        for place, array in enumerate(arrays):
            interpreter.set_input(array, place)
        interpreter.invoke()
        count = len(model.graph.outputs)
        return [interpreter.get_output(place).tobytes() for place in range(count)]

    return _guarded(_TFLM, model, once)[0]


def tflm_arena_bytes(model: TFLiteModel) -> int:
    """Return the arena that TFLM uses on a 64-bit host with reference kernels.

    It bounds nothing on a device: pointers are 4 bytes there, and CMSIS-NN adds scratch buffers.

    Raises:
        ModelError: The wheel is not installed or the model does not run.
    """
    _, log = _guarded(
        _TFLM, model, lambda: _tflm_interpreter(model).print_allocations(), replay=False
    )
    found = _ARENA_TOTAL.search(log)
    if not found:
        raise ModelError(
            "the tflite-micro wheel does not report its arena",
            where=reference_version("tflm"),
            expected="a line 'Arena allocation total N bytes'",
        )
    return int(found[1])


def _guarded(
    runtime: str, model: TFLiteModel, run: Callable[[], _T], *, replay: bool = True
) -> tuple[_T, str]:
    """Return the result of `run` and what it wrote to stderr; ModelError where it fails."""
    with captured_stderr(replay=replay) as log:
        try:
            result = run()
            reason = None
        except (RuntimeError, ValueError) as failure:
            reason = failure
    if reason is not None:
        raise ModelError(
            f"{runtime} cannot run '{model.name}': {reason}",
            where=log.tail() or None,
            expected="a model whose operators the reference has",
        )
    return result, log.text


def _tflm_interpreter(model: TFLiteModel) -> Any:
    try:
        runtime = importlib.import_module("tflite_micro").runtime
    except ModuleNotFoundError as failure:
        if failure.name != "tflite_micro":
            raise
        raise _missing("tflm") from None
    # Ample: every activation at once, and room for the records of tensors and operators.
    activations = sum(t.bytes for t in model.graph.tensors if not t.is_constant)
    records = 1024 * (len(model.graph.tensors) + len(model.graph.operators))
    channels = sum(16 * len(t.scales) for t in model.graph.tensors)
    with _no_variables_to_count(runtime, model):
        return runtime.Interpreter.from_bytes(
            model.content, arena_size=2 * activations + records + channels + (1 << 16)
        )


@contextmanager
def _no_variables_to_count(runtime: Any, model: TFLiteModel) -> Iterator[None]:
    """Spare the wheel the counting of a model's variables where there are none.

    It makes Python objects of the whole model for that, which takes longer than an inference.
    """
    count = getattr(runtime, "count_resource_variables", None)
    if count is None or any(each.name == "VAR_HANDLE" for each in model.graph.operators):
        yield
        return
    runtime.count_resource_variables = lambda _content: 0
    try:
        yield
    finally:
        runtime.count_resource_variables = count


def _with_tflite(model: TFLiteModel, use: Callable[[Any], _T]) -> _T:
    """Return what `use` makes of an interpreter of `model` with reference kernels."""
    _tflite_interpreter()  # whether there is one, before stderr is captured
    with warnings.catch_warnings():
        # It advises to move to ai-edge-litert, which is used where it is installed.
        warnings.filterwarnings("ignore", message=r"(?s).*tf\.lite\.Interpreter is deprecated")
        return _guarded("TensorFlow Lite", model, lambda: use(_tflite_interpreter_of(model)))[0]


def _tflite_interpreter_of(model: TFLiteModel) -> Any:
    interpreter_class, resolver = _tflite_interpreter()
    interpreter = interpreter_class(
        model_content=model.content,
        experimental_op_resolver_type=resolver.BUILTIN_REF,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    return interpreter


def _tflite_interpreter() -> tuple[Any, Any]:
    if util.find_spec("ai_edge_litert") is not None:
        module = importlib.import_module("ai_edge_litert.interpreter")
        return module.Interpreter, module.OpResolverType
    if util.find_spec("tensorflow") is None:
        raise _missing("tflite")
    lite = load_tensorflow().lite
    return lite.Interpreter, lite.experimental.OpResolverType


def _input_arrays(model: TFLiteModel, inputs: Sequence[bytes]) -> list[NDArray[np.generic]]:
    import numpy as np

    tensors = model.graph.input_tensors()
    if [len(buffer) for buffer in inputs] != [tensor.bytes for tensor in tensors]:
        raise ModelError(
            f"inputs for '{model.name}' have {[len(buffer) for buffer in inputs]} bytes",
            expected=f"{[tensor.bytes for tensor in tensors]} bytes",
        )
    return [
        np.frombuffer(buffer, dtype=tensor.dtype).reshape(tensor.shape)
        for buffer, tensor in zip(inputs, tensors, strict=True)
    ]


def _missing(name: ReferenceName) -> ModelError:
    if name == "tflm":
        return ModelError(
            "the tflite-micro wheel is not installed",
            expected="tflite-micro, to compute reference outputs with TFLM",
            fix="pip install tflite-micro (Linux on x86-64), or measure with the reference that "
            "'tinyml-harness[reference]' installs",
        )
    return ModelError(
        "no TensorFlow Lite interpreter is installed",
        expected="ai-edge-litert, or TensorFlow",
        fix="pip install 'tinyml-harness[reference]'",
    )
