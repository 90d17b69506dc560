"""Two ways in: measure one model, or run a campaign; the command line and the Python API use both.

Nothing here prints. Progress goes to a `Listener`, or to a `Step` around each step of one model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.bench import Bench
from harness.cache import bound_bytes
from harness.campaign.config import CampaignConfig
from harness.campaign.measure import Built, build_job, run_job
from harness.campaign.outcome import Outcome, write_outcome
from harness.campaign.plan import Job, plan
from harness.campaign.prepare import prepare
from harness.campaign.runner import Listener, Summary, run
from harness.firmware.toolchain import ensure_toolchain
from harness.results.record import Measurement

if TYPE_CHECKING:
    from harness.results.store import Store

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
    """

    name: str
    summary: Summary
    outcome: Outcome
    store: str


def plan_now(config: CampaignConfig, bench: Bench) -> tuple[Job, ...]:
    """Return the jobs of a campaign that is to run at once; like `plan`, and needs a compiler."""
    bound_bytes()  # a wrong setting ends the run before it begins
    ensure_toolchain()
    return plan(config, bench)


def measure_job(job: Job, store: Store, *, again: bool, step: Step) -> tuple[Measurement, bool]:
    """Return a job's row, and whether it was measured now, in this process.

    A usable row of the store is returned as it is, unless `again` is set. Raises any stage's error;
    nothing is stored then.
    """
    from harness.capture.session import BoardSession

    row = None if again else store.get(job.key)
    if row is not None and row.usable:
        return row, False
    built = build_now(job, step)
    with step(f"measuring on {job.station.name}"), BoardSession.open(job.station) as session:
        row = run_job(built, session, campaign=None)
    store.add(row)
    return row, True


def build_now(job: Job, step: Step) -> Built:
    """Prepare and build one job in this process; raise as `prepare` and `build_job`."""
    with step("reference outputs"):
        prepared = prepare(job.spec)
    with step("building"):
        return build_job(job, prepared)


def run_config(
    config: CampaignConfig,
    jobs: Sequence[Job],
    store: Store,
    *,
    out: Path | None,
    listener: Listener,
) -> CampaignResult:
    """Run a campaign, then write its summary, plots and fits.

    Their folder is `out`; None takes ``results/<campaign name>``. A job that fails leaves an
    invalid row; raises `HarnessError` only if the store or the folder cannot be written.
    """
    summary = run(jobs, store, campaign=config.name, listener=listener)
    rows = store.best(job.key for job in jobs)
    predictor = config.fit.predictor if config.fit else None
    folder = out or Path("results") / config.name
    outcome = write_outcome(rows, folder, title=config.name, predictor=predictor)
    return CampaignResult(config.name, summary, outcome, store.url)
