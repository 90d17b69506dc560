"""Arrays, digits and folders of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import data
from harness.data.dataset import resize
from harness.errors import DataError

SHAPE = (16, 16, 1)


def picture(path: Path, level: int, size: tuple[int, int] = (20, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).integers(0, 40, (*size, 3))
    Image.fromarray((noise + level).astype(np.uint8)).save(path)


def test_digits_are_always_at_hand() -> None:
    dataset = data.load("digits", input_shape=(49, 10, 1))
    assert dataset.classes == tuple("0123456789")
    assert dataset.input_shape == (49, 10, 1)
    assert sum(len(split) for split in dataset.splits.values()) == 1797
    assert dataset.train.x.min() >= 0 and dataset.train.x.max() <= 1
    assert dataset.fingerprint == data.digits((49, 10, 1)).fingerprint
    assert dataset.fingerprint != data.digits((8, 8, 1)).fingerprint
    assert dataset.resized(49, 10) is dataset
    assert dataset.resized(8, 8).input_shape == (8, 8, 1)


def test_npz_with_its_own_splits(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 16, 16), dtype=np.uint8)
    y = np.arange(60) % 3
    file = tmp_path / "own.npz"
    np.savez(file, x_train=x, y_train=y, x_test=x[:9], y_test=y[:9], classes=["a", "b", "c"])
    dataset = data.load(file, input_shape=SHAPE)
    assert dataset.classes == ("a", "b", "c")
    assert dataset.train.x.max() <= 1  # bytes are scaled
    assert len(dataset.train) + len(dataset.validation) == 60 and len(dataset.test) == 9


def test_npz_without_splits_keeps_equal_samples_together(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(100, 16, 16, 1)).astype(np.float32)
    twice = np.concatenate([x, x])
    file = tmp_path / "plain.npz"
    np.savez(file, x=twice, y=np.arange(200) % 2)
    dataset = data.load(file, input_shape=SHAPE)
    seen = [{sample.tobytes() for sample in split.x} for split in dataset.splits.values()]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((4, 16, 16)), "y": np.zeros(3, int)}, "4 samples and 3 labels"),
        ({"x": np.zeros((4, 16, 16)), "y": np.zeros(4)}, "the labels of x are float64"),
        ({"x": np.zeros((4, 16))}, "the file has x"),
        ({"x": np.zeros((4, 16, 16)), "why": np.zeros(4)}, "unknown arrays: why"),
    ],
)
def test_wrong_arrays_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    file = tmp_path / "bad.npz"
    np.savez(file, **arrays)
    with pytest.raises(DataError, match=message):
        data.load(file, input_shape=SHAPE)


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    x = np.ones((40, 16, 16, 1), np.float32)
    x[3, 2] = np.nan
    x *= np.arange(1, 41, dtype=np.float32)[:, None, None, None]
    np.savez(tmp_path / "nan.npz", x=x, y=np.arange(40) % 2)
    with pytest.raises(DataError, match="not finite"):
        data.load(tmp_path / "nan.npz", input_shape=SHAPE)


def test_images_are_resized_and_made_grey(tmp_path: Path) -> None:
    for label, level in (("dark", 10), ("light", 200)):
        for index in range(40):
            picture(tmp_path / label / f"{index}.png", level)
    dataset = data.load(tmp_path, input_shape=SHAPE)
    assert dataset.classes == ("dark", "light")
    assert dataset.input_shape == SHAPE
    assert dataset.train.x[dataset.train.y == 0].max() < dataset.train.x[dataset.train.y == 1].min()
    assert dataset.train.x.max() <= 1


def test_images_may_be_divided_already(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label, level in (("dark", 10), ("light", 200)):
            for index in range(40):
                picture(tmp_path / split / label / f"{split}{index}.png", level)
    dataset = data.load(tmp_path, input_shape=SHAPE)
    assert len(dataset.test) == 80
    assert len(dataset.train) + len(dataset.validation) == 80


def test_bad_images_and_empty_classes_are_named(tmp_path: Path) -> None:
    for index in range(3):
        picture(tmp_path / "dark" / f"{index}.png", 10)
    (tmp_path / "dark" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "light").mkdir()
    picture(tmp_path / "stray.png", 10)
    with pytest.raises(DataError) as caught:
        data.load(tmp_path, input_shape=SHAPE)
    for part in ("3 bad files", "dark/broken.png", "light/: holds no image", "stray.png"):
        assert part in str(caught.value)


def test_no_such_data_says_what_there_may_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data"):
        data.load(tmp_path / "nowhere", input_shape=SHAPE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no WAV files here"):
        data.load(tmp_path / "empty", input_shape=SHAPE)
    (tmp_path / "notes.txt").write_text("nothing", encoding="utf-8")
    with pytest.raises(DataError, match=r"\.txt is no data set"):
        data.load(tmp_path / "notes.txt", input_shape=SHAPE)


def test_resizing_keeps_a_constant_and_the_mean() -> None:
    x = np.full((2, 8, 8, 1), 0.25, np.float32)
    assert np.allclose(resize(x, 49, 10), 0.25)
    ramp = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32), (1, 64, 64))[..., None]
    assert abs(resize(ramp, 16, 16).mean() - ramp.mean()) < 1e-3


def test_splits_whose_arrays_do_not_match_are_refused() -> None:
    digits = data.digits((8, 8, 1))
    train = digits.train
    for spoilt, message in (
        (replace(train, x=train.x[:-1]), "inputs of shape"),
        (replace(train, x=train.x[:, :4]), "the validation split has inputs"),
        (replace(train, y=train.y + 1), "labels of the train split are outside"),
        (replace(train, x=train.x * np.float32("nan")), "not finite"),
    ):
        with pytest.raises(DataError, match=message):
            replace(digits, train=spoilt)
