"""Make a data set of arrays: a .npz file, or scikit-learn's `digits`, which is always at hand."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.dataset import Dataset, Split, make_dataset, resize
from harness.data.divide import SPLITS, Division, divide
from harness.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_KEYS = {
    "train": ("x_train", "y_train"),
    "validation": ("x_validation", "y_validation"),
    "test": ("x_test", "y_test"),
}
_EXPECTED = "arrays x and y, or x_train, y_train, x_test, y_test (and x_validation, y_validation)"
_WHOLE_RANGE = {"uint8": 255.0, "uint16": 65535.0}


def load_npz(path: Path, input_shape: tuple[int, int, int], options: Division) -> Dataset:
    """Return the data set of a .npz file.

    It holds ``x`` and ``y``, divided here by the hash of each sample's content, or the splits
    already: ``x_train``, ``y_train``, ``x_test``, ``y_test``, and ``x_validation``,
    ``y_validation``, which else are a part of the training split. ``classes`` may name the classes
    and ``anomalous_test`` mark anomalies. Unsigned integers are scaled to 0..1.

    Raises:
        DataError: The file cannot be read or its arrays do not fit.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as failure:
        raise DataError(
            f"not a readable .npz file: {failure}", where=str(path), expected=_EXPECTED
        ) from None
    pairs = (name for pair in _KEYS.values() for name in pair)
    known = {"x", "y", "classes", "anomalous_test", *pairs}
    unknown = sorted(set(arrays) - known)
    if unknown:
        raise DataError(
            f"unknown arrays: {', '.join(unknown)}", where=str(path), expected=_EXPECTED
        )
    parts, how = _parts(arrays, options, path)
    # Signed inputs are not touched; images come as bytes more often than not.
    scale = _WHOLE_RANGE.get(parts["train"][0].dtype.name, 1.0)
    splits = {}
    for name, (x, y) in parts.items():
        values = _images(x, input_shape, f"{path} ({name})")
        values = resize(values / np.float32(scale), *input_shape[:2])
        marked = arrays.get(f"anomalous_{name}")
        if marked is not None and marked.shape != y.shape:
            raise DataError(
                f"anomalous_{name} has shape {marked.shape}",
                where=str(path),
                expected=f"{y.shape}, as y_{name}",
            )
        splits[name] = Split(
            values, y.astype(np.int64), None if marked is None else marked.astype(np.bool_)
        )
    count = max((int(split.y.max(initial=0)) for split in splits.values()), default=0) + 1
    named = arrays.get("classes")
    classes = [str(name) for name in named] if named is not None else list(map(str, range(count)))
    features = {"kind": "array", "scale": 1 / scale, "shape": list(input_shape)}
    return make_dataset(path.stem, classes, splits, features, how)


def digits(input_shape: tuple[int, int, int]) -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits, 8×8 pixels, resized to the input.

    Values are from 0 to 1. The source is the UCI ML repository's "Optical Recognition of
    Handwritten Digits", which scikit-learn ships.
    """
    import numpy as np
    from sklearn.datasets import load_digits

    if input_shape[2] != 1:
        raise DataError(
            f"digits are grey, the network takes {input_shape[2]} channels",
            expected="a backbone for one channel",
        )
    pixels, labels = load_digits(return_X_y=True)
    x = pixels.reshape(-1, 8, 8, 1).astype(np.float32)
    names = [f"digit_{index}" for index in range(len(labels))]
    chosen, how = divide(names, [None] * len(names), Division())
    masks = {split: np.array([own == split for own in chosen], np.bool_) for split in SPLITS}
    images = resize(x / np.float32(16), *input_shape[:2])
    splits: dict[str, Split] = {
        split: Split(images[mask], labels[mask].astype(np.int64)) for split, mask in masks.items()
    }
    features = {
        "kind": "digits",
        "height": input_shape[0],
        "width": input_shape[1],
        "resize": "bilinear",
        "scale": 1 / 16,
    }
    return make_dataset("digits", tuple("0123456789"), splits, features, how)


def _parts(
    arrays: dict[str, NDArray[Any]], options: Division, path: Path
) -> tuple[dict[str, tuple[NDArray[Any], NDArray[Any]]], dict[str, Any]]:
    given = {
        split: (arrays[keys[0]], arrays[keys[1]])
        for split, keys in _KEYS.items()
        if keys[0] in arrays and keys[1] in arrays
    }
    if "x" in arrays and "y" in arrays and not given:
        x, y = arrays["x"], arrays["y"]
        _check_pair(x, y, "x", path)
        names = _content_names(x)
        splits, how = divide(names, [None] * len(names), options)
        return _select(x, y, splits), {**how, "by": "content of the sample"}
    if "train" not in given or "test" not in given:
        raise DataError(
            f"the file has {', '.join(sorted(arrays)) or 'no arrays'}",
            where=str(path),
            expected=_EXPECTED,
        )
    for split, (x, y) in given.items():
        _check_pair(x, y, _KEYS[split][0], path)
    if "validation" in given:
        return given, {"by": "the file"}
    x, y = given["train"]
    names = _content_names(x)
    splits, how = divide(names, [None] * len(names), options)
    inner = _select(x, y, ["validation" if own == "validation" else "train" for own in splits])
    return (
        {"train": inner["train"], "validation": inner["validation"], "test": given["test"]},
        {**how, "by": "the file", "validation": "part of train, by content of the sample"},
    )


def _select(
    x: NDArray[Any], y: NDArray[Any], splits: Any
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    import numpy as np

    own = np.array(splits)
    return {split: (x[own == split], y[own == split]) for split in SPLITS}


def _content_names(x: NDArray[Any]) -> list[str]:
    # By content: equal samples never end up in two splits.
    return [hashlib.sha256(sample.tobytes()).hexdigest() for sample in x]


def _check_pair(x: NDArray[Any], y: NDArray[Any], name: str, path: Path) -> None:
    problem = None
    if y.ndim != 1 or y.dtype.kind not in "iu":
        problem = f"the labels of {name} are {y.dtype} of shape {y.shape}"
    elif len(x) != len(y):
        problem = f"{name} has {len(x)} samples and {len(y)} labels"
    elif x.dtype.kind not in "fiu":
        problem = f"{name} is {x.dtype}"
    if problem is not None:
        raise DataError(
            problem, where=str(path), expected="numbers, and an integer label for each sample"
        )


def _images(x: NDArray[Any], input_shape: tuple[int, int, int], where: str) -> NDArray[np.float32]:
    import numpy as np

    images = x[..., None] if x.ndim == 3 else x
    if images.ndim != 4 or images.shape[3] != input_shape[2]:
        raise DataError(
            f"samples have shape {x.shape[1:]}",
            where=where,
            expected=f"(height, width, {input_shape[2]})",
        )
    return images.astype(np.float32)
