"""The record refuses contradictions, and summarises cycles without a random number."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.results.record import (
    LayerCycles,
    Measurement,
    Source,
    Status,
    best_per_key,
    gap,
    summarise_cycles,
)
from harness.strict import from_json, to_json
from harness.testing import fake_failure, fake_measurement
from harness.testing.rows import START


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": "abc"}, "key"),
        ({"created_at": datetime(2026, 1, 1)}, "time zone"),
        ({"issues": ("late",)}, "valid row has no issues"),
        ({"cycles": ()}, "needs cycles"),
        ({"latency_us": None}, "needs cycles"),
        ({"latency_us": math.nan}, "finite number"),
        ({"cycles": (-1,)}, "greater than or equal to 0"),
        ({"seed": 2**64}, "less than or equal to 9223372036854775807"),
        ({"timing_model": None}, "name its timing model"),
        ({"source": "hardware"}, "no timing model"),
        ({"status": "invalid"}, "must name its issue codes"),
        ({"status": "degraded", "issues": ("Not A Code",)}, "match pattern"),
        ({"status": "fine"}, "'valid', 'degraded' or 'invalid'"),
        ({"icache": 3}, "valid boolean"),
        ({"seed": True}, "valid integer"),
        ({"board": 7}, "valid string"),
        ({"architecture": {"f": object()}}, "JSON cannot carry"),
        ({"architecture": {1: 2}}, "valid string"),
        ({"stage_seconds": {"run": math.inf}}, "finite number"),
        ({"architecture": {"run": math.inf}}, "not JSON compliant"),
    ],
)
def test_a_contradiction_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fake_measurement(**changes)


def test_values_become_their_plain_types() -> None:
    import numpy as np

    row = fake_measurement(
        ops=np.int64(5), latency_us=np.float64(2), cycles=[np.uint64(4)], architecture={"w": (1, 2)}
    )
    assert type(row.ops) is int and type(row.latency_us) is float and type(row.cycles[0]) is int
    assert row.architecture == {"w": [1, 2]}
    assert row.status is Status.VALID and row.source is Source.EMULATED


def test_time_is_kept_in_utc() -> None:
    local = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert fake_measurement(created_at=local).created_at == datetime(2026, 1, 1, 10, tzinfo=UTC)


def test_a_row_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        fake_measurement().board = "x"  # type: ignore[misc]


def test_the_arena_peak_is_the_best_known_figure() -> None:
    row = fake_measurement(arena_planned_bytes=1, arena_used_bytes=2, arena_min_bytes=3)
    assert row.arena_bytes == 3
    assert replace(row, arena_min_bytes=None).arena_bytes == 2
    assert replace(row, arena_min_bytes=None, arena_used_bytes=None).arena_bytes == 1
    assert fake_failure().arena_bytes is None


def test_best_per_key_prefers_valid_then_newest() -> None:
    degraded = fake_measurement(0, status="degraded", issues=("x",), created_at=START)
    valid = fake_measurement(0)
    rows = [fake_failure(0), degraded, valid, fake_failure(1, 0), fake_failure(1, 1)]
    assert best_per_key(rows) == [valid, fake_failure(1, 1)]


def test_one_repeat_has_a_median_and_no_interval() -> None:
    assert summarise_cycles([216_000], 216_000_000) == (1000.0, None, None)


@pytest.mark.parametrize(
    ("n", "low", "high"),
    # 95 % ranks of the median, from the published tables of order-statistic intervals.
    [(2, 1, 2), (5, 1, 5), (6, 1, 6), (8, 1, 8), (9, 2, 8), (10, 2, 9), (20, 6, 15), (25, 8, 18)],
)
def test_the_interval_takes_the_tabulated_ranks(n: int, low: int, high: int) -> None:
    _, got_low, got_high = summarise_cycles(list(range(1, n + 1)), 1_000_000)
    assert (got_low, got_high) == (low, high)


@given(st.lists(st.integers(0, 2**62), min_size=2, max_size=80), st.randoms())
def test_the_interval_holds_the_median_whatever_the_order(cycles: list[int], random: Any) -> None:
    median, low, high = summarise_cycles(cycles, 216_000_000)
    assert low is not None and high is not None and low <= median <= high
    random.shuffle(cycles)
    assert summarise_cycles(cycles, 216_000_000) == (median, low, high)


@pytest.mark.parametrize(
    ("cycles", "clock", "confidence"), [([], 1, 0.95), ([1], 0, 0.95), ([1], 1, 1.0)]
)
def test_nonsense_is_refused(cycles: list[int], clock: int, confidence: float) -> None:
    with pytest.raises(ValueError):
        summarise_cycles(cycles, clock, confidence=confidence)


def test_the_gap_between_layers_and_whole() -> None:
    layers = (LayerCycles(0, "a", "CONV_2D", 10, 600), LayerCycles(1, "b", "SOFTMAX", None, 420))
    assert gap((1000, 990, 5000), layers) == pytest.approx(0.02)
    assert gap((1000, 1020), layers) == pytest.approx(0.01 / 1.01)
    assert gap((), layers) is None
    assert gap((1000,), ()) is None
    assert gap((1000,), (*layers, LayerCycles(2, "c", "ADD", 1, None))) is None


def test_a_row_survives_the_way_through_json() -> None:
    for row in (fake_measurement(3), fake_failure()):
        assert from_json(Measurement, to_json(row), where="a row") == row


def test_arena_parts_are_plain_data() -> None:
    row = fake_measurement(arena_parts={"persistent": {"used": 1, "requested": 1, "count": 1}})
    assert row.arena_parts == {"persistent": {"used": 1, "requested": 1, "count": 1}}
    with pytest.raises(ValueError, match="arena_parts"):
        fake_measurement(arena_parts={1: {}})
