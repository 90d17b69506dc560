"""Settings of a search, what it reports while it runs, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.backbones import Architecture, Backbone, architecture_from_json
from harness.backbones.layers import Shape
from harness.errors import SearchError
from harness.search.cost.budgets import Budgets, PredictedCost
from harness.search.space.grid import Grid
from harness.search.space.skeleton import skeleton_of
from harness.search.training.augment import Augmentation


class Samples(Protocol):
    """Inputs (n, height, width, channels) in float32 and labels (n,) in int64."""

    @property
    def x(self) -> NDArray[np.float32]:
        """Return the inputs."""

    @property
    def y(self) -> NDArray[np.int64]:
        """Return the labels."""


class SearchData(Protocol):
    """What a search needs of a data set; `harness.data` has the loaders."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the labels."""

    @property
    def train(self) -> Samples:
        """Return what weights are learned from."""

    @property
    def validation(self) -> Samples:
        """Return what decisions are learned from."""

    @property
    def features(self) -> Mapping[str, Any]:
        """Return how the inputs were made; it decides how they are varied."""

    @property
    def fingerprint(self) -> str:
        """Return what identifies the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """Settings of the search phase.

    Attributes:
        seed: Of initial weights, order of batches and Gumbel noise.
        epochs: Passes over the training split, warm-up included.
        warmup_epochs: First passes, in which only weights are learned.
        batch_size: Of both kinds of steps.
        learning_rate: Of the weights (Adam), with a cosine decay to a hundredth.
        architecture_learning_rate: Of the decisions (Adam).
        architecture_every: Weight steps for each architecture step.
        temperature_start: Of the Gumbel-softmax, until warm-up is over.
        temperature_end: At the last epoch; the decay is exponential.
        penalty: Weight of the augmented Lagrangian's quadratic term when warm-up is over.
        penalty_growth: Factor on it for each epoch.
        penalty_most: Where it stops growing.
        width_choices: Most choices of one width decision.
        width_room: Widest choices, in multiples of the widest uniform network that fits.
        width_floor: Narrowest choices, in parts of the widest one.
        prior: How much the decisions prefer the largest hand-designed network at the start, as a
            logit; 0 to start with all options alike.
        candidates: How many networks are drawn from the decisions at the end and compared on the
            validation split with the supernet's weights; the best is derived. 1 for the likeliest.
        finalists: How many of the best of them the result names.
        grow: Whether derivation uses what is left of the budgets.
        augmentation: What inputs are varied by, in both kinds of steps; None: what suits them.

    Raises:
        SearchError: A value is out of range.
    """

    seed: int = 0
    epochs: int = 30
    warmup_epochs: int = 6
    batch_size: int = 64
    learning_rate: float = 2e-3
    architecture_learning_rate: float = 0.03
    architecture_every: int = 1
    temperature_start: float = 4.0
    temperature_end: float = 0.3
    penalty: float = 1.0
    penalty_growth: float = 1.2
    penalty_most: float = 30.0
    width_choices: int = 12
    width_room: float = 1.5
    width_floor: float = 0.25
    prior: float = 1.0
    candidates: int = 16
    finalists: int = 2
    grow: bool = True
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, (int, float)) and (not math.isfinite(value) or value < 0):
                raise SearchError(f"search option {spec.name} is {value}", expected="0 or more")
        positive = (
            "candidates", "finalists", "epochs", "batch_size", "learning_rate",
            "architecture_learning_rate", "architecture_every", "temperature_start",
            "temperature_end", "penalty",
        )  # fmt: skip
        for name in positive:
            if not getattr(self, name) > 0:
                raise SearchError(
                    f"search option {name} is {getattr(self, name)}", expected="more than 0"
                )
        checks = (
            (self.warmup_epochs < self.epochs, "warmup_epochs", "fewer than epochs"),
            (self.width_choices >= 2, "width_choices", "2 or more"),
            (self.width_room >= 1, "width_room", "1 or more"),
            (self.width_floor <= 1, "width_floor", "0 to 1"),
            (self.penalty_growth >= 1, "penalty_growth", "1 or more"),
        )
        for holds, name, expected in checks:
            if not holds:
                raise SearchError(
                    f"search option {name} is {getattr(self, name)}", expected=expected
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
class EpochReport:
    """Say where a search is after one epoch.

    Attributes:
        epoch: From 1.
        epochs: In all.
        phase: ``warm-up`` or ``search``.
        loss: Mean cross-entropy of the weight steps.
        accuracy: Share of training samples that sampled networks had right, from 0 to 1.
        architecture_loss: Mean cross-entropy of the architecture steps; None in warm-up.
        architecture_accuracy: Share of validation samples that they had right.
        temperature: Of the Gumbel-softmax.
        expected: Expected cost of the decisions, at this temperature.
        multipliers: Lagrange multiplier of each budget that is set.
        seconds: Of this epoch.
    """

    epoch: int
    epochs: int
    phase: str
    loss: float
    accuracy: float
    architecture_loss: float | None
    architecture_accuracy: float | None
    temperature: float
    expected: PredictedCost
    multipliers: Mapping[str, float]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return every field by name."""
        data = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        return {**data, "expected": self.expected.to_json(), "multipliers": dict(self.multipliers)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EpochReport:
        """Read what `to_json` wrote."""
        return cls(**{**data, "expected": PredictedCost.from_json(data["expected"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search came to.

    Attributes:
        backbone: Name of the search space.
        architecture: The network, which meets the budgets as predicted.
        predicted: Its predicted cost.
        argmax: The network of the likeliest options, before it was made to meet the budgets.
        candidates: How many distinct networks were compared at the end.
        finalists: The best of them, best first.
        shrunk: Steps that derivation took to meet the budgets.
        grown: Steps that derivation took to use what was left of them.
        budgets: What was asked for.
        options: Settings.
        trajectory: One report for each epoch.
        logits: Of each decision, in the order of its options.
        choices: The options of each width decision.
        dataset_fingerprint: Of the data.
        seconds: Sum over the epochs, of earlier runs as well where the search was resumed.
    """

    backbone: str
    architecture: Architecture
    predicted: PredictedCost
    argmax: Architecture
    candidates: int
    finalists: tuple[Architecture, ...]
    shrunk: int
    grown: int
    budgets: Budgets
    options: SearchOptions
    trajectory: tuple[EpochReport, ...]
    logits: Mapping[str, tuple[float, ...]]
    choices: Mapping[str, tuple[int, ...]]
    dataset_fingerprint: str
    seconds: float

    def grid(self, backbone: Backbone, input_shape: Shape) -> Grid:
        """Return the choices that `logits` are about, to derive again with another cost model.

        Args:
            backbone: The one that was searched, for as many classes.
            input_shape: Height, width, channels of the data.
        """
        skeleton = skeleton_of(backbone, input_shape)
        keys = [conv.width for conv in skeleton.convs() if conv.width is not None]
        widths = {key: self.choices[f"{key[0]}_{key[1]}"] for key in keys}
        return Grid(backbone, skeleton, widths)

    def to_json(self) -> dict[str, Any]:
        """Return every field by name, for `json.dumps`."""
        return {
            "backbone": self.backbone,
            "architecture": self.architecture.to_json(),
            "predicted": self.predicted.to_json(),
            "argmax": self.argmax.to_json(),
            "candidates": self.candidates,
            "finalists": [item.to_json() for item in self.finalists],
            "shrunk": self.shrunk,
            "grown": self.grown,
            "budgets": self.budgets.to_json(),
            "options": asdict(self.options),
            "trajectory": [report.to_json() for report in self.trajectory],
            "logits": {name: list(values) for name, values in self.logits.items()},
            "choices": {name: list(values) for name, values in self.choices.items()},
            "dataset_fingerprint": self.dataset_fingerprint,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchResult:
        """Read what `to_json` wrote.

        Raises:
            BackboneError: An architecture is malformed or outside its search space.
        """
        return cls(
            backbone=data["backbone"],
            architecture=_architecture(data["architecture"]),
            predicted=PredictedCost.from_json(data["predicted"]),
            argmax=_architecture(data["argmax"]),
            candidates=data["candidates"],
            finalists=tuple(_architecture(item) for item in data["finalists"]),
            shrunk=data["shrunk"],
            grown=data["grown"],
            budgets=Budgets(**data["budgets"]),
            options=_options(data["options"]),
            trajectory=tuple(EpochReport.from_json(item) for item in data["trajectory"]),
            logits={name: tuple(values) for name, values in data["logits"].items()},
            choices={name: tuple(values) for name, values in data["choices"].items()},
            dataset_fingerprint=data["dataset_fingerprint"],
            seconds=data["seconds"],
        )


def _options(data: Mapping[str, Any]) -> SearchOptions:
    varied = data["augmentation"]
    return SearchOptions(**{**data, "augmentation": Augmentation(**varied) if varied else None})


def _architecture(data: Mapping[str, Any]) -> Architecture:
    import json

    return architecture_from_json(json.dumps(data))
