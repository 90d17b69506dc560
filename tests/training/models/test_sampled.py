"""The .tflite that is written without TensorFlow is the one that TensorFlow's converter makes."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from harness.backbones import Architecture, backbone_names, get_backbone
from harness.models import convert, read_model
from harness.models.sampled import write_architecture

pytestmark = pytest.mark.skipif(
    find_spec("tensorflow") is None, reason="pip install 'tinyml-harness[train]'"
)


def _random(name: str) -> list[Architecture]:
    backbone = get_backbone(name)
    found = [backbone.sample(11, index, width_step=1 + 3 * (index % 2)) for index in range(4)]
    if name.startswith("ds_cnn"):  # an average pool in place of a block
        blocks = [0, *(12,) * (len(found[0]["blocks"]) - 1)]
        found.append(backbone.architecture(stem=[16], blocks=blocks))
    return found


@pytest.mark.parametrize("name", backbone_names())
def test_graph_and_values_equal_the_converter_s(name: str) -> None:
    for seed, architecture in enumerate(_random(name)):
        text = architecture.dumps()
        ours = read_model(write_architecture(name, text, seed)).graph
        theirs = read_model(convert.convert_architecture(name, text, seed)).graph
        assert ours.inputs == theirs.inputs and ours.outputs == theirs.outputs
        assert list(ours.operators) == list(theirs.operators)
        for mine, other in zip(ours.tensors, theirs.tensors, strict=True):
            facts = ("name", "shape", "dtype", "quantized_dimension")
            assert [getattr(mine, f) for f in facts] == [getattr(other, f) for f in facts]
            np.testing.assert_allclose(mine.scales, other.scales, rtol=1e-4, err_msg=mine.name)
            zeros = np.abs(np.subtract(mine.zero_points, other.zero_points))
            assert zeros.max(initial=0) <= 1, mine.name
            if other.data is not None:
                # Rounding of float32: a weight may fall to the other side.
                off = np.abs(np.subtract(mine.data, other.data, dtype=np.int64))
                few = max(1, off.size // 20)  # of 12 biases, one
                assert off.max() <= 1 and np.sum(off > 0) <= few, mine.name
