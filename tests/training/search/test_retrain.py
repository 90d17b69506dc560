"""Training a derived network: the same for a seed, interrupted or not; quantised; evaluated."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.backbones import Architecture, Backbone, get_backbone
from harness.data.dataset import Dataset
from harness.data.features import SoundFeatures
from harness.errors import BackboneError, SearchError
from harness.models import read_model
from harness.models.reference import run_tflite
from harness.search.training.augment import Augmentation, augmenter, for_features, warps
from harness.search.training.evaluate import evaluate, float_logits, int8_logits
from harness.search.training.options import TrainOptions, TrainReport
from harness.search.training.quantise import quantise, representative
from harness.search.training.steps import cosine
from harness.search.training.train import Trained, train

EPOCHS = 6


def small(backbone: Backbone) -> Architecture:
    return backbone.architecture(stem=[12], blocks=[12, 16, 16, 16, 0, 0, 0, 0])


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return get_backbone("ds_cnn_kws").with_classes(10)


@pytest.fixture(scope="module")
def trained(backbone: Backbone, digits: Dataset) -> Trained:
    options = TrainOptions(epochs=EPOCHS, learning_rate=0.01, batch_size=32)
    return train(backbone, small(backbone), digits, options)


def weights(found: Trained) -> list[np.ndarray]:
    return [np.asarray(item) for item in found.model.get_weights()]


def same(one: Trained, other: Trained) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_it_learns_and_int8_is_as_good_as_float(trained: Trained, digits: Dataset) -> None:
    assert [report.epoch for report in trained.history] == list(range(1, EPOCHS + 1))
    assert trained.history[-1].loss < trained.history[0].loss
    content = quantise(trained.model, digits)
    found = evaluate(content, digits.test, digits.classes, trained.model)
    assert found.samples == len(digits.test)
    assert found.float_accuracy > 0.85
    assert abs(found.accuracy - found.float_accuracy) < 0.03
    assert found.agreement > 0.95
    assert content == quantise(trained.model, digits)  # byte for byte


def test_accuracy_is_that_of_the_reference_kernels(trained: Trained, digits: Dataset) -> None:
    content = quantise(trained.model, digits)
    model = read_model(content)
    source, target = model.graph.input_tensors()[0], model.graph.output_tensors()[0]
    x = digits.test.x[:24]
    fast = int8_logits(content, x)
    quantised = np.clip(np.round(x / np.float32(source.scale)) + source.zero_point, -128, 127)
    slow = np.stack(
        [
            np.frombuffer(run_tflite(model, [sample.astype(np.int8).tobytes()])[0], np.int8)
            for sample in quantised
        ]
    )
    expected = (slow.astype(np.float32) - target.zero_point) * target.scale
    assert np.allclose(fast, expected, atol=target.scale / 4)  # byte for byte
    assert np.abs(fast - float_logits(trained.model, x)).max() < 20 * target.scale


def test_the_network_is_the_architecture_for_ten_classes(
    trained: Trained, digits: Dataset, backbone: Backbone
) -> None:
    graph = read_model(quantise(trained.model, digits)).graph
    cost = backbone.cost(small(backbone))
    assert (graph.macs, graph.parameters) == (cost.macs, cost.parameters)
    assert get_backbone("ds_cnn_kws").cost(small(backbone)).macs == cost.macs + 2 * 16
    with pytest.raises(BackboneError):
        backbone.with_classes(1)


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(
    backbone: Backbone, few: Dataset, tmp_path: Path
) -> None:
    options = TrainOptions(epochs=4, qat_epochs=2, seed=5)
    state, killed = tmp_path / "state", tmp_path / "killed"

    def told(report: TrainReport) -> None:
        if report.epoch == 3:
            shutil.copytree(state, killed)

    def run(folder: Path, told: Callable[[TrainReport], None] | None = None) -> Trained:
        return train(backbone, small(backbone), few, options, on_epoch=told, checkpoint_dir=folder)

    whole = run(state, told)
    resumed = run(killed)
    assert same(whole, resumed)
    assert [report.loss for report in resumed.history] == [r.loss for r in whole.history]
    assert same(whole, run(killed))  # a finished one is not trained again
    with pytest.raises(SearchError, match="options differ"):
        train(backbone, small(backbone), few, replace(options, seed=6), checkpoint_dir=killed)


def test_a_time_limit_decides_the_epochs_and_can_be_repeated(
    backbone: Backbone, few: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    limited = TrainOptions(time_limit_s=3600, max_epochs=2)
    with caplog.at_level(logging.WARNING):
        found = train(backbone, small(backbone), few, limited)
    assert len(found.history) == 2
    # Measuring how fast it is leaves no trace in the weights.
    assert same(found, train(backbone, small(backbone), few, TrainOptions(epochs=2)))
    hurried = replace(limited, time_limit_s=1e-3)
    assert len(train(backbone, small(backbone), few, hurried).history) == 1


def test_distilling_trains_the_larger_network_first(backbone: Backbone, few: Dataset) -> None:
    larger = backbone.architecture(stem=[16], blocks=[16] * 4 + [0] * 4)
    phases = []
    train(
        backbone,
        small(backbone),
        few,
        TrainOptions(epochs=1, distill_from=larger),
        on_epoch=lambda report: phases.append(report.phase),
    )
    assert phases == ["teacher", "train"]


def test_classes_and_options_are_checked(backbone: Backbone, few: Dataset) -> None:
    with pytest.raises(SearchError, match="10 classes"):
        train(get_backbone("ds_cnn_kws"), small(backbone), few)
    with pytest.raises(SearchError, match="label_smoothing"):
        TrainOptions(label_smoothing=1.0)
    with pytest.raises(SearchError, match="epochs"):
        TrainOptions(epochs=0)


def test_inputs_are_resized_to_the_network(few: Dataset) -> None:
    machines = get_backbone("ds_cnn_ad").with_classes(10)
    architecture = machines.architecture(stem=[4], blocks=[4, 0, 0, 0, 4, 0, 4, 0])
    assert machines.input_shape != few.input_shape
    found = train(machines, architecture, few, TrainOptions(epochs=1))
    content = quantise(found.model, few)
    assert evaluate(content, few.test, few.classes, found.model).samples == len(few.test)


def test_schedule_rises_then_falls_to_zero() -> None:
    rates = [cosine(step, 100, 0.1, warmup=10) for step in range(101)]
    assert math.isclose(max(rates), 0.1) and rates.index(max(rates)) in (9, 10)
    assert rates[0] == pytest.approx(0.01) and rates[-1] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_augmentation_depends_on_its_seed_alone_and_keeps_shapes() -> None:
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=(8, 49, 10, 1)).astype(np.float32)
    features = {
        **SoundFeatures(sample_rate_hz=8_000).as_json(), "mean": [0.0] * 10, "deviation": [1.0] * 10
    }  # fmt: skip
    apply = augmenter(tf, for_features(features, (49, 10, 1)), (49, 10, 1), features)
    one, again, other = (apply(x, tf.constant([3, seed])).numpy() for seed in (1, 1, 2))
    assert one.shape == x.shape and np.array_equal(one, again) and not np.array_equal(one, other)
    shift = augmenter(tf, Augmentation(shift_rows=4), (49, 10, 1))(x, tf.constant([0, 1])).numpy()
    for before, after in zip(x, shift, strict=True):
        moves = [np.array_equal(np.roll(before, move, 0)[4:-4], after[4:-4])
                 for move in range(-4, 5)]  # fmt: skip
        assert sum(moves) == 1
    masks = augmenter(tf, Augmentation(mask_rows=7), (49, 10, 1))(x, tf.constant([0, 1])).numpy()
    for before, after in zip(x, masks, strict=True):
        gone = np.flatnonzero((after == 0).all(axis=(1, 2)))
        assert len(gone) <= 7 and np.array_equal(gone, np.arange(len(gone)) + gone[:1].sum())
        kept = np.setdiff1d(np.arange(49), gone)
        assert np.array_equal(before[kept], after[kept])


def test_another_vocal_tract_is_a_stretched_spectrum() -> None:
    """By hand: a bump of the mel spectrum moves to where its frequency goes."""
    import tensorflow as tf

    parameters = SoundFeatures(sample_rate_hz=8_000)
    rng = np.random.default_rng(0)
    mean, deviation = rng.normal(size=10), rng.uniform(0.5, 2, 10)
    features = {**parameters.as_json(), "mean": list(mean), "deviation": list(deviation)}
    matrices, offsets = warps(features, 0.2)
    middle = len(matrices) // 2
    assert np.allclose(matrices[middle], np.eye(10), atol=1e-5)
    assert np.allclose(offsets[middle], 0, atol=1e-5)
    low, high = (1127 * math.log1p(hz / 700) for hz in (parameters.lower_hz, parameters.top_hz))
    place = low + (high - low) / 41 * np.arange(1, 41)
    hz = 700 * np.expm1(place / 1127)

    def coefficients(of_hz: np.ndarray) -> np.ndarray:
        log_mel = np.exp(-(((of_hz - 1500) / 800) ** 2))  # smooth, as ten coefficients can say
        cepstrum = tf.signal.mfccs_from_log_mel_spectrograms(tf.constant(log_mel)).numpy()[:10]
        found: np.ndarray = (cepstrum - mean) / deviation
        return found

    plain = coefficients(hz)
    for index, factor in ((0, 1 / 1.2), (-1, 1.2)):
        wanted = coefficients(hz * factor)
        moved = plain @ matrices[index] + offsets[index]
        # The edges of the bands are cut, so it is near, not equal.
        assert np.abs(moved - wanted).max() < 0.25 * np.abs(plain - wanted).max()


def test_speech_is_stretched_around_its_middle() -> None:
    import tensorflow as tf

    ramp = np.tile(np.arange(49, dtype=np.float32)[None, :, None, None], (16, 1, 10, 1))
    apply = augmenter(tf, Augmentation(stretch=0.25), (49, 10, 1))
    found = apply(ramp, tf.constant([0, 1])).numpy()
    assert np.allclose(found[:, 24], 24)
    pace = (found[:, 30] - found[:, 24])[:, 0, 0] / 6
    assert (pace > 0.79).all() and (pace < 1.26).all() and np.ptp(pace) > 0.2
    assert np.allclose(found[:, 27] - 24, 3 * pace[:, None, None], atol=1e-4)


def test_calibration_takes_the_classes_in_turn() -> None:
    y = np.array([0] * 90 + [1] * 8 + [2] * 2)
    chosen = representative(y, 9, seed=0)
    assert sorted(np.bincount(y[chosen])) == [2, 3, 4]
    assert np.array_equal(chosen, representative(y, 9, seed=0))
    assert not np.array_equal(chosen, representative(y, 9, seed=1))
