"""Visual wake words: images with and without people (Chowdhery et al. 2019, arXiv:1906.05721)."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.cache import cached_arrays, stamp
from harness.data.dataset import Dataset, assemble, listed
from harness.data.divide import Division, SplitName, by_hash, divide
from harness.data.images import pixels, read_images, scaled
from harness.data.subset import thin
from harness.data.tasks.task import Request, division
from harness.errors import DataError

LAYOUTS = (
    "index.csv with the columns file, label, split; or COCO: annotations/instances_*.json and "
    "folders of images"
)
CLASSES = ("no_person", "person")
SMALLEST_PERSON = 0.005
"""Share of the image that a person's box has at least; smaller ones do not count."""

_INDEX = "index.csv"
_SPLIT_OF: dict[str, SplitName] = {
    "train": "train", "val": "validation", "validation": "validation", "test": "test",
    "official_test": "test",
}  # fmt: skip
# Ids of the images to test with, as published with the data set
_MINIVAL = "mscoco_minival_ids.txt"
# A tenth of the training images decides
_VALIDATION = Division(test_share=0.0, validation_share=0.1)


@dataclass(frozen=True, slots=True)
class _Image:
    path: Path
    label: str
    split: SplitName
    source: str


def load(request: Request) -> Dataset | None:
    """Return the data set of a folder; None if its layout is not known.

    Raises:
        DataError: Index, annotations or images are missing or bad.
    """
    folder = request.folder
    if (folder / _INDEX).is_file():
        return _assembled(request, _indexed(folder), "index.csv", "the data set's index")
    places = (folder / "annotations", folder)
    files = [file for place in places for file in sorted(place.glob("instances_*.json"))]
    if not files:
        return None
    images, by = _coco(folder, files)
    return _assembled(request, images, "COCO annotations", by)


def _assembled(request: Request, images: Sequence[_Image], layout: str, by: str) -> Dataset:
    folder = request.folder
    kept, thinned = thin(
        [image.label for image in images],
        [image.split for image in images],
        [image.path.name for image in images],
        request.train_samples,
    )
    images = [images[place] for place in kept]
    paths = [image.path for image in images]
    key = stamp(paths, shape=request.input_shape)
    stored = cached_arrays(
        f"vww-{key}",
        lambda: {"x": read_images(paths, request.input_shape, folder, request.on_progress)},
    )
    return assemble(
        request.name,
        CLASSES,
        scaled(stored["x"], request.input_shape),
        [CLASSES.index(image.label) for image in images],
        [image.split for image in images],
        pixels(request.input_shape),
        division("vww", layout, by, **thinned),
        group=[image.source for image in images],
    )


def _indexed(folder: Path) -> list[_Image]:
    index = folder / _INDEX
    with index.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    problems = [] if rows else ["it lists nothing"]
    images = []
    for row in rows:
        if not {"file", "label", "split"} <= set(row):
            problems = [f"it has the columns {', '.join(map(str, row))}"]
            break
        name, label, split = row["file"], row["label"], row["split"]
        if label not in CLASSES:
            problems.append(f"{name}: unknown label '{label}'")
        elif split not in _SPLIT_OF:
            problems.append(f"{name}: unknown split '{split}'")
        elif not (folder / name).is_file():
            problems.append(f"{name} is missing")
        else:
            source = row.get("source") or ""
            images.append(_Image(folder / name, label, _SPLIT_OF[split], source))
    if problems:
        raise DataError(
            listed("problem", problems),
            where=str(index),
            expected=f"columns file, label ({', '.join(CLASSES)}), split ({', '.join(_SPLIT_OF)}); "
            "every file in its place",
            problems=problems,
        )
    return images


def _coco(folder: Path, files: Sequence[Path]) -> tuple[list[_Image], str]:
    """Label COCO's images: "person" where a person's box is 0.5 % of the image or more."""
    marked: dict[str, str] = {}
    found: list[tuple[Path, str, str, int]] = []  # image, label, annotations, id
    for file in files:
        part = file.stem.removeprefix("instances_")
        for path, label, number in _labelled(file, folder, part):
            if marked.setdefault(path.name, part) != part:
                raise DataError(
                    f"{path.name} is in {marked[path.name]} and in {part}",
                    where=str(file.parent),
                    expected="annotations of one year",
                )
            found.append((path, label, part, number))
    if missing := [str(path) for path, *_ in found if not path.is_file()]:
        raise DataError(
            listed("image", [f"{name} is missing" for name in missing]),
            where=str(folder),
            expected="every image that the annotations name",
        )
    names = [path.name for path, *_ in found]
    lists = [place / _MINIVAL for place in (folder, folder / "annotations")]
    if listed_ids := next((file for file in lists if file.is_file()), None):
        tested = set(map(int, listed_ids.read_text(encoding="utf-8").split()))
        testing = [number in tested for *_, number in found]
        by = f"{_MINIVAL}; a tenth of the rest to validate"
    elif len(files) > 1:
        testing = [part.startswith("val") for _, _, part, _ in found]
        by = "COCO's val to test; a tenth of the rest to validate"
    else:
        splits, how = divide(names, [None] * len(names), Division())
        made = zip(found, splits, strict=True)
        return [_Image(path, label, own, "coco") for (path, label, *_), own in made], how["by"]
    return [
        _Image(path, label, "test" if tested_on else by_hash(path.name, _VALIDATION), "coco")
        for (path, label, *_), tested_on in zip(found, testing, strict=True)
    ], by


def _labelled(file: Path, folder: Path, part: str) -> list[tuple[Path, str, int]]:
    """Return image, label and id of everything in a file of annotations."""
    try:
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        person = {own["id"] for own in data["categories"] if own["name"] == "person"}
        area = {own["id"]: own["width"] * own["height"] for own in data["images"]}
        people = {
            own["image_id"]
            for own in data["annotations"]
            if own["category_id"] in person
            and own["bbox"][2] * own["bbox"][3] >= SMALLEST_PERSON * area[own["image_id"]]
        }
        images = [(own["file_name"], own["id"]) for own in data["images"]]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as failure:
        raise DataError(
            f"not COCO's annotations of instances ({type(failure).__name__}: {failure})",
            where=str(file),
            expected="images, categories and annotations with bbox",
        ) from None
    if not person or not images:
        raise DataError(
            f"{len(images)} images, {len(person)} categories called 'person'",
            where=str(file),
            expected="images, and the category 'person'",
        )
    places = [folder / part, folder / "images" / part, folder / "images", folder]
    place = next((own for own in places if (own / images[0][0]).is_file()), places[0])
    return [
        (place / name, CLASSES[int(number in people)], number) for name, number in sorted(images)
    ]
