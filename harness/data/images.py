"""Make a data set of a folder of images: a folder for each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.dataset import Dataset, assemble, listed, resize
from harness.data.divide import Division, SplitName, divide
from harness.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test",
}  # fmt: skip
_MODES = {1: "L", 3: "RGB"}
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"
_REPORT_EVERY = 200


def load_images(folder: Path, input_shape: tuple[int, int, int], options: Division) -> Dataset:
    """Return the data set of ``folder/<class>/*.png`` or ``folder/<split>/<class>/*.png``.

    Images are resized to the input and made grey where the network takes one channel; values are
    from 0 to 1.

    Raises:
        DataError: Files cannot be read, lie in no class's folder or a class is empty; all of them
            are named.
    """
    import numpy as np

    if input_shape[2] not in _MODES:
        raise DataError(
            f"the network takes {input_shape[2]} channels",
            where=str(folder),
            expected="1 (grey) or 3 (red, green, blue)",
        )
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
    )
    tops = {name.split("/", 1)[0] for name in names}
    divided = bool(tops) and tops <= set(_SPLIT_FOLDERS)
    depth = 2 if divided else 1
    problems = [f"{name}: in no class's folder" for name in names if name.count("/") < depth]
    problems += _empty(folder, depth, names)
    images: dict[str, NDArray[np.uint8]] = {}
    for name in names:
        try:
            images[name] = _read(folder / name, input_shape)
        except (OSError, ValueError, SyntaxError) as failure:  # Pillow raises all of these
            problems.append(f"{name}: not a readable image ({failure})")
    if problems:
        raise DataError(
            listed("bad file", problems),
            where=str(folder),
            expected="readable images in a folder for each class",
            fix="replace or remove them",
            problems=problems,
        )
    labels = [name.split("/")[depth - 1] for name in names]
    classes = tuple(sorted(set(labels)))
    splits: list[SplitName]
    how: dict[str, Any]
    if divided:
        splits, how = [_SPLIT_FOLDERS[name.split("/", 1)[0]] for name in names], {"by": "folder"}
        if "validation" not in splits:
            # What to choose by comes from the training images, never from those to test on.
            inner, _ = divide(names, [None] * len(names), options)
            splits = [
                "validation" if own == "train" and drawn == "validation" else own
                for own, drawn in zip(splits, inner, strict=True)
            ]
            how = {"by": "folder", "validation": "part of train, by file name"}
    else:
        splits, how = divide(names, [None] * len(names), options)
    x = scaled(np.stack(list(images.values())), input_shape)
    y = [classes.index(label) for label in labels]
    return assemble(folder.name, classes, x, y, splits, pixels(input_shape), how)


def read_images(
    paths: Sequence[Path],
    input_shape: tuple[int, int, int],
    folder: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """Return images in the size and colours of the input, uint8 of shape (n, *input_shape).

    Raises:
        DataError: Some cannot be read; all of them are named, by their path below `folder`.
    """
    import numpy as np

    found = np.empty((len(paths), *input_shape), np.uint8)

    def read(place: int) -> str | None:
        try:
            found[place] = _read(paths[place], input_shape)
        except (OSError, ValueError, SyntaxError) as failure:  # Pillow raises all of these
            name = paths[place].relative_to(folder).as_posix()
            return f"{name}: not a readable image ({failure})"
        return None

    problems = []
    with ThreadPoolExecutor() as pool:  # Pillow decodes beside Python
        for place, problem in enumerate(pool.map(read, range(len(paths)))):
            problems += [problem] if problem else []
            if on_progress is not None and not place % _REPORT_EVERY:
                on_progress(place + 1, len(paths))
    if problems:
        raise DataError(
            listed("bad file", problems),
            where=str(folder),
            expected="readable images",
            fix="replace them",
            problems=problems,
        )
    return found


def scaled(x: NDArray[np.uint8], input_shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return images (n, height, width, 1 or 3) from 0 to 1, resized or made grey if need be."""
    import numpy as np

    found = x.astype(np.float32)
    found /= np.float32(255)
    if x.shape[3] > input_shape[2]:
        found = found @ np.array(_LUMA, np.float32)[:, None]
    return resize(found, *input_shape[:2])


def pixels(input_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return how an image becomes an input of this shape."""
    return {
        "kind": "image",
        "height": input_shape[0],
        "width": input_shape[1],
        "mode": _MODES[input_shape[2]],
        "resize": "bilinear",
        "scale": 1 / 255,
    }


def has_images(folder: Path) -> bool:
    """Return whether there is an image below `folder`."""
    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))


def _read(path: Path, input_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image

    height, width, channels = input_shape
    with Image.open(path) as image:
        image.draft(None, (2 * width, 2 * height))  # a large JPEG is decoded at a fraction
        made = image.convert(_MODES[channels]).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(made, np.uint8).reshape(input_shape)


def _empty(folder: Path, depth: int, names: list[str]) -> list[str]:
    """Return a problem for each class folder without images."""
    places = sorted(path for path in folder.glob("/".join(["*"] * depth)) if path.is_dir())
    found = [place.relative_to(folder).as_posix() for place in places]
    return [
        f"{name}/: holds no image"
        for name in found
        if not any(part.startswith(".") for part in name.split("/"))
        and not any(other.startswith(f"{name}/") for other in names)
    ]
