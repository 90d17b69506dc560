"""Two sets of rows: the same within a margin, worse, better, or not to be told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultsError
from harness.results import open_store
from harness.results.equivalence import Verdict, compare_rows
from harness.results.record import Measurement, summarise_cycles
from harness.testing import fake_measurement


def rows(count: int, factor: float = 1.0, spread: float = 0.0, **changes: Any) -> list[Measurement]:
    found = []
    for index in range(count):
        sound = fake_measurement(index)
        base = sound.cycles[0] * factor
        cycles = tuple(round(base * (1 + spread * (n - 4) / 4)) for n in range(9))
        middle, low, high = summarise_cycles(cycles, 216_000_000)
        found.append(
            fake_measurement(
                index, cycles=cycles, latency_us=middle, latency_ci_low_us=low,
                latency_ci_high_us=high, runtime_version=str(factor), **changes,
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1.0, Verdict.EQUIVALENT), (1.019, Verdict.EQUIVALENT), (0.985, Verdict.EQUIVALENT),
        (1.021, Verdict.WORSE), (1.5, Verdict.WORSE), (0.97, Verdict.BETTER),
    ],
)  # fmt: skip
@pytest.mark.parametrize("count", [1, 3, 20])
def test_exact_cycles_are_judged_by_the_margin(count: int, factor: float, verdict: Verdict) -> None:
    result = compare_rows(rows(count), rows(count, factor), margin=0.02)
    assert {pair.ratio.verdict for pair in result.pairs} == {verdict}
    assert result.overall.verdict is verdict
    assert result.regressed == (verdict is Verdict.WORSE)
    assert result.equivalent == (verdict is Verdict.EQUIVALENT)
    assert result.overall.value == pytest.approx(factor, rel=1e-5)


def test_noise_that_hides_the_difference_is_undecided() -> None:
    result = compare_rows(rows(3, spread=0.05), rows(3, 1.015, spread=0.05))
    assert result.overall.verdict is Verdict.UNDECIDED
    assert not result.regressed and not result.equivalent


def test_one_bad_network_among_many_is_a_regression_and_comes_first() -> None:
    after = rows(20)
    after[7] = rows(8, 1.3)[7]
    result = compare_rows(rows(20), after)
    assert result.regressed and result.pairs[0].name.startswith("kws-7 ")
    assert result.counts == {"equivalent": 19, "worse": 1, "better": 0, "undecided": 0}


def test_resets_of_one_subject_are_pooled() -> None:
    before = rows(1)
    again = [
        fake_measurement(0, created_at=before[0].created_at + timedelta(hours=n), key=f"{n:064x}")
        for n in (1, 2)
    ]
    assert len(compare_rows(before, again).pairs) == 1


def test_sizes_are_compared_too() -> None:
    result = compare_rows(rows(3), rows(3, flash_total_bytes=70_000), metric="flash")
    assert result.regressed and result.pairs[0].before < result.pairs[0].after == 70_000
    unknown = rows(2) + rows(3, stack_bytes=None)[2:]
    result = compare_rows(rows(3), unknown, metric="stack")
    assert len(result.pairs) == 2 and len(result.unknown) == 1


def test_pairs_agree_in_everything_but_what_is_asked_for() -> None:
    small = rows(3, 0.9, optimization="-Os")
    with pytest.raises(ResultsError, match="no network has a latency in both"):
        compare_rows(rows(3), small)
    result = compare_rows(rows(3), small, across=("optimization",))
    assert result.overall.verdict is Verdict.BETTER
    partly = compare_rows(rows(4), rows(2))
    assert len(partly.only_before) == 2 and not partly.only_after


def test_only_valid_rows_count_unless_asked() -> None:
    marked = rows(2, status="degraded", issues=("output-differs",))
    with pytest.raises(ResultsError):
        compare_rows(rows(2), marked)
    assert compare_rows(rows(2), marked, degraded=True).equivalent


@pytest.mark.parametrize(
    "wrong",
    [{"metric": "speed"}, {"margin": 0}, {"across": ("colour",)}, {"across": ("source",)}],
)
def test_wrong_use(wrong: dict[str, Any]) -> None:
    with pytest.raises(ResultsError):
        compare_rows(rows(1), rows(1), **wrong)


def test_the_command_exits_1_on_a_regression(harness: Callable[..., Any], tmp_path: Path) -> None:
    for name, factor in (("a", 1.0), ("b", 1.001), ("c", 1.1)):
        with open_store(tmp_path / f"{name}.sqlite") as store:
            for row in rows(8, factor):
                store.add(row)
    same = harness("compare", "a.sqlite", "b.sqlite#demo")
    assert same.code == 0 and "8 equivalent" in same.err
    worse = harness("compare", "a.sqlite", "c.sqlite", "--json")
    assert worse.code == 1 and worse.json()["overall"]["verdict"] == "worse"
    assert harness("compare", "c.sqlite", "a.sqlite").code == 0
    assert harness("compare", "c.sqlite", "a.sqlite", "--strict").code == 1
    missing = harness("compare", "a.sqlite", "none.sqlite")
    assert missing.code == 2 and "error[config]" in missing.err


def test_very_many_pairs_are_judged_as_many_are() -> None:
    def interval(count: int) -> tuple[float, float]:
        before = [fake_measurement(index) for index in range(count)]
        after = [
            fake_measurement(index, cycles=(round(row.cycles[0] * (1.01 + index % 7 / 500)),))
            for index, row in enumerate(before)
        ]
        overall = compare_rows(before, after, margin=0.1).overall
        return overall.low, overall.high

    assert interval(1001) == pytest.approx(interval(1000), abs=5e-5)


def test_a_comparison_needs_only_its_columns() -> None:
    from harness.results.equivalence import columns_of
    from harness.results.store import EVERYTHING, Store

    with Store.open("sqlite://") as store:
        for row in rows(8, spread=0.01):
            store.add(row)
        for metric in ("latency", "arena", "sram", "flash", "stack"):
            read = [store.table(EVERYTHING, columns_of(metric)) for _ in range(2)]
            whole = store.query()
            assert compare_rows(*read, metric=metric) == compare_rows(whole, whole, metric=metric)
