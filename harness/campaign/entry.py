"""Two ways in: measure one model, or run a campaign; the command line and the Python API use both.

Nothing here prints. Progress goes to a `Listener`, or to a `Step` around each step of one model.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.bench import Bench, Station
from harness.cache import bound_bytes
from harness.campaign.checkup import Checkup
from harness.campaign.config import CampaignConfig
from harness.campaign.crew import Crew
from harness.campaign.health import agree
from harness.campaign.ledger import Listener, Summary
from harness.campaign.measure import Built, build_job, run_job
from harness.campaign.outcome import Outcome, write_outcome
from harness.campaign.plan import Job, plan
from harness.campaign.prepare import prepare
from harness.campaign.runner import run
from harness.campaign.runs import Again, RunBook, new_id, recorded
from harness.errors import BenchError, StationLocked
from harness.firmware.toolchain import ensure_toolchain
from harness.results.record import Measurement, Run

if TYPE_CHECKING:
    from harness.capture.session import BoardSession
    from harness.results.store import Store

_LOG = logging.getLogger(__name__)

_BUSY_S = 0.5  # poll interval for a station that another process uses

Step = Callable[[str], AbstractContextManager[object]]
"""Makes a context for a step from its description, e.g. to show a spinner."""


class SilentListener:
    """A `Listener` that shows nothing."""

    def started(self, *_: object, **__: object) -> None:
        """Ignore it."""

    finished = station_failed = started


@dataclass(frozen=True, slots=True)
class CampaignResult:
    """What a campaign did, found and wrote.

    Attributes:
        name: Name that its rows carry.
        summary: Jobs planned, measured before, valid, degraded, invalid and left undone.
        outcome: Rows, fits, files and notes.
        store: Address of the results store, without its password.
        run: What the store keeps of it.
    """

    name: str
    summary: Summary
    outcome: Outcome
    store: str
    run: Run


def plan_now(
    config: CampaignConfig, bench: Bench, *, missing: list[str] | None = None
) -> tuple[Job, ...]:
    """Return the jobs of a campaign that is to run at once; like `plan`, and needs a compiler."""
    bound_bytes()  # a wrong setting ends the run before it begins
    ensure_toolchain()
    return plan(config, bench, missing=missing)


def measure_job(
    job: Job, bench: Bench, store: Store, *, again: bool, step: Step, wait_s: float = 0.0
) -> tuple[Measurement, bool]:
    """Return a job's row, and whether it was measured now, in this process.

    A usable row of the store is returned as it is, unless `again` is set. Otherwise the first free
    station that fits measures it. Raises any stage's error; nothing is stored then.
    """
    row = None if again else store.get(job.key)
    if row is not None and row.usable:
        return row, False
    stations = job.needs.find(bench)
    agree(stations, store)
    built = build_now(job, step)
    station, session = open_free(stations, step, wait_s)
    with session, step(f"measuring on {station.name}"):
        row = run_job(built, session, station, campaign=None)
    if again:  # else the store would keep the row that it has
        row = replace(row, repetition=new_id(row.created_at))
    store.add(row)
    return row, True


def open_free(
    stations: Sequence[Station], step: Step, wait_s: float
) -> tuple[Station, BoardSession]:
    """Open a session on the first of these stations that is ready and in no other process's use.

    A station in use is waited for, at most `wait_s` seconds, where no other is ready. Raises the
    `BenchError` of the first station otherwise.
    """
    deadline = time.monotonic() + wait_s
    found = _first_free(stations)
    if isinstance(found, StationLocked) and wait_s > 0:
        with step(f"waiting: {found.what}"):
            while isinstance(found, StationLocked) and time.monotonic() < deadline:
                time.sleep(_BUSY_S)
                found = _first_free(stations)
    if isinstance(found, BenchError):
        raise found
    return found


def _first_free(stations: Sequence[Station]) -> tuple[Station, BoardSession] | BenchError:
    from harness.capture.session import BoardSession

    failures: list[BenchError] = []
    for station in stations:
        try:
            return station, BoardSession.open(station)
        except BenchError as failure:
            failures.append(failure)
            if len(stations) > 1:
                _LOG.warning("%s", failure.what)
    return next((one for one in failures if isinstance(one, StationLocked)), failures[0])


def build_now(job: Job, step: Step) -> Built:
    """Prepare and build one job in this process; raise as `prepare` and `build_job`."""
    with step("reference outputs"):
        prepared = prepare(job.spec)
    with step("building"):
        return build_job(job, prepared)


def default_folder(config: CampaignConfig) -> Path:
    """Return the folder that a campaign writes to where none is named."""
    return Path("results") / config.name


def run_config(
    config: CampaignConfig,
    jobs: Sequence[Job],
    bench: Bench | Crew,
    store: Store,
    *,
    out: Path | None,
    listener: Listener,
    wait_s: float = 0.0,
    again: Again = "",
    book: RunBook | None = None,
    checkup: Checkup | None = None,
) -> CampaignResult:
    """Run a campaign, then write its summary, plots and fits.

    A station that another process uses is waited for `wait_s` seconds. `again` says what is
    measured although it is done; `book` is a run that has begun already, `checkup` looks at
    each station first. Files go to the folder
    `out`; None takes ``results/<campaign name>``. A job that fails leaves an invalid row; raises
    `HarnessError` only if the store or the folder cannot be written, or no station fits a job.
    """
    with recorded(store, config, jobs, again=again) if book is None else nullcontext(book) as book:
        summary = run(
            jobs,
            bench,
            store,
            campaign=config.name,
            listener=listener,
            wait_s=wait_s,
            repeats=book.repeats,
            checkup=checkup,
        )
        book.close(summary)
    rows = store.best((job.key for job in jobs), run=book.run.id)
    predictor = config.fit.predictor if config.fit else None
    folder = out or default_folder(config)
    there = {row.key for row in rows}
    outcome = write_outcome(
        rows,
        folder,
        title=config.name,
        predictor=predictor,
        run=book.run,
        not_run=[job.label for job in jobs if job.key not in there] if book.run.not_run else (),
    )
    return CampaignResult(config.name, summary, outcome, store.url, book.run)
