"""Make a data set of arrays: a .npz file, or scikit-learn's `digits`, which is always at hand."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.dataset import Dataset, Split, assemble, resize
from harness.data.divide import SPLITS, Division, divide
from harness.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EXPECTED = "arrays x and y, or x_train, y_train, x_test, y_test (and x_validation, y_validation)"
_KNOWN = {"x", "y", "classes", "anomalous_test"} | {
    f"{key}_{part}" for key in "xy" for part in SPLITS
}
_WHOLE_RANGE = {"uint8": 255.0, "uint16": 65535.0}

_Pair = tuple["NDArray[Any]", "NDArray[Any]"]  # inputs and labels


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
    if unknown := sorted(set(arrays) - _KNOWN):
        raise DataError(
            f"unknown arrays: {', '.join(unknown)}", where=str(path), expected=_EXPECTED
        )
    parts, how = _parts(arrays, options, path)
    # Signed inputs are not touched; images come as bytes more often than not.
    scale = _WHOLE_RANGE.get(parts["train"][0].dtype.name, 1.0)
    splits = {}
    for name, (x, y) in parts.items():
        values = _images(x, input_shape, f"{path} ({name})")
        marked = arrays.get(f"anomalous_{name}")
        if marked is not None and marked.shape != y.shape:
            raise DataError(
                f"anomalous_{name} has shape {marked.shape}",
                where=str(path),
                expected=f"{y.shape}, as y_{name}",
            )
        splits[name] = Split(
            resize(values / np.float32(scale), *input_shape[:2]),
            y.astype(np.int64),
            None if marked is None else marked.astype(np.bool_),
        )
    count = max((int(split.y.max(initial=0)) for split in splits.values()), default=0) + 1
    classes = tuple(map(str, arrays.get("classes", range(count))))
    features = {"kind": "array", "scale": 1 / scale, "shape": list(input_shape)}
    return Dataset(path.stem, classes, **splits, features=features, division=how)


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
    names = [f"digit_{index}" for index in range(len(labels))]
    splits, how = divide(names, [None] * len(names), Division())
    x = resize(pixels.reshape(-1, 8, 8, 1).astype(np.float32) / np.float32(16), *input_shape[:2])
    features = {
        "kind": "digits",
        "height": input_shape[0],
        "width": input_shape[1],
        "resize": "bilinear",
        "scale": 1 / 16,
    }
    return assemble("digits", "0123456789", x, labels, splits, features, how)


def _parts(
    arrays: dict[str, NDArray[Any]], options: Division, path: Path
) -> tuple[dict[str, _Pair], dict[str, Any]]:
    """Return inputs and labels of each split, and how they were divided."""
    given: dict[str, _Pair] = {
        name: (arrays[f"x_{name}"], arrays[f"y_{name}"])
        for name in SPLITS
        if f"x_{name}" in arrays and f"y_{name}" in arrays
    }
    whole = not given and "x" in arrays and "y" in arrays
    if not whole and not {"train", "test"} <= set(given):
        raise DataError(
            f"the file has {', '.join(sorted(arrays)) or 'no arrays'}",
            where=str(path),
            expected=_EXPECTED,
        )
    pairs = {"x": (arrays["x"], arrays["y"])} if whole else {f"x_{k}": v for k, v in given.items()}
    for name, (x, y) in pairs.items():
        _check_pair(x, y, name, path)
    if "validation" in given:
        return given, {"by": "the file"}
    x, y = pairs["x" if whole else "x_train"]
    # By content: equal samples never end up in two splits.
    names = [hashlib.sha256(sample.tobytes()).hexdigest() for sample in x]
    splits, how = divide(names, [None] * len(names), options)
    if whole:
        return _select(x, y, splits), {**how, "by": "content of the sample"}
    inner = _select(x, y, ["train" if own == "test" else own for own in splits])
    note = "part of train, by content of the sample"
    return {**inner, "test": given["test"]}, {**how, "by": "the file", "validation": note}


def _select(x: NDArray[Any], y: NDArray[Any], splits: Sequence[str]) -> dict[str, _Pair]:
    import numpy as np

    own = np.array(splits)
    return {split: (x[own == split], y[own == split]) for split in SPLITS}


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
