"""Image classification: CIFAR-10 (Krizhevsky 2009), 32×32 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.archives import read_archive
from harness.data.cache import cached_arrays, stamp
from harness.data.dataset import Dataset, assemble, listed
from harness.data.divide import Division, SplitName, by_hash
from harness.data.images import pixels, scaled
from harness.data.subset import thin
from harness.data.tasks.task import Request, division
from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAYOUTS = (
    "CIFAR-10's binary version (data_batch_1.bin to data_batch_5.bin, test_batch.bin); or "
    "cifar10_train*.tar.xz and cifar10_test*.tar.xz, with pictures class/NNNN.jpg"
)
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_SIDE = 32
_RECORD = 1 + 3 * _SIDE * _SIDE  # the label, then a plane for each of red, green, blue
_BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
# A tenth of the training images decides
_VALIDATION = Division(test_share=0.0, validation_share=0.1)


def load(request: Request) -> Dataset | None:
    """Return the data set of a folder; None if its layout is not known.

    Raises:
        DataError: Archives or batches are missing or bad.
    """
    for folder in (request.folder, request.folder / "cifar-10-batches-bin"):
        present = [name for name in _BATCHES if (folder / name).is_file()]
        if missing := sorted(set(_BATCHES) - set(present)) if present else []:
            raise DataError(
                listed("file", [f"{name} is missing" for name in missing]),
                where=str(folder),
                expected=", ".join(_BATCHES),
            )
        if present:
            return _assembled(request, [folder / name for name in _BATCHES], "binary batches")
    archives = sorted(request.folder.glob("cifar10_*.tar.xz"))
    kinds = {file.name.split("_")[1].split(".")[0] for file in archives}
    if not archives:
        return None
    if missing := sorted({"train", "test"} - kinds):
        raise DataError(
            f"there is no cifar10_{missing[0]}*.tar.xz",
            where=str(request.folder),
            expected="an archive to train on and one to test with",
        )
    return _assembled(request, archives, "pictures in archives")


def _assembled(request: Request, files: Sequence[Path], layout: str) -> Dataset:
    stored = cached_arrays(f"ic-{stamp(files)}", lambda: _read(files, request))
    names, labels = stored["name"].tolist(), stored["label"].tolist()
    splits: list[SplitName] = [
        "test" if name.startswith("test/") else by_hash(name.replace("/", "-"), _VALIDATION)
        for name in names
    ]
    kept, thinned = thin([CLASSES[label] for label in labels], splits, names, request.train_samples)
    x = scaled(stored["x"][kept], request.input_shape)
    note = "a tenth of the training images, by name"
    return assemble(
        request.name,
        CLASSES,
        x,
        [labels[place] for place in kept],
        [splits[place] for place in kept],
        pixels(request.input_shape),
        division("ic", layout, "the data set's own", validation=note, **thinned),
    )


def _read(files: Sequence[Path], request: Request) -> dict[str, NDArray[Any]]:
    import numpy as np

    names: list[str] = []
    labels: list[int] = []
    images = []
    for file in files:
        part = "test" if "test" in file.name else "train"
        if file.suffix == ".bin":
            own_labels, own_images = _batch(file)
            own = [f"{file.stem}/{index}" for index in range(len(own_labels))]
        else:
            own, own_images = read_archive(
                file, (_SIDE, _SIDE), "RGB", on_progress=request.on_progress
            )
            if strange := sorted({name.split("/")[0] for name in own} - set(CLASSES)):
                raise DataError(
                    f"folders {', '.join(strange)}", where=str(file), expected=", ".join(CLASSES)
                )
            own_labels = [CLASSES.index(name.split("/")[0]) for name in own]
        names += [f"{part}/{name}" for name in own]
        labels += own_labels
        images.append(own_images)
    return {"name": np.array(names), "label": np.array(labels), "x": np.concatenate(images)}


def _batch(file: Path) -> tuple[list[int], NDArray[Any]]:
    import numpy as np

    raw = np.fromfile(file, np.uint8)
    if not len(raw) or len(raw) % _RECORD:
        raise DataError(
            f"{len(raw)} bytes",
            where=str(file),
            expected=f"a multiple of {_RECORD}: a label and {_SIDE}×{_SIDE} pixels each",
            fix="fetch CIFAR-10's binary version again",
        )
    records = raw.reshape(-1, _RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise DataError(
            f"label {records[:, 0].max()}", where=str(file), expected=f"0 to {len(CLASSES) - 1}"
        )
    planes = records[:, 1:].reshape(-1, 3, _SIDE, _SIDE)
    return records[:, 0].tolist(), planes.transpose(0, 2, 3, 1)
