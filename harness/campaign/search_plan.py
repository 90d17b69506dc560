"""What to search and how, and what every part of a search works with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.backbones import Backbone
from harness.search import Budgets, CostModel, EpochReport, SearchOptions
from harness.search.record import Method
from harness.search.retrain import TrainOptions, TrainReport

if TYPE_CHECKING:
    from harness.campaign.follow_up import FollowUp
    from harness.data import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """What to search, and how.

    Attributes:
        method: The search, or a baseline.
        backbone: With as many classes as the data.
        dataset: What to learn.
        source: Where the data came from, for the record.
        cost_model: What networks cost.
        fit_file: Where its fit came from, for the record.
        budgets: Upper bounds.
        seed: Of everything.
        search: Settings of the search phase.
        train: Settings of the final training.
        distill: Distil from the hand-designed network of twice the budgets.
        trial_epochs: The search's finalists and the hand-designed network are trained for so many
            epochs; a finalist that is clearly better on the validation split is the result, else
            the hand-designed network. 0: the supernet decides.
        candidates: Networks that the random baseline tries.
        training_seconds: What the random baseline may spend on learning in all; each network gets
            an equal part.
        refine: Networks to measure near the optimum before the network is derived; 0: none.
        folder: Where everything of the run goes.
    """

    method: Method
    backbone: Backbone
    dataset: Dataset
    source: str
    cost_model: CostModel
    fit_file: Path
    budgets: Budgets
    seed: int
    search: SearchOptions
    train: TrainOptions
    distill: bool = False
    trial_epochs: int = 0
    candidates: int = 8
    training_seconds: float | None = None
    refine: int = 0
    folder: Path = field(default_factory=Path)


class Watcher(Protocol):
    """Hears how a search goes; the command line draws progress bars from it."""

    def stage(self, name: str) -> None:
        """Tell that the next stage begins."""

    def searched(self, report: EpochReport) -> None:
        """Tell that an epoch of the search is over."""

    def trained(self, report: TrainReport, network: str) -> None:
        """Tell that an epoch of a training is over."""

    def bench(self, title: str) -> Any:
        """Return a context manager that yields a campaign's listener."""


class Clock:
    """Adds up wall-clock time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of a `with` block to `stage`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent


@dataclass(frozen=True, slots=True)
class Work:
    """A plan at work.

    Attributes:
        plan: What to do.
        follow: How to measure; None: nothing is measured.
        watcher: Hears progress.
        clock: Adds up what each stage takes.
    """

    plan: SearchPlan
    follow: FollowUp | None
    watcher: Watcher
    clock: Clock
