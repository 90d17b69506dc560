"""Steps of a training: model, optimizer and data. Imports TensorFlow: import it late."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from harness.backbones.layers import LayerSpec
from harness.data import Dataset
from harness.search.training.augment import NO_AUGMENTATION, augmenter
from harness.search.training.options import TrainOptions, TrainReport
from harness.search.training.qat import fake_quantised

_EVALUATION_BATCH = 256
_TIMED_STEPS = 5

# Keras's 0.99 takes hundreds of steps to forget; short trainings would be judged with statistics
# of weights that they no longer have.
_BATCH_NORM_MOMENTUM = 0.9


class NetworkTraining:
    """A network in training, epoch by epoch."""

    def __init__(
        self,
        model: keras.Model,
        layers: tuple[LayerSpec, ...],
        dataset: Dataset,
        options: TrainOptions,
        teacher: Any | None,
    ) -> None:
        self.model, self._trainable = model, model.trainable_variables
        self._rounding = fake_quantised(model, layers) if options.qat_epochs else None
        self._data, self._options, self._teacher = dataset, options, teacher
        _prepare(model)
        self._optimizer = keras.optimizers.AdamW(
            options.learning_rate, weight_decay=options.weight_decay
        )
        # Scales and biases are few and do not overfit (He et al. 2019, "Bag of tricks").
        self._optimizer.exclude_from_weight_decay(
            var_list=[item for item in self._trainable if len(item.shape) < 2]
        )
        self._optimizer.build(self._trainable)
        self._variables = (*(self._rounding or model).weights, *self._optimizer.variables)
        self._augment = augmenter(
            tf, options.augmentation or NO_AUGMENTATION, dataset.input_shape, dataset.features
        )
        self._x, self._y = tf.constant(dataset.train.x), tf.constant(dataset.train.y)
        self._batch = min(options.batch_size, len(dataset.train))
        self.steps = len(dataset.train) // self._batch

    # Concrete: traced once, whatever the size of the last batch, and however many trainings a
    # process does (TensorFlow takes those for needless retracing). A finished training needs none.
    @cached_property
    def _learn(self) -> Any:
        numbers = tf.TensorSpec((None,), tf.int64)
        rate, seed = tf.TensorSpec((), tf.float32), tf.TensorSpec((2,), tf.int32)
        step = tf.function(self._step, input_signature=(numbers, rate, seed), autograph=False)
        return step.get_concrete_function()

    @cached_property
    def _forward(self) -> Any:
        inputs = tf.TensorSpec((None, *self._data.input_shape), tf.float32)
        forward = tf.function(
            lambda x: self.model(x, training=False), input_signature=(inputs,), autograph=False
        )
        return forward.get_concrete_function()

    def epoch(self, epoch: int, epochs: int) -> TrainReport:
        """Train for one epoch, counted from 0."""
        started, options = time.process_time(), self._options
        self.use_network_of(epoch, epochs)
        generator = np.random.default_rng([options.seed, epoch])
        order = generator.permutation(len(self._data.train))
        warmup = min(options.warmup_epochs, epochs // 4) * self.steps
        losses, rate = [], 0.0
        for place in range(self.steps):
            step = epoch * self.steps + place
            rate = cosine(step, epochs * self.steps, options.learning_rate, warmup)
            rows = order[place * self._batch : (place + 1) * self._batch]
            seed = step_seed(options.seed, step)
            losses.append(self._learn(tf.constant(rows), tf.constant(rate, tf.float32), seed))
        return TrainReport(
            epoch=epoch + 1,
            epochs=epochs,
            phase="train",
            loss=float(np.mean([float(loss) for loss in losses])),
            learning_rate=rate,
            accuracy=self.validate(),
            seconds=time.process_time() - started,
        )

    def use_network_of(self, epoch: int, epochs: int) -> None:
        """Let `model` be what an epoch trains: in the last ones the network that rounds."""
        quantised = min(self._options.qat_epochs, epochs // 2)
        if self._rounding and epoch >= epochs - quantised and self.model is not self._rounding:
            self.model = self._rounding
            for traced in ("_learn", "_forward"):
                vars(self).pop(traced, None)

    def validate(self) -> float:
        """Return the accuracy on the validation split."""
        split = self._data.validation
        right = 0
        for start in range(0, len(split), _EVALUATION_BATCH):
            part = slice(start, start + _EVALUATION_BATCH)
            logits = self._forward(tf.constant(split.x[part])).numpy()
            right += int(np.count_nonzero(logits.argmax(axis=1) == split.y[part]))
        return right / len(split)

    def seconds_per_epoch(self) -> float:
        """Measure a few steps and one validation; leave the state as it was."""
        before = self.arrays()
        rows = tf.range(self._batch, dtype=tf.int64)
        rate, seed = tf.constant(0.0), step_seed(self._options.seed, 0)
        self._learn(rows, rate, seed)  # tracing is not part of an epoch
        self.validate()
        started = time.process_time()
        for _ in range(_TIMED_STEPS):
            float(self._learn(rows, rate, seed))
        learned = time.process_time()
        self.validate()
        validated = time.process_time() - learned
        self.restore(before)
        return (learned - started) / _TIMED_STEPS * self.steps + validated

    def arrays(self) -> list[NDArray[Any]]:
        """Return every variable's value, in a fixed order."""
        return [np.asarray(item) for item in self._variables]

    def restore(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Set the variables to what `arrays` returned."""
        for variable, array in zip(self._variables, arrays, strict=True):
            variable.assign(array)

    def _step(self, rows: Any, rate: Any, seed: Any) -> Any:
        options, classes = self._options, len(self._data.classes)
        x = self._augment(tf.gather(self._x, rows), seed)
        labels = tf.one_hot(tf.gather(self._y, rows), classes)
        labels = labels * (1 - options.label_smoothing) + options.label_smoothing / classes
        soft = None
        if self._teacher is not None:
            soft = self._teacher(x, training=False) / options.distill_temperature
        self._optimizer.learning_rate.assign(rate)
        with tf.GradientTape() as tape:
            logits = self.model(x, training=True)
            loss = _cross_entropy(labels, logits)
            if soft is not None:
                cooled = logits / options.distill_temperature
                # By the temperature's square, so that both terms keep their weight.
                distilled = _cross_entropy(tf.nn.softmax(soft), cooled)
                distilled *= options.distill_temperature**2
                loss = (1 - options.distill_weight) * loss + options.distill_weight * distilled
        gradients = tape.gradient(loss, [item.value for item in self._trainable])
        self._optimizer.apply(gradients, self._trainable)
        return loss


def cosine(step: int, steps: int, peak: float, warmup: int = 0) -> float:
    """Return the learning rate of a step, from 0: a linear rise to `peak`, then half a cosine.

    Loshchilov and Hutter 2017, "SGDR", without restarts.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * 0.5 * (1 + math.cos(math.pi * share))


def step_seed(seed: int, step: int) -> Any:
    """Return the seed of a step's augmentation."""
    words = np.random.SeedSequence([seed, step]).generate_state(2)
    return tf.constant(words.astype(np.int32))


def _cross_entropy(labels: Any, logits: Any) -> Any:
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits))


def _prepare(model: keras.Model) -> None:
    """Start normalisations and biases where training usually does: scale 1, the rest 0."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _BATCH_NORM_MOMENTUM
            layer.gamma.assign(tf.ones_like(layer.gamma))
            layer.beta.assign(tf.zeros_like(layer.beta))
            layer.moving_mean.assign(tf.zeros_like(layer.moving_mean))
            layer.moving_variance.assign(tf.ones_like(layer.moving_variance))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(tf.zeros_like(layer.bias))
