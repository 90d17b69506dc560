"""Settings and reports of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from harness.backbones import Architecture
from harness.errors import SearchError
from harness.search.training.augment import Augmentation


def check_options(options: Any, kind: str, checks: Sequence[tuple[str, bool, str]]) -> None:
    """Refuse options out of range: every number is finite and 0 or more, and `checks` hold.

    Args:
        checks: Name of an option, whether it is in range, and the range.

    Raises:
        SearchError: Names the option.
    """
    numbers = [(item.name, getattr(options, item.name)) for item in fields(options)]
    finite = [
        (name, math.isfinite(value) and value >= 0, "0 or more")
        for name, value in numbers
        if isinstance(value, int | float)
    ]
    for name, holds, expected in (*finite, *checks):
        if not holds:
            raise SearchError(
                f"{kind} option {name} is {getattr(options, name)}", expected=expected
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Settings of a training.

    Raises:
        SearchError: A value is out of range.
    """

    seed: int = 0  # of initial weights, order of batches and augmentation
    epochs: int = 60  # passes over the training split
    batch_size: int = 64  # of a step; an incomplete last batch is dropped
    learning_rate: float = 3e-3  # highest one (AdamW); it rises to it and falls as half a cosine
    # The last of them, in which the network rounds as int8 does; at most half of `epochs`
    qat_epochs: int = 0
    warmup_epochs: int = 3  # in which it rises; at most a quarter of `epochs`
    weight_decay: float = 1e-3  # decoupled (Loshchilov and Hutter 2019)
    label_smoothing: float = 0.1  # share of a label that is spread over all classes
    augmentation: Augmentation | None = None  # how inputs are varied; None: as suits their kind
    # A larger network, trained first in the same way, whose outputs are learned as well (Hinton
    # et al. 2015); None: labels only
    distill_from: Architecture | None = None
    distill_weight: float = 0.5  # share of the loss that is about the larger network's outputs
    distill_temperature: float = 2.0  # softens both outputs
    # Train for as many epochs as fit into this processor time, measured on a few steps before,
    # instead of `epochs`. The result says how many they were; with that number as `epochs` the
    # training can be repeated exactly.
    time_limit_s: float | None = None
    max_epochs: int = 1000  # upper bound on the epochs of `time_limit_s`

    def __post_init__(self) -> None:
        check_options(
            self,
            "train",
            (
                ("epochs", self.epochs >= 1, "1 or more"),
                ("max_epochs", self.max_epochs >= 1, "1 or more"),
                ("batch_size", self.batch_size >= 2, "2 or more"),
                ("learning_rate", self.learning_rate > 0, "more than 0"),
                ("label_smoothing", self.label_smoothing < 1, "less than 1"),
                ("distill_weight", self.distill_weight <= 1, "0 to 1"),
                ("distill_temperature", self.distill_temperature > 0, "more than 0"),
                ("time_limit_s", self.time_limit_s != 0, "more than 0"),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """State of a search or of a training after one epoch."""

    epoch: int  # from 1
    epochs: int  # in all
    phase: str
    loss: float  # mean over the epoch's steps, of augmented inputs
    accuracy: float  # from 0 to 1
    seconds: float  # processor time of this epoch, validation included: other work leaves it alone


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport(Report):
    """Report of a training.

    `phase` is "train", or "teacher" for the larger network; `accuracy` is that on the
    validation split of the float network, in the last `qat_epochs` of the network that rounds.
    """

    learning_rate: float  # at the epoch's last step
