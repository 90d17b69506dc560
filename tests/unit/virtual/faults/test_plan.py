"""What a serial URL can ask for, and where the faults of a seed fall."""

from __future__ import annotations

import random

import pytest

from harness.errors import ConfigError
from harness.virtual.faults.injector import Schedule
from harness.virtual.faults.plan import FaultPlan, parse_faults


def test_kinds_and_their_values() -> None:
    plan = parse_faults("drop:0.001,worn:2,counter:stuck,caches:off,clock:1.02", seed="7")
    assert plan == FaultPlan(drop=0.001, worn=2, counter="stuck", caches=False, clock=1.02, seed=7)
    assert parse_faults("") == FaultPlan()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dorp:0.1", "did you mean 'drop'"),
        ("drop:2", "fault 'drop' is '2'"),
        ("drop", "fault 'drop' is ''"),
        ("drop:nan", "fault 'drop' is 'nan'"),
        ("drop:0.1,drop:0.2", "named twice"),
        ("counter:slow", "fault 'counter' is 'slow'"),
        ("clock:0", "fault 'clock' is '0'"),
        ("worn:-1", "fault 'worn' is '-1'"),
    ],
)
def test_a_wrong_kind_or_value_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_faults(text)


def test_a_wrong_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed"):
        parse_faults("drop:0.1", seed="x")


def test_faults_fall_where_the_seed_says_however_the_stream_is_cut() -> None:
    whole = Schedule(0.01, random.Random("1")).within(10_000)
    pieces = Schedule(0.01, random.Random("1"))
    rng, at, found = random.Random(2), 0, []
    while at < 10_000:
        size = min(rng.randrange(200), 10_000 - at)
        found += [at + hit for hit in pieces.within(size)]
        at += size
    assert found == whole
    assert 70 < len(whole) < 130
    assert whole != Schedule(0.01, random.Random("3")).within(10_000)


def test_the_ends_of_the_scale() -> None:
    assert Schedule(0, random.Random(1)).within(10**9) == []
    assert Schedule(1, random.Random(1)).within(5) == [0, 1, 2, 3, 4]
