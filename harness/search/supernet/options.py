"""Settings, reports and result of the search phase."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.backbones import Architecture, Backbone
from harness.backbones.layers import Shape
from harness.backbones.skeleton import width_name
from harness.search.cost.budgets import Budgets, PredictedCost
from harness.search.space.grid import Grid
from harness.search.space.skeleton import skeleton_of
from harness.search.training.augment import Augmentation
from harness.search.training.options import Report, check_options


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """Settings of the search phase.

    Raises:
        SearchError: A value is out of range.
    """

    seed: int = 0  # of initial weights, order of batches and Gumbel noise
    epochs: int = 30  # passes over the training split, warm-up included
    warmup_epochs: int = 6  # first passes, in which only weights are trained
    batch_size: int = 64  # of both kinds of steps
    learning_rate: float = 2e-3  # of the weights (Adam), with a cosine decay to a hundredth
    architecture_learning_rate: float = 0.03  # of the decisions (Adam)
    architecture_every: int = 1  # weight steps for each architecture step
    temperature_start: float = 4.0  # of the Gumbel-softmax, until warm-up is over
    temperature_end: float = 0.3  # at the last epoch; the decay is exponential
    penalty: float = 1.0  # weight of the augmented Lagrangian's quadratic term when warm-up is over
    penalty_growth: float = 1.2  # factor on it for each epoch
    penalty_most: float = 30.0  # its upper bound
    width_choices: int = 12  # maximum number of choices of one width decision
    width_room: float = 1.5  # widest choices, in multiples of the widest uniform network that fits
    width_floor: float = 0.25  # narrowest choices, as a share of the widest one
    # How much the decisions prefer the largest hand-designed network at the start, as a logit; 0 to
    # start with all options alike
    prior: float = 1.0
    # Networks that are drawn from the decisions at the end and compared on the validation split
    # with the supernet's weights; the best is derived. 1: the likeliest.
    candidates: int = 16
    finalists: int = 4  # number of the best of them that the result names
    grow: bool = True  # whether derivation uses what is left of the budgets
    # How inputs are varied, in both kinds of steps; None: as suits them
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        positive = (
            "candidates", "finalists", "epochs", "batch_size", "learning_rate",
            "architecture_learning_rate", "architecture_every", "temperature_start",
            "temperature_end", "penalty",
        )  # fmt: skip
        check_options(
            self,
            "search",
            (
                *((name, getattr(self, name) > 0, "more than 0") for name in positive),
                ("warmup_epochs", self.warmup_epochs < self.epochs, "fewer than epochs"),
                ("width_choices", self.width_choices >= 2, "2 or more"),
                ("width_room", self.width_room >= 1, "1 or more"),
                ("width_floor", self.width_floor <= 1, "0 to 1"),
                ("penalty_growth", self.penalty_growth >= 1, "1 or more"),
            ),
        )

    def temperature(self, epoch: int) -> float:
        """Return the temperature of an epoch, counted from 0."""
        searching = self.epochs - self.warmup_epochs
        place = max(0, epoch - self.warmup_epochs) / max(1, searching - 1)
        ratio = self.temperature_end / self.temperature_start
        return float(self.temperature_start * ratio**place)

    def rate(self, epoch: int) -> float:
        """Return the learning rate of the weights in an epoch, counted from 0."""
        cosine = 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        return self.learning_rate * (0.01 + 0.99 * cosine)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport(Report):
    """Report of a search: of its weight steps, on the training split, where not said otherwise.

    `phase` is "warm-up" or "search"; `accuracy` is that of sampled networks.
    """

    architecture_loss: float | None  # mean cross-entropy of the architecture steps; None in warm-up
    architecture_accuracy: float | None  # the same share of validation samples
    temperature: float  # of the Gumbel-softmax
    expected: PredictedCost  # expected cost of the decisions, at this temperature
    multipliers: Mapping[str, float]  # Lagrange multiplier of each budget that is set


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Result of the search phase."""

    backbone: str
    architecture: Architecture  # the network, which meets the budgets as predicted
    predicted: PredictedCost  # of `architecture`
    # The network of the likeliest options, before it was made to meet the budgets
    argmax: Architecture
    candidates: int  # number of distinct networks that were compared at the end
    finalists: tuple[Architecture, ...]  # the best of them, best first
    shrunk: int  # steps that derivation took to meet the budgets
    grown: int  # steps that derivation took to use what was left of them
    budgets: Budgets
    options: SearchOptions
    trajectory: tuple[EpochReport, ...]  # one report for each epoch
    logits: Mapping[str, tuple[float, ...]]  # of each decision, in the order of its options
    choices: Mapping[str, tuple[int, ...]]  # the options of each width decision
    dataset_fingerprint: str  # of the data
    seconds: float  # sum over the epochs, of earlier runs as well where the search was resumed

    def grid(self, backbone: Backbone, input_shape: Shape) -> Grid:
        """Return the choices that `logits` are about, to derive again with another cost model."""
        skeleton = skeleton_of(backbone, input_shape)
        widths = {key: self.choices[width_name(key)] for key in skeleton.widths()}
        return Grid(backbone, skeleton, widths)
