"""The contract of a results store. PostgreSQL passes the very same tests (tests/integration)."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import ConfigError, ResultsError
from harness.results.record import (
    LayerCycles,
    Measurement,
    Run,
    StationHealth,
    StationState,
    Status,
    types_of,
)
from harness.results.schema import VERSION_TABLE
from harness.results.store import EVERYTHING, Filter, Store
from harness.results.table import table_of
from harness.testing import fake_failure, fake_measurement
from harness.testing.rows import START, key_of

_wild_text = st.text(st.characters(), max_size=12)  # NUL and lone surrogates among them
_integers = st.integers(-(2**63) + 1, 2**63 - 1)
_counts = st.integers(0, 2**63 - 1)
_floats = st.floats(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | _integers | _floats | _wild_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_wild_text, inner, max_size=3),
    max_leaves=6,
)
_layers = st.builds(
    LayerCycles, _counts, _wild_text, _wild_text, st.none() | _counts, st.none() | _counts
)
_BY_KIND = {
    str: _wild_text,
    int: _integers,
    float: _floats,
    bool: st.booleans(),
}


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    """Draw any record that the type allows, whether or not it makes sense."""
    values: dict[str, Any] = {}
    kinds = types_of(Measurement)
    for spec in fields(Measurement):
        kind = kinds[spec.name]
        if kind in _BY_KIND:
            optional = spec.default is None
            values[spec.name] = draw(st.none() | _BY_KIND[kind] if optional else _BY_KIND[kind])
    status = draw(st.sampled_from(list(Status)))
    codes = st.lists(st.from_regex(r"[a-z0-9]{1,5}(-[a-z0-9]{1,5})?", fullmatch=True), max_size=3)
    emulated = draw(st.booleans())
    values.update(
        key=draw(st.binary(min_size=32, max_size=32)).hex(),
        created_at=draw(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1))).replace(
            tzinfo=UTC
        ),
        status=status,
        source="emulated" if emulated else "hardware",
        timing_model=draw(_wild_text) if emulated else None,
        issues=() if status is Status.VALID else tuple(draw(codes)) or ("code",),
        flags=tuple(draw(st.lists(_wild_text, max_size=3))),
        cycles=tuple(draw(st.lists(_counts, min_size=1, max_size=4))),
        architecture=draw(st.none() | st.dictionaries(_wild_text, _json, max_size=3)),
        macs_by_operator=draw(st.none() | st.dictionaries(_wild_text, _counts, max_size=3)),
        stage_seconds=draw(st.dictionaries(_wild_text, _floats, max_size=3)),
        layers=tuple(draw(st.lists(_layers, max_size=3))),
        raw_log=draw(st.none() | st.text(st.characters(), max_size=200)),
    )
    if status is Status.VALID:
        values["clock_hz"] = draw(st.integers(1, 2**40))
        values["latency_us"] = draw(_floats)
    return Measurement(**values)


@pytest.fixture
def url(tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path / 'measurements.sqlite'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(row=measurements())
def test_what_goes_in_comes_out(store: Store, row: Measurement) -> None:
    stored = store.add(row)
    if stored is row:  # else an example met a key that Hypothesis had used before
        found = [
            item
            for item in store.query(Filter(key=row.key), with_log=True)
            if item.created_at == row.created_at
        ]
        assert found == [row]


def test_a_full_row_keeps_every_field(store: Store) -> None:
    row = fake_measurement(3)
    store.add(row)
    assert store.get(row.key) == row


def test_what_was_not_measured_stays_unknown(store: Store) -> None:
    store.add(fake_failure())
    row = store.get(key_of(0))
    assert row is not None
    assert row.latency_us is None and row.bit_exact is None and row.architecture is None
    assert row.cycles == () and row.layers == ()


def test_adding_twice_changes_nothing(store: Store) -> None:
    row = fake_measurement()
    store.add(row)
    assert store.add(row) == row
    again = replace(row, created_at=row.created_at + timedelta(hours=1), latency_us=1.0)
    assert store.add(again) == row
    assert store.query(with_log=True) == [row]


def test_the_caller_learns_whose_row_the_store_holds(store: Store) -> None:
    mine = fake_measurement(created_at=START + timedelta(seconds=5))
    theirs = fake_measurement(station="elsewhere")
    assert store.find(mine.key) is None
    store.add(fake_failure())
    assert store.find(mine.key) is None
    assert store.add(theirs) is theirs
    assert store.add(theirs) is theirs
    found = store.add(mine)
    assert (found.station, found.created_at) == ("elsewhere", theirs.created_at)
    failed = fake_failure(attempt=1)
    assert store.add(failed) is failed
    present = store.find(mine.key)
    assert present is not None and present.station == "elsewhere"


def test_a_failed_job_is_not_done_and_can_be_measured_again(store: Store) -> None:
    store.add(fake_failure(attempt=0))
    store.add(fake_failure(attempt=1))
    store.add(fake_failure(attempt=1))
    assert store.keys() == set()
    assert store.keys("demo") == set()
    row = fake_measurement(0, created_at=START + timedelta(hours=3))
    assert store.add(row) == row
    assert store.keys() == {row.key}
    assert store.keys("demo") == {row.key}
    assert store.done([row.key, key_of(1)]) == {row.key}
    assert store.done([key_of(number) for number in range(1001)]) == {row.key}
    assert store.done([]) == set()
    assert store.count(Filter(key=row.key)) == 3
    assert store.get(row.key) == row


def test_a_failure_after_success_is_kept_and_does_not_undo_it(store: Store) -> None:
    row = fake_measurement()
    store.add(row)
    store.add(fake_failure())
    assert store.count() == 2
    assert store.get(row.key) == row


def test_a_valid_row_supersedes_a_degraded_one_but_not_the_reverse(store: Store) -> None:
    degraded = fake_measurement(status=Status.DEGRADED, issues=("outputs-differ",))
    valid = fake_measurement(created_at=START + timedelta(hours=1))
    store.add(degraded)
    assert store.keys() == {degraded.key}
    assert store.keys(status=("valid",)) == set()
    assert store.add(valid) == valid
    assert store.get(valid.key) == valid
    assert store.count() == 2
    later = replace(degraded, created_at=START + timedelta(hours=2))
    assert store.add(later) == valid
    assert store.count() == 2


def test_filters_choose_rows(store: Store) -> None:
    for index in range(4):
        store.add(fake_measurement(index))
    store.add(fake_measurement(9, board="nucleo_f446re", campaign="other"))
    store.add(fake_failure(8))
    assert store.count(Filter(board="nucleo_f446re")) == 1
    assert store.count(Filter(campaign="demo")) == 5
    assert store.count(Filter(campaign=("demo", "other"), status=Status.VALID)) == 5
    assert store.count(Filter(status="invalid")) == 1
    assert store.count(Filter(campaign=())) == 0
    half = Filter(since=START + timedelta(seconds=1), until=START + timedelta(seconds=3))
    assert [row.sample_index for row in store.query(half)] == [1, 2]
    newest = store.query(Filter(campaign="demo", status="valid"), limit=2, newest_first=True)
    assert [row.sample_index for row in newest] == [3, 2]
    assert newest[0].layers == fake_measurement(3).layers
    assert store.query(limit=1, with_layers=False)[0].layers == ()


def test_a_stream_reads_in_chunks_what_a_query_returns(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.results.read.CHUNK", 2)
    for index in range(5):
        store.add(fake_measurement(index))
    rows = store.stream(with_layers=True, with_log=True)
    assert list(rows) == [fake_measurement(index) for index in range(5)]
    newest = store.stream(newest_first=True, limit=3)
    assert [row.sample_index for row in newest] == [4, 3, 2]
    store.stream().close()  # an iterator that is given up keeps nothing open
    unfinished = store.stream()
    next(unfinished)
    unfinished.close()
    store.add(fake_measurement(5))


def test_a_field_that_was_not_read_cannot_be_taken_for_unknown(store: Store) -> None:
    store.add(fake_measurement())
    (row,) = store.stream(columns=("status", "ops", "flags"))
    assert (row.status, row.ops, row.flags) == (Status.VALID, 2_000_000, ("-mcpu=cortex-m7",))
    with pytest.raises(AttributeError, match="latency_us"):
        _ = row.latency_us


def test_the_best_rows_of_some_jobs_come_in_their_order(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.results.store.CHUNK", 2)
    for index in range(6):
        store.add(fake_failure(index))
    store.add(fake_measurement(3))
    keys = [key_of(index) for index in (5, 3, 77, 0, 5)]
    rows = store.best(keys, with_layers=True)
    assert [row.key for row in rows] == [key_of(5), key_of(3), key_of(0)]
    assert replace(rows[1], raw_log=fake_measurement(3).raw_log) == fake_measurement(3)


def test_jobs_are_found_by_the_start_of_their_key(store: Store) -> None:
    keys = sorted(key_of(index) for index in range(40))
    for index in range(40):
        store.add(fake_measurement(index))
    store.add(fake_failure(0))
    assert store.keys_from(keys[0][:1]) == [key for key in keys if key[0] == keys[0][0]]
    assert store.keys_from(keys[3]) == [keys[3]]
    assert store.keys_from("x") == []


def test_a_status_or_source_that_does_not_exist_is_refused(store: Store) -> None:
    with pytest.raises(ResultsError, match="'vald'"):
        store.query(Filter(status="vald"))
    with pytest.raises(ResultsError, match="'virtual'"):
        store.count(Filter(source=("hardware", "virtual")))


def test_sql_in_a_name_is_only_a_name(store: Store) -> None:
    name = "'; DROP TABLE measurement; --"
    store.add(fake_measurement(campaign=name))
    assert store.count(Filter(campaign=name)) == 1
    assert store.keys(name) == {key_of(0)}


def test_opening_again_finds_the_rows_and_migrates_nothing(store: Store, url: str) -> None:
    store.add(fake_measurement())
    with Store.open(url, create=False) as again:
        assert again.count() == 1


def test_threads_share_a_store(store: Store) -> None:
    def work(first: int) -> None:
        for index in range(first, first + 5):
            store.add(fake_measurement(index))

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 5, 0, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count() == 10


_FILL = """
import sys
from harness.testing import fake_measurement
from harness.results.store import Store

