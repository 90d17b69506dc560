from __future__ import annotations

import pytest

from harness.results.record import outliers


@pytest.mark.parametrize(
    ("cycles", "apart"),
    [
        ((1000, 1001, 999, 1000, 1500), (4,)),
        ((900, 1000, 1001, 999, 1000, 1002), (0,)),
        # Nearly equal repeats: 0.2 % is none, 1 % is one.
        ((1000, 1000, 1000, 1002, 1000), ()),
        ((1010, 1000, 1000, 1000, 1000), (0,)),
        # Widely scattered ones have none, and too few say nothing.
        ((800, 900, 1000, 1100, 1200), ()),
        ((1, 1000, 1000, 1000), ()),
        ((), ()),
    ],
)
def test_repeats_that_lie_apart_are_told(cycles: tuple[int, ...], apart: tuple[int, ...]) -> None:
    assert outliers(cycles) == apart
