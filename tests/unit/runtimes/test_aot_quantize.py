from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.models.graph import Tensor
from harness.runtimes.aot import quantize


@given(st.floats(1e-8, 1e8))
def test_multiplier_is_close_and_normalised(real):
    multiplier, shift = quantize.quantize_multiplier(real)
    assert 1 << 30 <= multiplier < 1 << 31
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(real, rel=2**-30)


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.0, (0, 0)),
        (1.0, (1 << 30, 1)),
        (0.5, (1 << 30, 0)),
        (1 - 2**-40, (1 << 30, 1)),  # rounds up to the next power of two
        (2.0**-33, (0, 0)),
    ],
)
def test_multiplier_at_the_edges(real, expected):
    assert quantize.quantize_multiplier(real) == expected


def test_multiplier_refuses_what_does_not_fit():
    with pytest.raises(quantize.ScaleOutOfRange):
        quantize.quantize_multiplier(2.0**31)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NONE", (-128, 127)),
        ("RELU", (-100, 127)),
        ("RELU6", (-100, 20)),
        ("RELU_N1_TO_1", (-120, -80)),
    ],
)
def test_activation_range(name, expected):
    target = Tensor(0, "t", (1,), "int8", (0.05,), (-100,))
    assert quantize.activation_range(name, target) == expected


def test_mean_divides():
    source = Tensor(0, "s", (1,), "int8", (0.1,), (0,))
    target = Tensor(1, "t", (1,), "int8", (0.05,), (0,))
    multiplier, shift = quantize.mean_multiplier(source, target, 12)
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(2 / 12, rel=1e-8)


def test_input_radius():
    assert quantize.input_radius(5, 24) == 31 * 4
