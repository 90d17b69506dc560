"""Steps of the search phase: one for the weights, one for the decisions. Imports TensorFlow."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from harness.backbones import Architecture
from harness.data import Dataset, Split
from harness.search.cost.cost_model import Constraint
from harness.search.cost.counts import Counts
from harness.search.space.feasible import prior
from harness.search.space.grid import Grid
from harness.search.supernet.expected import expected_counts
from harness.search.supernet.network import Supernet
from harness.search.supernet.options import EpochReport, SearchOptions
from harness.search.training.augment import NO_AUGMENTATION, augmenter


class SupernetTraining:
    """Supernet, optimizers and Lagrange multipliers in training, epoch by epoch.

    Every random number comes from the seed and the step's number, so the state between two epochs
    is all there is to save, and TensorFlow's global seed is neither used nor changed.
    """

    def __init__(
        self, grid: Grid, dataset: Dataset, constraint: Constraint, options: SearchOptions
    ) -> None:
        self._grid, self._constraint, self._options = grid, constraint, options
        self._train, self._validation = dataset.train, dataset.validation
        self._augment = augmenter(
            tf, options.augmentation or NO_AUGMENTATION, dataset.input_shape, dataset.features
        )
        start = prior(grid, constraint, options.prior)
        self._net = Supernet(grid, options.seed, start)
        self._weight_optimizer = keras.optimizers.Adam(options.learning_rate)
        self._weight_optimizer.build(self._net.network_variables)
        self._architecture_optimizer = keras.optimizers.Adam(
            options.architecture_learning_rate, beta_1=0.5
        )
        self._architecture_optimizer.build(self._net.architecture_variables)
        self._multipliers = dict.fromkeys(constraint.names, 0.0)
        self._step = 0
        self._weight_step = tf.function(self._train_weights, autograph=False)
        self._validate = tf.function(self._judge, autograph=False)
        self._architecture_step = tf.function(self._train_architecture, autograph=False)

    def epoch(self, epoch: int, epochs: int) -> EpochReport:
        """Train for one epoch, counted from 0; every batch has the same size."""
        options, started = self._options, time.process_time()
        searching = epoch >= options.warmup_epochs
        temperature = tf.constant(options.temperature(epoch), tf.float32)
        penalty = min(
            options.penalty * options.penalty_growth ** (epoch - options.warmup_epochs),
            options.penalty_most,
        )
        self._weight_optimizer.learning_rate.assign(options.rate(epoch))
        batches = _batches(self._train, options.batch_size, options.seed, epoch, 0)
        others = _batches(self._validation, options.batch_size, options.seed, epoch, 1)
        weight_totals, architecture_totals = np.zeros(2), np.zeros(2)
        architecture_steps = 0
        multipliers = tf.constant(list(self._multipliers.values()), tf.float64)
        for index, rows in enumerate(batches):
            figures = self._weight_step(*_take(self._train, rows), temperature, self._seed())
            weight_totals += [float(figure) for figure in figures]
            if searching and index % options.architecture_every == 0:
                rows = others[architecture_steps % len(others)]
                figures = self._architecture_step(
                    *_take(self._validation, rows), temperature, self._seed(),
                    multipliers, tf.constant(penalty, tf.float64),
                )  # fmt: skip
                architecture_totals += [float(figure) for figure in figures]
                architecture_steps += 1
        counts = self._counts(temperature).numbers()
        if searching:
            self._raise_multipliers(counts, penalty)
        weight_means = weight_totals / len(batches)
        means = architecture_totals / architecture_steps if architecture_steps else None
        return EpochReport(
            epoch=epoch + 1,
            epochs=epochs,
            phase="search" if searching else "warm-up",
            loss=float(weight_means[0]),
            accuracy=float(weight_means[1]),
            architecture_loss=None if means is None else float(means[0]),
            architecture_accuracy=None if means is None else float(means[1]),
            temperature=options.temperature(epoch),
            expected=self._constraint.cost_model.of_counts(counts),
            multipliers=dict(self._multipliers),
            seconds=time.process_time() - started,
        )

    def logits(self) -> dict[str, tuple[float, ...]]:
        """Return the logits of every decision."""
        return {
            name: tuple(float(value) for value in np.asarray(choice.logits))
            for name, choice in self._net.choices.items()
        }

    def perturbed(self, number: int) -> dict[str, tuple[float, ...]]:
        """Return the logits with Gumbel noise: their argmax is a sample of the decisions."""
        generator = np.random.default_rng([self._options.seed, number, 2])
        return {
            name: tuple(
                float(value) for value in np.add(values, generator.gumbel(size=len(values)))
            )
            for name, values in self.logits().items()
        }

    def validation_loss(self, architecture: Architecture, share: float = 1.0) -> float:
        """Return the cross-entropy of one network with the supernet's weights.

        Normalisation uses each batch's own statistics: the moving ones are of all networks.

        Args:
            share: Share of the validation split, always the same part of it.
        """
        weights = {
            name: tf.constant(value) for name, value in self._net.one_hot(architecture).items()
        }
        batches = _batches(self._validation, self._options.batch_size, self._options.seed, 0, 3)
        batches = batches[: math.ceil(share * len(batches))]
        losses = [self._validate(*_take(self._validation, rows), weights) for rows in batches]
        return float(np.mean([float(loss) for loss in losses]))

    def arrays(self) -> list[NDArray[Any]]:
        """Return every variable's value, in a fixed order, and the rest of the state."""
        rest = [self._step, *self._multipliers.values()]
        return [*(np.asarray(item) for item in self._variables()), np.array(rest, np.float64)]

    def restore(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Set the state to what `arrays` returned."""
        *values, rest = arrays
        for variable, array in zip(self._variables(), values, strict=True):
            variable.assign(array)
        self._step = int(rest[0])
        self._multipliers = dict(zip(self._multipliers, map(float, rest[1:]), strict=True))

    def _variables(self) -> list[Any]:
        # By layer, because a model's own list of variables depends on how it was traced.
        net = self._net
        layers = (*net.convs.values(), *net.norms.values(), net.classifier, *net.choices.values())
        return [
            *(variable for layer in layers for variable in layer.variables),
            *self._weight_optimizer.variables,
            *self._architecture_optimizer.variables,
        ]

    def _seed(self) -> Any:
        self._step += 1
        return tf.constant([self._options.seed, self._step], tf.int64)

    def _counts(self, temperature: Any) -> Counts:
        return expected_counts(self._grid, self._net.relaxed(temperature))

    def _sample(self, temperature: Any, seed: Any) -> Any:
        noise = {}
        for place, (name, choice) in enumerate(self._net.choices.items()):
            uniform = tf.random.stateless_uniform(
                (choice.options,), seed + tf.constant([0, place << 32], tf.int64),
                minval=1e-20, maxval=1.0,
            )  # fmt: skip
            noise[name] = -tf.math.log(-tf.math.log(uniform))
        return self._net.relaxed(temperature, noise)

    def _judge(self, x: Any, y: Any, weights: Any) -> Any:
        return _loss(self._net(x, weights, training=True), y)[0]

    def _train_weights(self, x: Any, y: Any, temperature: Any, seed: Any) -> tuple[Any, Any]:
        variables = self._net.network_variables
        weights, varied = self._sample(temperature, seed), self._augment(x, seed)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            loss, accuracy = _loss(self._net(varied, weights, training=True), y)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        self._weight_optimizer.apply(gradients, variables)
        return loss, accuracy

    def _train_architecture(
        self, x: Any, y: Any, temperature: Any, seed: Any, multipliers: Any, penalty: Any
    ) -> tuple[Any, Any]:
        variables, varied = self._net.architecture_variables, self._augment(x, seed)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            weights = self._sample(temperature, seed)
            loss, accuracy = _loss(self._net(varied, weights, training=True), y)
            penalty_term = self._penalty(self._counts(temperature), multipliers, penalty)
            total = loss + tf.cast(penalty_term, tf.float32)
        gradients = tape.gradient(total, [variable.value for variable in variables])
        self._architecture_optimizer.apply(gradients, variables)
        return loss, accuracy

    def _penalty(self, counts: Counts, multipliers: Any, penalty: Any) -> Any:
        """Return the augmented Lagrangian's term (Nocedal and Wright 2006, section 17.4).

        Of several boards the one that exceeds a budget the most counts.
        """
        total = tf.constant(0.0, tf.float64)
        for place, shares in enumerate(self._constraint.shares(counts).values()):
            excess = tf.reduce_max(shares) - 1.0
            pushed = tf.nn.relu(multipliers[place] + penalty * excess)
            total += (pushed**2 - multipliers[place] ** 2) / (2 * penalty)
        return total

    def _raise_multipliers(self, counts: Counts, penalty: float) -> None:
        for name, shares in self._constraint.shares(counts).items():
            excess = max(shares) - 1
            self._multipliers[name] = max(0.0, self._multipliers[name] + penalty * excess)


def _loss(logits: Any, labels: Any) -> tuple[Any, Any]:
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    right = tf.equal(tf.argmax(logits, 1), labels)
    return tf.reduce_mean(losses), tf.reduce_mean(tf.cast(right, tf.float32))


def _batches(
    samples: Split, size: int, seed: int, epoch: int, stream: int
) -> list[NDArray[np.int64]]:
    """Return the rows of each batch; an incomplete last one is dropped."""
    order = np.random.default_rng([seed, epoch, stream]).permutation(len(samples.y))
    size = min(size, len(order))
    return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]


def _take(samples: Split, rows: NDArray[np.int64]) -> tuple[Any, Any]:
    return tf.constant(samples.x[rows]), tf.constant(samples.y[rows], tf.int64)
