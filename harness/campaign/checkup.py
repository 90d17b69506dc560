"""Check stations before a night: does the golden model give what it gave before?

The model is DS-CNN (S) of MLPerf Tiny's keyword spotting, measured like any other, so a check
covers probe, flash (which is read back), console, clock, counter and arithmetic.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from harness.backbones import get_named
from harness.bench import Bench, Station
from harness.campaign.config import MeasureOptions
from harness.campaign.crew import Crew, LocalCrew
from harness.campaign.needs import Needs
from harness.campaign.places import Place
from harness.campaign.plan import Job
from harness.campaign.retry import policy_for
from harness.campaign.specs import ModelSpec
from harness.capture.session import BoardSession
from harness.errors import BenchError, CaptureError, HarnessError
from harness.firmware import BuildOptions
from harness.results.record import Measurement, Source, StationHealth
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


class Checkup:
    """Measures the golden model on each place of a run before its first job.

    A station that cannot be measured on is an error, and so is one whose outputs differ from the
    host's; it is disabled where it is the cause. Cycles outside the band are a warning, and so is a
    clock that is not the crystal's. What is found is stored.

    Args:
        store: Where it goes, and what the nights before found.
        run: Id of the run.
    """

    def __init__(self, store: Store, run: str) -> None:
        self._store, self._run = store, run
        self._earlier = store.health()
        self._lock = threading.Lock()
        self._built: dict[str, Future[Any]] = {}
        self._found: dict[str, StationHealth] = {}
        self._begun: set[str] = set()

    @property
    def found(self) -> list[StationHealth]:
        """What was found, by name of the station."""
        return [self._found[name] for name in sorted(self._found)]

    def build(self, stations: Iterable[Station], crew: Crew) -> None:
        """Start building the golden model for these stations."""
        for station in stations:
            job = golden_job(station)
            if job.key not in self._built:
                self._built[job.key] = crew.build([job], lambda _: None)

    def look(self, place: Place) -> None:
        """Check a place that is open; raise `StationDisabled` if its station is sick."""
        station = place.station
        with self._lock:
            if station.name in self._begun:
                return  # another copy of it
            self._begun.add(station.name)
        job = golden_job(station)
        try:
            report = place.measure(self._built[job.key].result(), campaign=None)
        except BenchError:
            raise
        except HarnessError as failure:  # it was not built: no verdict on the station
            self._note(station, "warning", f"not checked: {failure.what}", {"code": failure.code})
            return
        wrong = report.failure or _wrong(report.row)
        if wrong is None:
            self._note(station, *self._judge(station, job, report.row))
            return
        self._note(station, "error", wrong.what, {"code": wrong.code, "golden": job.key})
        if policy_for(wrong).counts_against_station:
            raise place.disable(wrong)

    def failed(self, station: Station, failure: HarnessError) -> None:
        """Note why a station is used no more; what its check found first stays."""
        if station.name not in self._found:
            self._note(station, "error", failure.what, {"code": failure.code})

    def _judge(
        self, station: Station, job: Job, row: Measurement
    ) -> tuple[str, str, dict[str, Any]]:
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
            for one in self._earlier
            if one.station == station.name
            and one.facts.get("golden") == job.key
            and "cycles" in one.facts
            and one.run != self._run
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
        return verdict, ", ".join(words), facts

    def _note(self, station: Station, verdict: str, what: str, facts: dict[str, Any]) -> None:
        found = StationHealth(
            run=self._run,
            station=station.name,
            board=station.board,
            source=Source(station.source),
            checked_at=datetime.now(UTC),
            verdict=verdict,
            what=what,
            facts=facts,
        )
        with self._lock:
            self._found[station.name] = found
            self._store.note_health(found)


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


def _wrong(row: Measurement) -> HarnessError | None:
    if row.bit_exact:
        return None
    differing, total = row.output_bytes_differing, row.output_bytes_total
    return CaptureError(f"{differing} of the golden model's {total} output bytes differ")
