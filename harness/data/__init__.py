"""Data sets to train on: recordings, images, arrays, and one that is always at hand.

Light to import: numpy, TensorFlow, Pillow and scikit-learn load when they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.data.arrays import digits, load_npz
from harness.data.dataset import Dataset, Split
from harness.data.divide import Division
from harness.data.features import SoundFeatures
from harness.data.images import SUFFIXES as IMAGE_SUFFIXES
from harness.data.images import has_images, load_images
from harness.data.sounds import SoundOptions, load_sounds
from harness.errors import DataError

__all__ = ["Dataset", "Division", "SoundFeatures", "SoundOptions", "Split", "digits", "load"]


def load(
    source: str | Path,
    *,
    input_shape: tuple[int, int, int],
    options: SoundOptions | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Load a data set for networks with inputs of `input_shape`.

    Args:
        source: ``digits``, a .npz file, or a folder of WAV files or of images.
        on_progress: Called with the number of features computed, and of all.

    Raises:
        DataError: There is no such source, or it cannot be trained on; every file at fault is
            named.
    """
    chosen = options or SoundOptions()
    if str(source) == "digits" and not Path(source).exists():
        return digits(input_shape)
    path = Path(source)
    if path.is_file():
        if path.suffix.lower() != ".npz":
            raise DataError(
                f"a {path.suffix or 'file without suffix'} is no data set",
                where=str(path),
                expected="a .npz file, a folder, or 'digits'",
            )
        return load_npz(path, input_shape, chosen.division)
    if not path.is_dir():
        raise DataError(
            f"no such data: {source}",
            expected="a folder of WAV files or images, a .npz file, or 'digits'",
            fix="check the path",
        )
    path = _inside(path)
    has_sound = any(file.suffix.lower() == ".wav" for file in path.rglob("*"))
    if has_sound or not has_images(path):
        return load_sounds(path, input_shape, chosen, on_progress)
    return load_images(path, input_shape, chosen.division)


def _inside(folder: Path) -> Path:
    """Return where the data begins: a lone sub-folder is no label, there would be one class."""
    while True:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        folders = [entry for entry in entries if entry.is_dir()]
        has_data = any(entry.suffix.lower() in (".wav", *IMAGE_SUFFIXES) for entry in entries)
        if len(folders) != 1 or has_data:
            return folder
        folder = folders[0]
