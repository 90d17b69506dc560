"""Train one network from scratch. TensorFlow loads when `train` is called.

Every random number comes from the seed and the step's number, so the variables between two epochs
are the whole state: a resumed training ends where an uninterrupted one does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.backbones import Architecture, Backbone
from harness.data import Dataset
from harness.errors import SearchError
from harness.search.training.augment import for_features
from harness.search.training.checkpoint import run_epochs
from harness.search.training.options import TrainOptions, TrainReport
from harness.strict import to_json

if TYPE_CHECKING:
    import keras

    from harness.search.training.steps import NetworkTraining


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network."""

    architecture: Architecture
    # Keras model for a batch of one, as the converter wants it; after quantisation-aware training
    # the one that rounds
    model: keras.Model
    history: tuple[TrainReport, ...]  # one report for each epoch
    # Sum over the epochs, of earlier runs as well where the training was resumed; with that of the
    # larger network that was distilled from
    seconds: float

    @property
    def accuracy(self) -> float:
        """Return the accuracy of `model` on the validation split, from 0 to 1."""
        return self.history[-1].accuracy


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
        on_epoch: Called after every epoch; of a resumed training only the new ones.
        checkpoint_dir: Where to save the state after every epoch, and to continue from.

    Raises:
        SearchError: Data and backbone do not match, a checkpoint is of another training, or the
            loss is not finite.
        BackboneError: An architecture is outside the search space.
    """
    check_classes(backbone, dataset)
    if len(dataset.train) < 2:
        raise SearchError(f"{len(dataset.train)} samples to train on", expected="2 or more")
    told = on_epoch or (lambda _: None)
    teacher = None
    if options.distill_from is not None:
        teacher = train(
            backbone,
            options.distill_from,
            dataset,
            replace(options, distill_from=None, time_limit_s=None, qat_epochs=0),
            on_epoch=lambda report: told(replace(report, phase="teacher")),
            checkpoint_dir=checkpoint_dir and checkpoint_dir / "teacher",
        )
    resized = dataset.resized(*backbone.input_shape_of(architecture)[:2])
    varied = options.augmentation or for_features(resized.features, resized.input_shape)
    options = replace(options, augmentation=varied)
    from harness.models.convert import load_tensorflow

    load_tensorflow()
    from harness.search.training.steps import NetworkTraining  # Keras takes seconds to import

    training = NetworkTraining(
        backbone.build(architecture, options.seed),
        backbone.layers(architecture),
        resized,
        options,
        teacher.model if teacher else None,
    )
    history = run_epochs(
        training,
        TrainReport,
        lambda: _epochs(training, options),
        identity={
            "backbone": backbone.name,
            "architecture": architecture.to_json(),
            "data": resized.fingerprint,
            "options": to_json(options),
        },
        folder=checkpoint_dir,
        on_epoch=told,
    )
    training.use_network_of(len(history) - 1, len(history))  # where there was nothing to resume
    seconds = sum(report.seconds for report in history) + (teacher.seconds if teacher else 0.0)
    return Trained(architecture, training.model, history, seconds)


def check_classes(backbone: Backbone, dataset: Dataset) -> None:
    """Check that data and backbone have the same number of classes.

    Raises:
        SearchError: They differ.
    """
    if len(dataset.classes) != backbone.classes:
        raise SearchError(
            f"{dataset.name} has {len(dataset.classes)} classes, {backbone.name} is for "
            f"{backbone.classes}",
            expected="as many of both",
            fix="backbone.with_classes(len(dataset.classes))",
        )


def _epochs(training: NetworkTraining, options: TrainOptions) -> int:
    if options.time_limit_s is None:
        return options.epochs
    each = training.seconds_per_epoch()
    return max(1, min(options.max_epochs, int(options.time_limit_s / each)))
