"""Inputs to measure with: the same for a model and a seed, on every machine."""

from __future__ import annotations

from harness.backbones.draw import Draw
from harness.errors import ModelError
from harness.models.graph import Tensor, TFLiteModel


def random_inputs(model: TFLiteModel, seed: int = 0) -> list[bytes]:
    """Return one buffer for each input of `model`, in order, little-endian.

    Integers of 8 and 16 bits are uniform over their type, float32 uniform in [-1, 1).

    Raises:
        ModelError: An input is of another type.
    """
    key = int(model.sha256[:16], 16)
    tensors = enumerate(model.graph.input_tensors())
    return [_random(tensor, Draw(seed, key, place)) for place, tensor in tensors]


def _random(tensor: Tensor, draw: Draw) -> bytes:
    match tensor.dtype:
        case "int8" | "uint8" | "int16" | "uint16":
            return draw.bytes(tensor.bytes)
        case "float32":
            unit = draw.uniform(tensor.elements)
            return bytes((unit * 2 - 1).astype("<f4").tobytes())
    raise ModelError(
        f"input {tensor.index} '{tensor.name}' is {tensor.dtype}",
        expected="int8, uint8, int16 or float32",
        fix="give inputs of your own",
        tensor=tensor.index,
    )
