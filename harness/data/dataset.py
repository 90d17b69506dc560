"""Data sets: three splits, class names, and how the inputs were made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.data.divide import SPLITS
from harness.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_PER_CLASS = 2
"""Fewest training samples of a class; with one there is nothing to tell a class by."""


@dataclass(frozen=True, slots=True)
class Split:
    """Inputs with their classes."""

    x: NDArray[np.float32]  # float32 of shape (n, height, width, channels)
    y: NDArray[np.int64]  # int64 of shape (n,), index into `Dataset.classes`
    # bool of shape (n,), for anomaly detection; None for other tasks
    anomalous: NDArray[np.bool_] | None = None
    # int64 of shape (n,), which recording an input was cut from; None where every input is a
    # recording of its own. Scores of one recording are averaged.
    clip: NDArray[np.int64] | None = None
    # str of shape (n,), whom or what an input comes from (speaker, machine, source of an image), ""
    # where that is not known; None where nothing is known. No part of the fingerprint.
    group: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set, ready to train on.

    Raises:
        DataError: A class or a split has too few samples, or arrays do not match; all are named.
    """

    name: str
    classes: tuple[str, ...]  # names of the classes; their order is the order of the logits
    train: Split  # trains the weights
    validation: Split  # decides on architecture and settings
    test: Split  # measures the result; nothing is chosen by it
    # How an input is made from the raw data, enough to make one on the device
    features: Mapping[str, Any]
    # How the splits were made, for the report
    division: Mapping[str, Any] = field(default_factory=dict)
    # 16 hex digits of the content: equal for equal arrays and classes
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        _check(self.name, self.classes, self.splits)
        object.__setattr__(self, "fingerprint", _fingerprint(self.classes, self.splits))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width, channels of an input."""
        height, width, channels = self.train.x.shape[1:]
        return (int(height), int(width), int(channels))

    @property
    def splits(self) -> dict[str, Split]:
        """Return the splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of inputs of each class, by split."""
        import numpy as np

        return {
            name: dict(
                zip(
                    self.classes,
                    np.bincount(split.y, minlength=len(self.classes)).tolist(),
                    strict=True,
                )
            )
            for name, split in self.splits.items()
        }

    def resized(self, height: int, width: int) -> Dataset:
        """Return the data set for networks of another input size; itself where it has that size.

        For backbones whose input resolution is a decision.
        """
        if (height, width) == self.input_shape[:2]:
            return self
        splits = {
            name: replace(split, x=resize(split.x, height, width))
            for name, split in self.splits.items()
        }
        features = {**self.features, "resized": [height, width]}
        return Dataset(self.name, self.classes, **splits, features=features, division=self.division)


def assemble(
    name: str,
    classes: Sequence[str],
    x: NDArray[np.float32],
    y: Sequence[int] | NDArray[np.int64],
    splits: Sequence[str],
    features: Mapping[str, Any],
    division: Mapping[str, Any],
    **others: Sequence[Any] | None,
) -> Dataset:
    """Return the data set of samples of which `splits` names the split of each.

    `others` are `anomalous`, `clip` and `group` of each sample; None where there are none.

    Raises:
        DataError: As `Dataset`.
    """
    import numpy as np

    columns: dict[str, NDArray[Any]] = {"x": x, "y": np.asarray(y, np.int64)}
    columns |= {key: np.asarray(values) for key, values in others.items() if values is not None}
    own = np.array(splits)
    parts = {
        split: Split(**{key: values[own == split] for key, values in columns.items()})
        for split in SPLITS
    }
    return Dataset(name, tuple(classes), **parts, features=features, division=division)


def _fingerprint(classes: Sequence[str], splits: Mapping[str, Split]) -> str:
    import numpy as np

    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for split in splits.values():
        for array in (split.x, split.y, split.anomalous, split.clip):
            if array is None:
                digest.update(b"none")
            else:
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _check(name: str, classes: Sequence[str], splits: Mapping[str, Split]) -> None:
    """Refuse splits that cannot be trained on or that would give a meaningless accuracy."""
    import numpy as np

    problems = []
    if len(classes) < 2:
        problems.append(f"{len(classes)} classes: {', '.join(classes) or 'none'}")
    for split_name, split in splits.items():
        if not len(split):
            problems.append(f"the {split_name} split is empty")
            continue
        shape = splits["train"].x.shape[1:]
        if len(split.x) != len(split) or split.x.ndim != 4 or split.x.shape[1:] != shape:
            problems.append(
                f"the {split_name} split has inputs of shape {split.x.shape} for {len(split)} "
                f"labels, not one each of shape {shape}"
            )
            continue
        if not np.isfinite(split.x).all():
            bad = int(np.count_nonzero(~np.isfinite(split.x).all(axis=(1, 2, 3))))
            problems.append(f"{bad} samples of the {split_name} split are not finite numbers")
        outside = int(np.count_nonzero((split.y < 0) | (split.y >= len(classes))))
        if outside:
            problems.append(
                f"{outside} labels of the {split_name} split are outside 0..{len(classes) - 1}"
            )
            continue
        counts = np.bincount(split.y, minlength=len(classes))
        least = MIN_PER_CLASS if split_name == "train" else 1
        problems += [
            f"class '{classes[index]}' has {count} samples in the {split_name} split"
            for index, count in enumerate(counts)
            if count < least
        ]
    if problems:
        raise DataError(
            listed("problem", problems),
            where=name,
            expected=f"two classes or more, {MIN_PER_CLASS} training samples of each and one of "
            "each to validate and to test with",
            fix="add samples, or leave the class out",
            problems=problems,
        )


def listed(noun: str, problems: Sequence[str], shown: int = 20) -> str:
    """Return problems as one message; a long list is cut, and says so."""
    if len(problems) == 1:
        return problems[0]
    lines = list(problems[:shown])
    if len(problems) > shown:
        lines.append(f"... and {len(problems) - shown} more")
    return "\n  ".join([f"{len(problems)} {noun}s:", *lines])


def resize(x: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Return images (n, height, width, channels) of another size (bilinear, antialiased)."""
    import numpy as np

    if x.shape[1:3] == (height, width) or not len(x):
        return np.ascontiguousarray(x).reshape(len(x), height, width, x.shape[3])
    from PIL import Image

    resized = np.empty((len(x), height, width, x.shape[3]), np.float32)
    for index, sample in enumerate(x):
        for channel in range(x.shape[3]):
            plane = Image.fromarray(np.ascontiguousarray(sample[..., channel]))  # mode F
            scaled = plane.resize((width, height), Image.Resampling.BILINEAR)
            resized[index, ..., channel] = np.asarray(scaled)
    return resized
