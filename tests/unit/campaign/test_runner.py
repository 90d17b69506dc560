"""How a campaign goes on when something fails; the stages themselves are replaced."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from harness.bench import Station, virtual_bench
from harness.bench.disabled import check_enabled, enable
from harness.boards import load_board
from harness.campaign import runner
from harness.campaign.config import MeasureOptions
from harness.campaign.plan import Job
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

    def open(self, station: Station) -> Session:
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
            station = virtual_bench().station(f"virtual-{board}")
            key = f"{index:08x}{sorted(('nucleo_f746zg', board)).index(board):056x}"
            spec = ModelSpec(f"net{index}", 0, path=Path(f"net{index}.tflite"), sha256=str(index))
            found.append(
                Job(
                    key, station, load_board(board), spec, RuntimeOptions(), BuildOptions(),
                    MeasureOptions(),
                )
            )  # fmt: skip
    return found


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
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
        return job

    def run_job(job: Job, session: Session, *, campaign: str | None) -> Any:
        failure = bench.fail.get(f"{job.spec.name} {job.board.id}") or bench.fail.get(job.spec.name)
        bench.attempts[job.spec.name] += 1
        if bench.attempts[job.spec.name] > bench.passes_after:
            failure = None
        if failure is not None:
            session.broken = not isinstance(failure, DeviceError)
            raise failure
        bench.measured.append(job.spec.name)
        return fake_measurement(len(bench.measured), key=job.key, board=job.board.id)

    monkeypatch.setattr(runner, "pause_s", lambda failure, attempt: 0.0)
    monkeypatch.setattr(runner, "Converter", Converter)
    monkeypatch.setattr(runner, "build_job", build)
    monkeypatch.setattr(runner, "run_job", run_job)
    return bench


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with open_store(tmp_path / "rows.sqlite") as opened:
        yield opened


def run(todo: list[Job], store: Store, bench: Bench) -> tuple[runner.Summary, Listener]:
    listener = Listener()
    summary = runner.run(todo, store, campaign="c", listener=listener, open_session=bench.open)
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
    enable(out)
    check_enabled(out)


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
    original = runner._Pipeline._put
    calls = []

    def interrupted(self: Any, station: str, item: Any) -> None:
        calls.append(item)
        if len(calls) == 8:
            raise KeyboardInterrupt
        original(self, station, item)

    monkeypatch.setattr(runner._Pipeline, "_put", interrupted)
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
    measure = runner.run_job
    monkeypatch.setattr(runner, "build_job", lambda job, prepared: Kept(job))
    monkeypatch.setattr(
        runner,
        "run_job",
        lambda built, session, campaign: measure(built.job, session, campaign=campaign),
    )
    summary, _ = run(jobs(60), store, bench)
    assert summary.statuses["valid"] == 60
    assert max(most) <= 2 * runner._LOOKAHEAD
    assert len(alive) == 0
