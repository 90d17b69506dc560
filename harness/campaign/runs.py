"""A run as the store keeps it, and which of its jobs it measures although they are done."""

from __future__ import annotations

import getpass
import hashlib
import json
import platform
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from harness import __version__
from harness.campaign.config import CampaignConfig, Schedule
from harness.errors import ResultsError
from harness.paths import git_revision
from harness.results.record import Measurement, Run

if TYPE_CHECKING:
    from harness.campaign.ledger import Summary
    from harness.campaign.plan import Job
    from harness.results.store import Store

_JOINED = timedelta(hours=12)
"""How old an unfinished run may be to be continued; the next night is another one."""

Again = Literal["", "all", "schedule"]
"""What to measure although it is done: nothing, everything, what the campaign's schedule says."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """The run that rows belong to, and the keys of the jobs that it measures again."""

    run: str | None = None
    anew: frozenset[str] = frozenset()

    def of(self, key: str) -> str | None:
        """Return the repetition in which a job is looked up; None for any."""
        return self.run if key in self.anew else None

    def stamp(self, row: Measurement) -> Measurement:
        """Return a row with its run, and its repetition."""
        return replace(row, run=self.run, repetition=self.of(row.key) or "")


@contextmanager
def recorded(
    store: Store,
    config: CampaignConfig,
    jobs: Sequence[Job],
    *,
    again: Again,
    notes: Sequence[str] = (),
) -> Iterator[RunBook]:
    """Begin a run, or continue one that was interrupted; store its end when the block ends.

    Only a run that measures again is continued: another one finds in the store what is done.
    """
    book = _begin(store, config, jobs, again, notes)
    store.note_run(book.run)
    try:
        yield book
    except BaseException:
        book.run = replace(book.run, ended_at=datetime.now(UTC), outcome="interrupted")
        with suppress(ResultsError):  # what ended the run matters more
            store.note_run(book.run)
        raise
    store.note_run(book.run)


@dataclass(slots=True)
class RunBook:
    """A run while it goes on."""

    run: Run
    repeats: Repeats

    def close(self, summary: Summary) -> None:
        """Take over the counts at the end of the run."""
        missing = bool(summary.not_run or self.run.notes)
        failed = summary.statuses["invalid"] > 0
        self.run = replace(
            self.run,
            ended_at=datetime.now(UTC),
            outcome="bench" if missing else "failed" if failed else "complete",
            planned=summary.planned,
            skipped=summary.skipped,
            elsewhere=summary.elsewhere,
            valid=summary.statuses["valid"],
            degraded=summary.statuses["degraded"],
            invalid=summary.statuses["invalid"],
            not_run=summary.not_run,
            stations=_stations(summary),
        )


def new_id(now: datetime) -> str:
    """Return an id that sorts by time, such as ``20261127-031500-3fa2``."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def digest(config: CampaignConfig) -> str:
    """Return the sha256 of a campaign, whatever folder its models are in."""
    content = config.model_dump(mode="json")
    content["models"] = [PurePath(name).name for name in content["models"]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _begin(
    store: Store, config: CampaignConfig, jobs: Sequence[Job], again: Again, notes: Sequence[str]
) -> RunBook:
    schedule = Schedule() if again == "all" else config.schedule
    repeat = "" if not again else "all" if schedule.share == 1 else "some"
    now, sha256 = datetime.now(UTC), digest(config)
    earlier = [one for one in store.runs(config.name) if one.repeat] if repeat else []
    run = next((one for one in earlier if _goes_on(one, now, sha256, repeat)), None)
    if run is None:
        run = Run(
            id=new_id(now),
            campaign=config.name,
            campaign_sha256=sha256,
            started_at=now,
            host=platform.node(),
            user=_user(),
            harness_version=__version__,
            git_revision=git_revision(),
            repeat=repeat,
        )
    run = replace(run, ended_at=None, outcome=None, notes=tuple(notes))
    night = sum(one.id != run.id for one in earlier)
    anew = chosen(jobs, schedule, night) if repeat else frozenset()
    return RunBook(run, Repeats(run.id, anew))


def _goes_on(run: Run, now: datetime, sha256: str, repeat: str) -> bool:
    unfinished = run.outcome in (None, "interrupted") and now - run.started_at < _JOINED
    return unfinished and run.campaign_sha256 == sha256 and run.repeat == repeat


def chosen(jobs: Sequence[Job], schedule: Schedule, night: int) -> frozenset[str]:
    """Return the keys of the jobs that a night measures again: its share, and the canaries.

    The first night has number 0; 1 / share nights together measure every job.
    """
    every = round(1 / schedule.share) if schedule.share else 0
    found = {
        job.key
        for place, job in enumerate(jobs)
        if (every and place % every == night % every)
        or any(fnmatchcase(job.spec.name, pattern) for pattern in schedule.canaries)
    }
    return frozenset(found)


def _stations(summary: Summary) -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        name: {"rows": count} for name, count in sorted(summary.stations.items())
    }
    for name, (failure, left) in summary.failed.items():
        told = {"code": failure.code, "what": failure.what, "left": left}
        found.setdefault(name, {"rows": 0}).update(told)
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # of a container without an entry for its user
        return "unknown"
