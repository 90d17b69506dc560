"""What to search and how, and what every stage of a search works with."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.backbones import Architecture
from harness.data import Dataset
from harness.fit import Fingerprint
from harness.results.record import Measurement
from harness.search.cost.cost_model import Constraint
from harness.search.record import Method
from harness.search.supernet.options import EpochReport, SearchOptions
from harness.search.training.options import TrainOptions, TrainReport


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """What to search, and how."""

    method: Method
    constraint: Constraint  # budgets, cost model and backbone, with as many classes as the data
    dataset: Dataset
    source: str  # where the data came from, for the record
    fit_files: tuple[Path, ...]  # of each board, for the record
    seed: int  # decides every random choice
    search: SearchOptions
    train: TrainOptions  # of the final training
    # The rows that the fits were made of, as far as they are at hand; `refine` needs all
    fit_rows: tuple[Measurement, ...] = ()
    distill: bool = False  # distil from the hand-designed network of twice the budgets
    # The two best of the search's finalists and the hand-designed network are trained for so many
    # epochs; a finalist that is clearly better on the validation split is the result, else the
    # hand-designed network. Earlier rounds, which leave two finalists, are shorter. 0: no trials,
    # the supernet decides.
    trial_epochs: int = 0
    candidates: int = 8  # networks that a baseline tries
    # What a baseline may spend on trying networks, each of which gets an equal part; the best is
    # then trained as a search's result is. None: each is trained like that at once.
    training_seconds: float | None = None
    published: Architecture | None = None  # the network of that method
    # The plan whose supernet gives the network, where that is not this one: so one supernet gives
    # networks for several budgets. `also` are the others that it is to serve.
    supernet: SearchPlan | None = None
    also: tuple[Constraint, ...] = ()
    # Networks to measure on each board near the optimum before the network is derived; 0: none
    refine: int = 0
    folder: Path = field(default_factory=Path)  # where everything of the run goes


class Measure(Protocol):
    """Measures networks on a board, exactly as the rows of its fit were measured."""

    def __call__(
        self,
        networks: Sequence[Path] | Sequence[Architecture],
        fingerprint: Fingerprint,
        title: str,
    ) -> list[Measurement]:
        """Return a row of each network, in their order.

        Args:
            networks: Full-int8 .tflite files, or architectures of the fit's backbone.
            fingerprint: What the fit is valid for: board and configuration.

        Raises:
            BenchError: The station is not ready, or failed.
        """


class Watcher(Protocol):
    """Follows a search; the command line draws progress bars from it."""

    def stage(self, name: str) -> None:
        """Begin the next stage."""

    def searched(self, report: EpochReport) -> None:
        """Note the end of an epoch of the search."""

    def trained(self, report: TrainReport, network: str) -> None:
        """Note the end of an epoch of a training."""


@dataclass(frozen=True, slots=True)
class Work:
    """A plan being carried out."""

    plan: SearchPlan
    measure: Measure | None  # None: nothing is measured
    watcher: Watcher
    seconds: dict[str, float] = field(default_factory=dict)  # wall-clock time by stage, so far

    @contextmanager
    def stage(self, name: str, under: str | None = None) -> Iterator[None]:
        """Show a stage, and add the time of a `with` block to it, or to another name."""
        self.watcher.stage(name)
        started = time.perf_counter()
        try:
            yield
        finally:
            spent, known = time.perf_counter() - started, under or name
            self.seconds[known] = self.seconds.get(known, 0.0) + spent
