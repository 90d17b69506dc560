"""Models of other frameworks are named, with the conversion to try."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ModelFormatError
from harness.models import read_model
from harness.testing import tiny_network


def _archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 40)
    return stream.getvalue()


def _torch_before_1_6() -> bytes:
    return pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps([1001] * 9, protocol=2)


# ir_version 8, producer "pytorch", then a graph, as `onnx.save` writes them.
_ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x96\x01\n\x05input" + bytes(60)
CASES = {
    "ONNX": (_ONNX, "an ONNX model", "onnx2tf -i"),
    "ONNX-without-producer": (b"\x08\x0a:\x20" + bytes(40), "an ONNX model", "onnx2tf -i"),
    "PyTorch": (_archive("model/data.pkl", "model/version"), "a PyTorch file", "torch.onnx.export"),
    "TorchScript": (_archive("m/data.pkl", "m/code/a.py"), "a PyTorch file", "torch.onnx.export"),
    "old-PyTorch": (_torch_before_1_6(), "a PyTorch file", "torch.onnx.export"),
    "Keras": (
        _archive("metadata.json", "config.json", "model.weights.h5"),
        "a Keras model",
        "from_keras_model",
    ),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(90), "an HDF5 file", "from_keras_model"),
    "SavedModel": (b"\x08\x01\x12\x99\x02" + bytes(90), "a TensorFlow SavedModel", "from_saved_mo"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_model_of_another_framework_is_recognised_by_content(case: str) -> None:
    content, name, conversion = CASES[case]
    for found in (content, content[: len(content) - 8]):
        with pytest.raises(ModelFormatError, match=f"x is {name}.*not a .tflite") as raised:
            read_model(found, name="x")
        assert conversion in str(raised.value)


def test_a_tflite_is_read_whatever_else_it_resembles() -> None:
    assert read_model(tiny_network(1)).graph.macs
    with pytest.raises(ModelFormatError, match="not a TensorFlow Lite model"):
        read_model(b"not a model at all")


@pytest.mark.parametrize("command", ["build", "predict"])
def test_a_command_refuses_it_as_wrong_use(
    command: str, harness: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "net.tflite"  # its name says nothing
    path.write_bytes(_ONNX)
    answer = harness(command, path)
    assert answer.code == 2 and "error[model-format]" in answer.err
    assert "an ONNX model, not a .tflite" in answer.err and "onnx2tf" in answer.err
