"""Check stations before a night: does the golden model give what it gave before?

The model is DS-CNN (S) of MLPerf Tiny's keyword spotting, measured like any other, so a check
covers probe, flash (which is read back), console, clock, counter and arithmetic.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from harness.backbones import get_named
from harness.bench import Bench, Station
from harness.campaign.config import MeasureOptions
from harness.campaign.crew import Crew, LocalCrew
from harness.campaign.health import agree, tell
from harness.campaign.needs import Needs
from harness.campaign.plan import Job
from harness.campaign.retry import policy_for
from harness.campaign.specs import ModelSpec
from harness.capture.session import BoardSession
from harness.errors import CaptureError, HarnessError
from harness.firmware import BuildOptions
from harness.results.record import Measurement, StationHealth
from harness.runtimes import RuntimeOptions

if TYPE_CHECKING:
    from harness.results.store import Store

BAND = 0.005
"""Share by which cycles of the golden model may differ from the median of the earlier nights."""
_NIGHTS = 10  # of that median
_SEED = 2021
_MEASURE = MeasureOptions(warmup=1, repeats=3, layers=False)


def golden_job(station: Station) -> Job:
    """Return the job that checks a station."""
    spec = ModelSpec("ds-cnn-s", _SEED, get_named("ds-cnn-s").architecture)
    return Job.of(Needs.of(station), spec, RuntimeOptions(), BuildOptions(), _MEASURE)


def check_stations(
    stations: Sequence[Station], where: Bench | Crew, store: Store, *, run: str
) -> list[StationHealth]:
    """Measure the golden model on each station, side by side; store and return what was found.

    A station that cannot be measured on is an error, and so is one whose outputs differ from the
    host's; it is disabled where it is the cause. Cycles outside the band are a warning, and so is a
    clock that is not the crystal's.
    """
    if isinstance(where, Bench):
        agree(stations, store)
        where = LocalCrew(where)
    crew = where
    earlier = store.health()
    lock = threading.Lock()
    with crew, ThreadPoolExecutor(max(1, len(stations)), thread_name_prefix="check") as benches:
        jobs = [golden_job(station) for station in stations]
        crew.count(jobs)
        built = {job.key: crew.build([job], lambda _: None) for job in jobs}

        def look(station: Station, job: Job) -> StationHealth:
            place = crew.place(station)
            try:
                place.open()
                report = place.measure(built[job.key].result(), campaign=None)
                failure = report.failure or _wrong(report.row)
                if failure is not None and policy_for(failure).counts_against_station:
                    tell(station, place.disable(failure), store)
                found = _judged(station, job, report.row, failure, run, earlier)
            except HarnessError as failure:
                found = _health(station, run, "error", failure.what, {"code": failure.code})
            finally:
                place.close()
            with lock:
                store.note_health(found)
            return found

        return list(benches.map(look, stations, jobs))


def try_again(station: Station) -> HarnessError | None:
    """Measure the golden model on a station, disabled or not; return what is wrong, if anything.

    That repeats whatever a station is disabled for: flashing, an answer in time, counter and clock.
    The station's power is switched before it is given up, where it has a command for that.
    """
    crew = LocalCrew(Bench(stations=(station,)), partial(BoardSession.open, although_disabled=True))
    try:
        with crew:
            job = golden_job(station)
            crew.count([job])
            built = crew.build([job], lambda _: None)
            with closing(crew.place(station)) as place:
                place.open()
                report = place.measure(built.result(), campaign=None)
                return report.failure or _wrong(report.row)
    except HarnessError as failure:
        return failure


def _judged(
    station: Station,
    job: Job,
    row: Measurement,
    failure: HarnessError | None,
    run: str,
    earlier: Iterable[StationHealth],
) -> StationHealth:
    if failure is not None:
        return _health(station, run, "error", failure.what, {"code": failure.code})
    cycles = median(row.cycles)
    facts: dict[str, Any] = {
        "golden": job.key,
        "cycles": cycles,
        "latency_us": row.latency_us,
        "bit_exact": row.bit_exact,
        "clock_hz": row.clock_hz,
        "clock_source": row.clock_source,
    }
    before = [
        one.facts["cycles"]
        for one in earlier
        if one.station == station.name and one.facts.get("golden") == job.key and one.run != run
    ][-_NIGHTS:]
    words = [f"golden model bit-exact, {cycles:,.0f} cycles"]
    verdict = "ok"
    if before:
        facts["ratio"] = round(cycles / median(before), 6)
        words.append(f"{100 * (facts['ratio'] - 1):+.2f} % from the nights before")
        if abs(facts["ratio"] - 1) > BAND:
            verdict = "warning"
    if row.issues:
        verdict = "warning"
        words.append(" ".join(row.issues))
    return _health(station, run, verdict, ", ".join(words), facts)


def _wrong(row: Measurement) -> HarnessError | None:
    if row.bit_exact:
        return None
    differing, total = row.output_bytes_differing, row.output_bytes_total
    return CaptureError(f"{differing} of the golden model's {total} output bytes differ")


def _health(
    station: Station, run: str, verdict: str, what: str, facts: dict[str, Any]
) -> StationHealth:
    return StationHealth(
        run=run,
        station=station.name,
        board=station.board,
        source=station.source,  # type: ignore[arg-type]  # its value
        checked_at=datetime.now(UTC),
        verdict=verdict,
        what=what,
        facts=facts,
    )