with Store.open(sys.argv[1]) as store:
    for index in range(8):
        store.add(fake_measurement(index))
"""


def test_processes_may_create_and_fill_one_store_at_once(url: str) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", _FILL, url], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], said
    with Store.open(url, create=False) as store:
        assert store.count() == 8


def _varied() -> list[Measurement]:
    wild = "a\\ \x00 \ud800"
    return [
        *(fake_measurement(index, seed=2**62 + index) for index in range(3)),
        fake_measurement(3, model_name=wild, toolchain=wild, flags=(wild, "-x"), icache=None),
        fake_measurement(4, architecture=None, backbone=None, kernels_version="8.0.0"),
        fake_failure(5),
    ]


def test_a_table_has_the_cells_of_the_rows(store: Store) -> None:
    for row in _varied():
        store.add(row)
    columns = ("key", "status", "seed", "model_name", "latency_us", "network")
    read, made = store.table(EVERYTHING, columns), table_of(_varied(), columns)
    everything = (*columns, "configuration")
    assert list(read.lines(*everything)) == list(made.lines(*everything))
    assert read.configurations == made.configurations and len(read) == 6
    assert store.table(EVERYTHING, ("architecture",))["architecture"][4] is None
    assert len(store.table(Filter(campaign="none"), columns)) == 0


def test_rows_of_an_older_store_get_their_identity(url: str) -> None:
    columns = ("key", "network")
    with Store.open(url) as store:
        for row in _varied():
            store.add(row)
        today = list(store.table(EVERYTHING, columns).lines(*columns, "configuration"))
        with store._begin(write=True) as connection:
            for name in ("network", "configuration"):
                connection.exec_driver_sql(f"ALTER TABLE measurement DROP COLUMN {name}")
            for index in ("uq_measurement_done", "ix_measurement_run"):
                connection.exec_driver_sql(f"DROP INDEX {index}")
            for name in ("run", "repetition"):
                connection.exec_driver_sql(f"ALTER TABLE measurement DROP COLUMN {name}")
            connection.exec_driver_sql(
                "CREATE UNIQUE INDEX uq_measurement_done ON measurement (key, status) "
                "WHERE status <> 'invalid'"
            )
            for name in ("bench_station", "campaign_run", "station_health"):
                connection.exec_driver_sql(f"DROP TABLE {name}")
            connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = 'v1'")
    with Store.open(url) as store:
        assert [row[0] for row in today] == [row.key for row in store.query()]
        assert list(store.table(EVERYTHING, columns).lines(*columns, "configuration")) == today
        assert store.query(with_log=True) == _varied()


def test_a_row_that_an_older_harness_adds_keeps_its_facts(store: Store) -> None:
    for row in _varied():
        store.add(row)
    known = store.table(EVERYTHING, ("key",))
    with store._begin(write=True) as connection:
        connection.exec_driver_sql("UPDATE measurement SET configuration = NULL WHERE id > 2")
    read = store.table(EVERYTHING, ("key",))
    for name in ("board", "flags", "kernels_version", "icache"):
        assert read.facts(name) == known.facts(name)


def test_the_newest_word_on_a_station_counts(store: Store) -> None:
    def state(name: str, seconds: int, key: str = "a" * 24) -> StationState:
        return StationState(
            key=key, name=name, board="nucleo_f746zg", probe="0669", host="lab", state="disabled",
            code="capture", reason="silent \x00", since=START + timedelta(seconds=seconds),
        )  # fmt: skip

    assert store.stations() == []
    store.note_station(state("first", 5))
    store.note_station(state("older", 4))
    assert store.stations() == [state("first", 5)]
    store.note_station(state("newer", 6))
    store.note_station(state("another", 0, "b" * 24))
    assert store.stations() == [state("another", 0, "b" * 24), state("newer", 6)]


CONTRACT: dict[str, Callable[..., None]] = {
    name: value for name, value in dict(globals()).items() if name.startswith("test_")
}


def test_a_job_is_done_once_in_each_repetition(store: Store) -> None:
    first = fake_measurement()
    later = first.created_at + timedelta(hours=1)
    night = replace(first, run="night", repetition="night", created_at=later)
    assert store.add(first) is first
    assert store.add(night) is night
    twice = replace(night, created_at=later + timedelta(hours=1))
    assert store.add(twice) == night
    assert store.done([first.key]) == store.done([first.key], repetition="night") == {first.key}
    assert store.done([first.key], repetition="another") == set()
    assert store.find(first.key, repetition="") is not None
    assert store.find(first.key, repetition="another") is None
    assert [row.run for row in store.query(Filter(run="night"))] == ["night"]
    newest = replace(night, run="b", repetition="b", created_at=twice.created_at)
    store.add(newest)
    assert [row.run for row in store.best([first.key])] == ["b"]
    assert [row.run for row in store.best([first.key], run="night")] == ["night"]


def test_runs_are_kept_and_found(store: Store) -> None:
    assert store.runs() == []
    first = fake_run("2026-a")
    store.note_run(first)
    ended = replace(first, ended_at=START, outcome="failed", invalid=2, notes=("no board \x00",))
    store.note_run(ended)
    second = replace(fake_run("2026-b"), started_at=START + timedelta(days=1), campaign="other")
    store.note_run(second)
    assert store.runs() == [second, ended]
    assert store.runs("demo") == [ended]
    assert store.runs(limit=1) == [second]
    assert store.run("2026-a") == ended
    with pytest.raises(ConfigError, match="2 runs have an id that begins with '2026'"):
        store.run("2026")
    with pytest.raises(ConfigError, match="no run has an id"):
        store.run("x")


def test_what_a_run_found_of_a_station_is_kept(store: Store) -> None:
    found = StationHealth(
        run="2026-a", station="bench-1", board="nucleo_f746zg", source="emulated",
        checked_at=START, verdict="ok", what="as before", facts={"cycles": 5, "clock_ppm": 3.5},
    )  # fmt: skip
    store.note_health(found)
    worse = replace(found, verdict="error", what="the counter stands still")
    store.note_health(worse)
    assert store.health() == store.health("2026-a") == [worse]
    assert store.health("another") == []


def fake_run(number: str) -> Run:
    return Run(
        id=number, campaign="demo", campaign_sha256="0" * 64, started_at=START, host="lab",
        user="nobody", harness_version="1", repeat="",
        stations={"bench-1": {"rows": 2}},
    )  # fmt: skip
