"""Progress bars on stderr for everything that takes longer than two seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from harness.bench import Station
    from harness.campaign.plan import Job
    from harness.errors import HarnessError
    from harness.results.record import Measurement
    from harness.search.supernet.options import EpochReport
    from harness.search.training.options import TrainReport


def make_progress() -> Progress:
    """Return a progress display on stderr; a plain log where stderr is not a terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False),
        disable=not sys.stderr.isatty(),
    )


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """Show what is being done, and for how long."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        console.print(text, markup=False)
    with console.status(text) if console.is_terminal else nullcontext():
        yield


class _Display:
    """A progress display that is shown within a `with` block; lines go above its bars."""

    # Without a terminal every so many steps print a line, so that a log shows progress.
    _EVERY = 10

    def __init__(self) -> None:
        self._progress = make_progress()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._progress.stop()

    def _line(self, text: str) -> None:
        self._progress.console.print(text, markup=False, soft_wrap=True)


class ProgressListener(_Display):
    """Draws a campaign's progress: a bar with rate and time left, a line per failure."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._task = self._progress.add_task(title, total=None, rate="")
        self._done = self._total = 0

    def started(self, planned: int, done_before: int) -> None:
        """Set the bar's length."""
        self._total = planned - done_before
        self._progress.update(self._task, total=self._total)
        before = f", {done_before} measured before" if done_before else ""
        self._line(f"{self._title}: {planned} jobs{before}")

    def finished(self, job: Job, row: Measurement, failure: HarnessError | None) -> None:
        """Advance the bar; say what failed."""
        self._done += 1
        elapsed = self._progress.tasks[0].elapsed or 0.0
        rate = f"{self._done * 3600 / elapsed:.0f}/h" if elapsed > 0 else ""
        self._progress.update(self._task, advance=1, rate=rate)
        if failure is not None:
            self._line(f"{job.label}: {row.status}: error[{failure.code}]: {failure}")
        elif row.issues:
            self._line(f"{job.label}: {row.status}: {', '.join(row.issues)}")
        if self._progress.disable and (self._done % self._EVERY == 0 or self._done == self._total):
            latency = f"{row.latency_us / 1000:.2f} ms" if row.latency_us else "–"
            self._line(f"{self._done}/{self._total} {rate} {job.spec.name} {latency}")

    def station_failed(self, station: Station, failure: HarnessError, left: int) -> None:
        """Say that a station failed."""
        lost = f", {left} jobs not run" if left else " and is used no more"
        self._line(f"station {station.name} failed{lost}: {failure}")


class SearchWatcher(_Display):
    """Draws a search's progress: a bar for each stage with loss, accuracy and expected cost."""

    _EVERY = 5

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[str, Any] = {}
        self._stage = ""

    def stage(self, name: str) -> None:
        """End the stage before, and show the next."""
        self._finish()
        self._stage = name
        if self._progress.disable:
            self._line(name)
        else:
            self._tasks[name] = self._progress.add_task(name, total=None, rate="")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._finish()
        super().__exit__(kind, *rest)

    def _finish(self) -> None:
        # A stage without epochs has no total of its own: it is one step.
        task = self._tasks.get(self._stage)
        if task is not None and self._progress.tasks[task].total is None:
            self._progress.update(task, total=1, completed=1)

    def searched(self, report: EpochReport) -> None:
        """Show where the search is."""
        from harness.search.cost.budgets import FIGURES, show

        parts = [f"loss {report.loss:.3f}", f"acc {100 * report.accuracy:.1f} %"]
        expected = ((name, getattr(report.expected, name)) for name in FIGURES)
        parts += [show(name, value, digits=1) for name, value in expected if value is not None]
        parts.append(f"T {report.temperature:.2f}")
        self._advance(report.phase, report.epoch, report.epochs, "  ".join(parts))

    def trained(self, report: TrainReport, network: str) -> None:
        """Show where a training is."""
        rate = f"lr {report.learning_rate:.1e}"
        text = f"loss {report.loss:.3f}  val {100 * report.accuracy:.1f} %  {rate}"
        self._advance(f"{report.phase} {network}", report.epoch, report.epochs, text)

    @contextmanager
    def bench(self, title: str) -> Iterator[ProgressListener]:
        """Hand the terminal to a campaign: one display at a time."""
        self._progress.stop()
        try:
            with ProgressListener(title) as listener:
                yield listener
        finally:
            self._progress.start()

    def _advance(self, name: str, done: int, total: int, figures: str) -> None:
        if self._progress.disable:
            if done % self._EVERY == 0 or done in (1, total):
                self._line(f"{name} {done}/{total}  {figures}")
            return
        task = self._tasks[self._stage]
        self._progress.update(task, description=name, completed=done, total=total, rate=figures)
