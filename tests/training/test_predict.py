"""A Keras model, predicted as it is."""

from __future__ import annotations

import pytest

import harness
from support import needs


@needs.tensorflow
def test_a_keras_model_is_converted_and_predicted() -> None:
    import keras

    model = keras.Sequential(
        [
            keras.layers.Input((16, 16, 3), batch_size=1),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4, activation="softmax"),
        ],
        name="little",
    )
    (found,) = harness.predict(model, board="nucleo_f446re")
    assert found.model == "little" and found.latency_us
    assert [layer.operator for layer in found.layers][:2] == ["CONV_2D", "MEAN"]
    assert found.latency_us == pytest.approx(found.high_us, rel=0.2)
