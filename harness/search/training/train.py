"""Train one network from scratch. TensorFlow loads when `train` is called.

Every random number comes from the seed and the step's number: the state between two epochs is all
there is to save, so a resumed training ends where an uninterrupted one does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backbones import Architecture, Backbone
from harness.errors import SearchError
from harness.search.training.augment import Augmentation, for_features
from harness.search.training.checkpoint import load_state, save_state

if TYPE_CHECKING:
    import keras

    from harness.data import Dataset
    from harness.search.training.steps import Fitting


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Settings of a training.

    Attributes:
        seed: Of initial weights, order of batches and augmentation.
        epochs: Passes over the training split.
        batch_size: Of a step; what is left over waits for another epoch's order.
        learning_rate: Highest one (AdamW); it rises to it and falls as half a cosine.
        warmup_epochs: In which it rises; at most a quarter of `epochs`.
        weight_decay: Decoupled (Loshchilov and Hutter 2019).
        label_smoothing: Share of a label that is spread over all classes.
        augmentation: What inputs are varied by; None: what suits their kind.
        distill_from: A larger network, trained first in the same way, whose outputs are learned
            from as well (Hinton et al. 2015); None: labels only.
        distill_weight: Share of the loss that is about the larger network's outputs.
        distill_temperature: That both outputs are softened by.
        time_limit_s: Train for as many epochs as fit into this time, measured on a few steps
            before, instead of `epochs`. The result says how many they were; with that number as
            `epochs` the training can be repeated exactly.
        max_epochs: Most epochs that `time_limit_s` may come to.

    Raises:
        SearchError: A value is out of range.
    """

    seed: int = 0
    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup_epochs: int = 3
    weight_decay: float = 1e-3
    label_smoothing: float = 0.1
    augmentation: Augmentation | None = None
    distill_from: Architecture | None = None
    distill_weight: float = 0.5
    distill_temperature: float = 2.0
    time_limit_s: float | None = None
    max_epochs: int = 1000

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, (int, float)) and (not math.isfinite(value) or value < 0):
                raise SearchError(f"train option {spec.name} is {value}", expected="0 or more")
        checks = (
            (self.epochs >= 1, "epochs", "1 or more"),
            (self.max_epochs >= 1, "max_epochs", "1 or more"),
            (self.batch_size >= 2, "batch_size", "2 or more"),
            (self.learning_rate > 0, "learning_rate", "more than 0"),
            (self.label_smoothing < 1, "label_smoothing", "less than 1"),
            (self.distill_weight <= 1, "distill_weight", "0 to 1"),
            (self.distill_temperature > 0, "distill_temperature", "more than 0"),
            (self.time_limit_s != 0, "time_limit_s", "more than 0"),
        )
        for holds, name, expected in checks:
            if not holds:
                raise SearchError(
                    f"train option {name} is {getattr(self, name)}", expected=expected
                )

    def to_json(self) -> dict[str, Any]:
        """Return every field by name."""
        data = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        data["augmentation"] = asdict(self.augmentation) if self.augmentation else None
        data["distill_from"] = self.distill_from.to_json() if self.distill_from else None
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """Say where a training is after one epoch.

    Attributes:
        epoch: From 1.
        epochs: In all.
        phase: ``train``, or ``teacher`` for the larger network.
        loss: Mean over the epoch's steps, of augmented inputs.
        accuracy: Of the float network on the validation split, from 0 to 1.
        learning_rate: At the epoch's last step.
        seconds: Of this epoch, validation included.
    """

    epoch: int
    epochs: int
    phase: str
    loss: float
    accuracy: float
    learning_rate: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return every field by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network.

    Attributes:
        model: Keras model for a batch of one, as the converter wants it.
        history: One report for each epoch.
        epochs: How many they were.
        seconds: Sum over the epochs, of earlier runs as well where the training was resumed; with
            that of the larger network that was distilled from.
        teacher: History of that network.
    """

    model: keras.Model
    history: tuple[TrainReport, ...]
    epochs: int
    seconds: float
    teacher: tuple[TrainReport, ...] = ()


_DEFAULTS = TrainOptions()


def train(
    backbone: Backbone,
    architecture: Architecture,
    dataset: Dataset,
    options: TrainOptions = _DEFAULTS,
    *,
    on_epoch: Callable[[TrainReport], None] | None = None,
    checkpoint_dir: Path | None = None,
) -> Trained:
    """Train `architecture` from scratch.

    The weights of the last epoch are the result: nothing is chosen by the test split, and with a
    learning rate that falls to zero the last epoch is not a lucky one.

    Args:
        backbone: With as many classes as `dataset`, see `Backbone.with_classes`.
        architecture: What to train.
        dataset: Inputs are resized where the network's are of another size.
        options: Settings.
        on_epoch: Told after every epoch; of a resumed training only the new ones.
        checkpoint_dir: Where to save the state after every epoch, and to go on from.

    Raises:
        SearchError: Data and backbone do not fit, a checkpoint is of another training, or the loss
            is no number any more.
        BackboneError: An architecture is outside the search space.
    """
    if len(dataset.classes) != backbone.classes:
        raise SearchError(
            f"{dataset.name} has {len(dataset.classes)} classes, {backbone.name} is for "
            f"{backbone.classes}",
            expected="as many of both",
            fix="backbone.with_classes(len(dataset.classes))",
        )
    if len(dataset.train) < 2:
        raise SearchError(f"{len(dataset.train)} samples to train on", expected="2 or more")
    teacher = None
    if options.distill_from is not None:
        teacher = train(
            backbone,
            options.distill_from,
            dataset,
            replace(options, distill_from=None, time_limit_s=None),
            on_epoch=on_epoch and (lambda report: on_epoch(replace(report, phase="teacher"))),
            checkpoint_dir=checkpoint_dir and checkpoint_dir / "teacher",
        )
    shape = backbone.input_shape_of(architecture)
    fitting = dataset.resized(*shape[:2])
    augmentation = options.augmentation or for_features(fitting.features, fitting.input_shape)
    options = replace(options, augmentation=augmentation)
    history, epochs, model = _run(
        backbone, architecture, fitting, options, teacher, on_epoch, checkpoint_dir
    )
    seconds = sum(report.seconds for report in history) + (teacher.seconds if teacher else 0.0)
    return Trained(model, history, epochs, seconds, teacher.history if teacher else ())


def _run(
    backbone: Backbone,
    architecture: Architecture,
    dataset: Dataset,
    options: TrainOptions,
    teacher: Trained | None,
    on_epoch: Callable[[TrainReport], None] | None,
    checkpoint_dir: Path | None,
) -> tuple[tuple[TrainReport, ...], int, keras.Model]:
    from harness.models.convert import load_tensorflow

    load_tensorflow()
    from harness.search.training.steps import Fitting  # Keras takes seconds to import

    identity = {
        "backbone": backbone.name,
        "architecture": architecture.to_json(),
        "data": dataset.fingerprint,
        "options": options.to_json(),
    }
    stored = load_state(checkpoint_dir, identity) if checkpoint_dir else None
    fitting = Fitting(
        backbone.build(architecture, options.seed),
        dataset,
        options,
        teacher.model if teacher else None,
    )
    history: list[TrainReport] = []
    if stored:
        arrays, facts = stored
        history = [TrainReport(**item) for item in facts["history"]]
        epochs = int(facts["epochs"])
        fitting.restore(arrays)
    else:
        epochs = _epochs(fitting, options)
    for epoch in range(len(history), epochs):
        history.append(_epoch(fitting, epoch, epochs))
        if checkpoint_dir:
            facts = {"epochs": epochs, "history": [report.to_json() for report in history]}
            save_state(checkpoint_dir, identity, fitting.arrays(), facts)
        if on_epoch:
            on_epoch(history[-1])
    return tuple(history), epochs, fitting.model


def _epoch(fitting: Fitting, epoch: int, epochs: int) -> TrainReport:
    started = time.perf_counter()
    loss, rate = fitting.epoch(epoch, epochs)
    if not math.isfinite(loss):
        raise SearchError(
            f"the loss is {loss} after epoch {epoch + 1}",
            expected="a number",
            fix="lower the learning rate, and check the data",
        )
    return TrainReport(
        epoch=epoch + 1,
        epochs=epochs,
        phase="train",
        loss=loss,
        accuracy=fitting.validate(),
        learning_rate=rate,
        seconds=time.perf_counter() - started,
    )


def _epochs(fitting: Fitting, options: TrainOptions) -> int:
    if options.time_limit_s is None:
        return options.epochs
    each = fitting.seconds_per_epoch()
    return max(1, min(options.max_epochs, int(options.time_limit_s / each)))
