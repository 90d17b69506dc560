"""How a campaign goes on when something fails; the stages themselves are replaced."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.bench import Bench as Stations
from harness.bench import Station, virtual_bench
from harness.bench.disabled import check_enabled, enable
from harness.boards import load_board
from harness.campaign import crew, places, runner
from harness.campaign.config import MeasureOptions
from harness.campaign.ledger import Summary
from harness.campaign.needs import Needs
from harness.campaign.plan import Job
from harness.campaign.pool import LOOKAHEAD, Pool
from harness.campaign.runs import Repeats
from harness.campaign.specs import ModelSpec
from harness.errors import (
    ArenaTooSmall,
    CaptureTimeout,
    CoreFault,
    CounterError,
    DeviceError,
    FlashError,
    HarnessError,
    ModelError,
    ProbeNotFound,
    StackOverflow,
    StationDisabled,
    StationLocked,
    TargetMismatch,
    ToolchainMissing,
)
from harness.firmware import BuildOptions
from harness.results import open_store
from harness.results.store import Store
from harness.runtimes import RuntimeOptions
from harness.testing import fake_measurement

Outcome = Callable[[int], None]


class Session:
    """A station that measures in no time, and fails where the test says."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.broken = False
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Bench:
    """Everything that a run opened and what came of it."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.fail: dict[str, Exception] = {}
        self.measured: list[str] = []
        self.attempts: Counter[str] = Counter()
        self.passes_after = 1000
        self.before: Callable[[], object] = lambda: None  # called before each attempt
        self.busy: set[str] = set()
        self.free_after = 1000

    def open(self, station: Station) -> Session:
        if station.name in self.busy:
            self.free_after -= 1
            if self.free_after >= 0:
                raise StationLocked(f"{station.name} is used by process 7")
        session = Session(station)
        self.sessions.append(session)
        return session


class Listener:
    def __init__(self) -> None:
        self.failures: list[str] = []
        self.out: list[tuple[str, int]] = []

    def started(self, planned: int, done_before: int) -> None:
        self.planned = (planned, done_before)

    def finished(self, job: Job, row: Any, failure: Any) -> None:
        if failure is not None:
            self.failures.append(f"{job.spec.name}: {failure.code}")

    def station_failed(self, station: Station, failure: Any, left: int) -> None:
        self.out.append((station.name, left))


def jobs(count: int, *boards: str) -> list[Job]:
    found = []
    for index in range(count):
        for board in boards or ("nucleo_f746zg",):
            needs = Needs.of(virtual_bench().station(f"virtual-{board}"))
            key = f"{index:08x}{('nucleo_f746zg', 'nucleo_f446re').index(board):056x}"
            spec = ModelSpec(f"net{index}", 0, path=Path(f"net{index}.tflite"), sha256=str(index))
            found.append(
                Job(
                    key, needs, load_board(board), spec, RuntimeOptions(), BuildOptions(),
                    MeasureOptions(),
                )
            )  # fmt: skip
    return found


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    # Stations that are disabled here are not those of other tests.
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    bench = Bench()

    class Converter:
        def __enter__(self) -> Converter:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, spec: ModelSpec) -> Future[str]:
            future: Future[str] = Future()
            future.set_result(spec.name)
            return future

        def result(self, spec: ModelSpec, future: Future[str]) -> str:
            return future.result()

    def build(job: Job, prepared: str) -> Any:
        failure = bench.fail.get(f"build {job.spec.name}")
        if failure is not None:
            raise failure
        return SimpleNamespace(job=job)

    def run_job(built: Any, session: Session, station: Station, *, campaign: str | None) -> Any:
        job, name = built.job, built.job.spec.name
        asked = (f"{name} {station.name}", f"{name} {job.board.id}", name)
        failure = next((bench.fail[each] for each in asked if each in bench.fail), None)
        bench.attempts[job.spec.name] += 1
        bench.before()
        if bench.attempts[job.spec.name] > bench.passes_after:
            failure = None
        if failure is not None:
            session.broken = not isinstance(failure, DeviceError)
            raise failure
        bench.measured.append(job.spec.name)
        return fake_measurement(
            len(bench.measured), key=job.key, board=job.board.id, station=station.name
        )

    monkeypatch.setattr(runner, "_BUSY_S", 0.01)
    monkeypatch.setattr(places, "pause_s", lambda failure, attempt: 0.0)
    monkeypatch.setattr(crew, "Converter", Converter)
    monkeypatch.setattr(crew, "build_job", build)
    monkeypatch.setattr(places, "run_job", run_job)
    return bench


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with open_store(tmp_path / "rows.sqlite") as opened:
        yield opened


def test_a_run_measures_again_what_it_repeats_and_once(store: Store, bench: Bench) -> None:
    run(jobs(4), store, bench)
    again = Repeats("night-1", frozenset(job.key for job in jobs(2)))
    summary, _ = run(jobs(5), store, bench, repeats=again)
    assert (summary.skipped, summary.statuses["valid"]) == (2, 3)
    assert Counter(row.run for row in store.query()) == {None: 4, "night-1": 3}
    assert Counter(row.repetition for row in store.query()) == {"": 5, "night-1": 2}
    # Killed and started again, it goes on where it was.
    assert run(jobs(5), store, bench, repeats=again)[0].skipped == 5
    summary, _ = run(jobs(2), store, bench, repeats=replace(again, run="night-2"))
    assert summary.statuses["valid"] == 2


def run(
    todo: list[Job],
    store: Store,
    bench: Bench,
    on: Stations | None = None,
    wait_s: float = 0.0,
    repeats: Repeats | None = None,
) -> tuple[Summary, Listener]:
    listener = Listener()
    summary = runner.run(
        todo, on or virtual_bench(), store, campaign="c", listener=listener, wait_s=wait_s,
        open_session=bench.open, repeats=repeats,
    )  # fmt: skip
    return summary, listener


def test_all_rows_are_stored_and_one_session_serves_them(store: Store, bench: Bench) -> None:
    summary, _ = run(jobs(9), store, bench)
    assert (summary.statuses["valid"], store.count()) == (9, 9)
    assert len(bench.sessions) == 1 and bench.sessions[0].closed


def test_finished_jobs_are_not_measured_again(store: Store, bench: Bench) -> None:
    run(jobs(4), store, bench)
    bench.measured.clear()
    summary, listener = run(jobs(6), store, bench)
    assert listener.planned == (6, 4)
    assert (bench.measured, summary.skipped) == (["net4", "net5"], 4)


def test_a_failed_build_is_an_invalid_row_and_tried_again_next_time(
    store: Store, bench: Bench
) -> None:
    bench.fail["build net1"] = ModelError("no")
    summary, listener = run(jobs(3), store, bench)
    assert dict(summary.statuses) == {"valid": 2, "invalid": 1}
    assert listener.failures == ["net1: model"]
    bench.fail.clear()
    assert run(jobs(3), store, bench)[0].statuses["valid"] == 1


def test_a_broken_session_is_replaced(store: Store, bench: Bench) -> None:
    bench.fail["net1"] = CaptureTimeout("silent", raw_log="> hil-id%\n")
    summary, _ = run(jobs(3), store, bench)
    assert dict(summary.statuses) == {"valid": 2, "invalid": 1}
    # Three attempts, each on a session of its own, and one for what comes after.
    assert len(bench.sessions) == 4 and all(session.closed for session in bench.sessions)
    assert summary.retries["timeout"] == 2
    failed = store.get(jobs(2)[1].key)
    assert failed is not None and (failed.raw_log or "").startswith("> hil-id%")


def test_a_crash_of_the_firmware_keeps_the_session(store: Store, bench: Bench) -> None:
    bench.fail["net1"] = DeviceError("hardfault")
    run(jobs(3), store, bench)
    assert len(bench.sessions) == 1


def test_a_station_that_is_out_does_not_stop_the_others(store: Store, bench: Bench) -> None:
    bench.fail["net2 nucleo_f446re"] = ProbeNotFound("gone")
    summary, listener = run(jobs(6, "nucleo_f746zg", "nucleo_f446re"), store, bench)
    assert summary.statuses["valid"] == 6 + 2
    assert summary.not_run == 4
    assert listener.out == [("virtual-nucleo_f446re", 4)]
    assert isinstance(summary.bench_failure, ProbeNotFound)


def test_a_failure_that_passes_leaves_a_valid_row_that_tells_of_it(
    store: Store, bench: Bench
) -> None:
    bench.fail["net1"] = CaptureTimeout("silent")
    bench.passes_after = 2
    summary, listener = run(jobs(3), store, bench)
    assert summary.statuses["valid"] == 3 and not listener.failures
    row = store.get(jobs(2)[1].key)
    assert row is not None and (row.raw_log or "").startswith("(attempt 1, error[timeout]: silent)")


@pytest.mark.parametrize(
    ("failure", "attempts"),
    [
        (CaptureTimeout("t"), 3), (FlashError("f"), 3), (CoreFault("c"), 2),
        (StackOverflow("s"), 1), (ArenaTooSmall("a"), 1), (ProbeNotFound("p"), 5),
        (StationLocked("l"), 1), (TargetMismatch("m"), 1), (CounterError("n"), 2),
    ],
)  # fmt: skip
def test_each_kind_of_failure_is_tried_as_often_as_it_deserves(
    store: Store, bench: Bench, failure: HarnessError, attempts: int
) -> None:
    bench.fail["net0"] = failure
    run(jobs(1), store, bench)
    assert bench.attempts["net0"] == attempts


def test_a_station_that_keeps_failing_is_disabled_and_the_others_go_on(
    store: Store, bench: Bench
) -> None:
    for index in range(6):
        bench.fail[f"net{index} nucleo_f446re"] = CaptureTimeout("silent")
    todo = jobs(6, "nucleo_f746zg", "nucleo_f446re")
    summary, listener = run(todo, store, bench)
    assert dict(summary.statuses) == {"valid": 6, "invalid": 3}
    assert listener.out == [("virtual-nucleo_f446re", 3)]
    out = virtual_bench().station("virtual-nucleo_f446re")
    with pytest.raises(StationDisabled, match=r"silent \(error\[timeout\]\)"):
        check_enabled(out)
    check_enabled(virtual_bench().station("virtual-nucleo_f746zg"))
    (told,) = store.stations()  # for the other hosts
    assert (told.name, told.state, told.code) == (out.name, "disabled", "timeout")
    enable(out)
    check_enabled(out)


def shelf(count: int, board: str = "nucleo_f746zg") -> Stations:
    """Return a bench of equal stations."""
    return Stations(
        stations=tuple(
            Station(
                name=f"desk{number}",
                board=board,
                probe=f"virtual:{board}#{number}",
                serial=f"virtual://{board}#{number}",
            )
            for number in range(1, count + 1)
        )
    )


def test_equal_stations_share_the_jobs_and_each_is_done_once(store: Store, bench: Bench) -> None:
    together = threading.Barrier(3)
    bench.before = lambda: bench.attempts.total() <= 3 and together.wait(10)
    summary, _ = run(jobs(12), store, bench, shelf(3))
    assert (summary.statuses["valid"], len(bench.measured), store.count()) == (12, 12, 12)
    assert set(summary.stations) == {"desk1", "desk2", "desk3"}
    assert {row.station: 1 for row in store.query()} == {f"desk{n}": 1 for n in (1, 2, 3)}


def test_a_station_that_goes_hands_its_job_to_the_others(store: Store, bench: Bench) -> None:
    for index in range(6):
        bench.fail[f"net{index} desk1"] = ProbeNotFound("gone")
    summary, listener = run(jobs(6), store, bench, shelf(2))
    assert (summary.statuses["valid"], summary.not_run) == (6, 0)
    assert listener.out in (
        [],
        [("desk1", 0)],
    )  # desk2 may be so quick that desk1 has nothing to do


def test_without_a_station_the_jobs_are_not_run(store: Store, bench: Bench) -> None:
    bench.fail |= {f"net{index}": ProbeNotFound("gone") for index in range(30)}
    summary, listener = run(jobs(30), store, bench, shelf(2))
    assert (summary.not_run, store.count()) == (30, 0)
    assert sum(left for _, left in listener.out) == 30


def test_a_job_that_a_bad_station_fails_is_tried_on_another(store: Store, bench: Bench) -> None:
    bench.fail |= {f"net{index} desk1": CaptureTimeout("silent") for index in range(9)}
    together = threading.Barrier(2)
    bench.before = lambda: bench.attempts.total() <= 2 and together.wait(10)
    summary, listener = run(jobs(9), store, bench, shelf(2))
    assert dict(summary.statuses) == {"valid": 9}
    assert set(summary.stations) == {"desk2"} and not listener.failures
    told = [row for row in store.query(with_log=True) if "(on desk1, error[timeout]" in row.raw_log]
    assert told
    assert summary.retries["timeout"] == 3 * len(told)


def test_a_job_that_fails_on_two_stations_is_invalid_and_ends_there(
    store: Store, bench: Bench
) -> None:
    bench.fail["net1"] = CaptureTimeout("silent")
    summary, listener = run(jobs(6), store, bench, shelf(3))
    assert dict(summary.statuses) == {"valid": 5, "invalid": 1}
    assert listener.failures == ["net1: timeout"]
    assert bench.attempts["net1"] == 6


def test_a_busy_station_is_waited_for_while_the_others_go_on(
    store: Store, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.busy = {"desk1"}
    run(jobs(6), store, bench, shelf(2), wait_s=60)  # ends although desk1 stays busy
    assert {row.station for row in store.query()} == {"desk2"}
    bench.free_after = 2
    summary, listener = run(jobs(9), store, bench, shelf(1), wait_s=60)
    assert (summary.statuses["valid"], summary.not_run, listener.out) == (3, 0, [])
    assert caplog.text.count("waiting: desk1 is used by process 7") >= 1


def test_a_busy_station_is_given_up_at_once_unless_asked(store: Store, bench: Bench) -> None:
    bench.busy = {"desk1"}
    summary, listener = run(jobs(3), store, bench, shelf(1))
    assert (summary.not_run, listener.out) == (3, [("desk1", 3)])
    assert isinstance(summary.bench_failure, StationLocked)


def test_jobs_that_another_process_measures_meanwhile_are_not_ours(
    store: Store, bench: Bench
) -> None:
    todo = jobs(6)

    def meanwhile() -> None:
        if bench.attempts.total() == 1:  # the first is being measured, the others are not begun
            for number, job in enumerate(todo):
                store.add(fake_measurement(50 + number, key=job.key, station="theirs"))

    bench.before = meanwhile
    summary, _ = run(todo, store, bench, shelf(1))
    assert (summary.elsewhere, summary.measured, store.count()) == (6, 0, 6)
    assert bench.measured == ["net0"]  # measured in vain, and not counted
    assert {row.station for row in store.query()} == {"theirs"}


def test_networks_that_crash_do_not_speak_against_the_station(store: Store, bench: Bench) -> None:
    for index in range(5):
        bench.fail[f"net{index}"] = CoreFault("hardfault")
    summary, _ = run(jobs(6), store, bench)
    assert dict(summary.statuses) == {"valid": 1, "invalid": 5}


def test_no_compiler_ends_the_run_at_once(store: Store, bench: Bench) -> None:
    bench.fail["build net2"] = ToolchainMissing("no gcc")
    with pytest.raises(ToolchainMissing):
        run(jobs(30), store, bench)
    assert store.count() == 2


def test_a_bug_in_a_station_thread_is_not_swallowed(store: Store, bench: Bench) -> None:
    bench.fail["net3"] = ZeroDivisionError("bug")
    with pytest.raises(ZeroDivisionError):
        run(jobs(30), store, bench)
    assert store.count() == 3


def test_interrupt_keeps_what_is_finished(
    store: Store, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Pool.put
    calls = []

    def interrupted(self: Any, job: Job, built: Any) -> None:
        calls.append(job)
        if len(calls) == 8:
            raise KeyboardInterrupt
        original(self, job, built)

    monkeypatch.setattr(Pool, "put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(jobs(30), store, bench)
    assert bench.sessions[0].closed
    assert store.count() == len(bench.measured) < 30


def test_a_long_campaign_keeps_no_more_images_and_rows_than_a_short_one(
    store: Store, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kept:
        """An image or a row, as far as the run is concerned."""

        def __init__(self, job: Job) -> None:
            self.job = job
            alive.add(self)
            most.append(len(alive))

    alive: weakref.WeakSet[Kept] = weakref.WeakSet()
    most: list[int] = []
    measure = places.run_job
    monkeypatch.setattr(crew, "build_job", lambda job, prepared: Kept(job))
    monkeypatch.setattr(
        places,
        "run_job",
        lambda built, session, station, campaign: measure(
            built, session, station, campaign=campaign
        ),
    )
    summary, _ = run(jobs(60), store, bench)
    assert summary.statuses["valid"] == 60
    assert max(most) <= 2 * LOOKAHEAD
    assert len(alive) == 0
