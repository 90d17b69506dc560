"""Folders in the layouts that the tasks' data comes in, with a few small files each."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.tasks import ic, kws

SPEAKERS = {"train": ("0a", "0b", "0c"), "val": ("1a",), "test_a": ("2a",)}


def jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=75)
    return stream.getvalue()


def tar(file: Path, members: Mapping[str, bytes]) -> Path:
    """Write a tar.xz as `tar` writes one of `.`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:xz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file


def log_mel_pictures(folder: Path, silence: bool = True) -> Path:
    """Write Speech Commands as pictures; a label's grey level is 40 and 12 more for each class."""
    for part, speakers in SPEAKERS.items():
        members = {}
        for place, label in enumerate(kws.CLASSES):
            grey = np.full(kws.PICTURE, 40 + 12 * place, np.uint8)
            for number, speaker in enumerate(speakers):
                if label == kws.SILENCE:
                    if silence or part != "test_a":
                        members[f"_background_/{part}{number}_background.jpg"] = jpeg(grey)
                    continue
                members[f"{label}/{speaker}_nohash_0.{label}.jpg"] = jpeg(grey)
        tar(folder / f"logmel_{part}.tar.xz", members)
    return folder


def cifar_batches(folder: Path, each: int = 5) -> Path:
    """Write CIFAR-10's binary batches: class n has red level 10 · n, green 0, blue 250."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        records = []
        for label in range(10):
            for _ in range(each):
                planes = np.repeat(np.array([10 * label, 0, 250], np.uint8), 32 * 32)
                records.append(np.concatenate([[np.uint8(label)], planes]))
        np.concatenate(records).astype(np.uint8).tofile(folder / name)
    return folder


def cifar_pictures(folder: Path, each: int = 60) -> Path:
    for part in ("train", "test_a"):
        members = {
            f"{label}/{index:04}.jpg": jpeg(np.full((32, 32, 3), 20 * place, np.uint8))
            for place, label in enumerate(ic.CLASSES)
            for index in range(each)
        }
        tar(folder / f"cifar10_{part}_jpeg.tar.xz", members)
    return folder


def people_index(folder: Path) -> Path:
    lines = ["file,label,split,source,label_source"]
    for split, source in (("train", "a"), ("val", "b"), ("official_test", "c")):
        for place, label in enumerate(("no_person", "person")):
            for index in range(4):
                name = f"{label}/{split}{index}.jpg"
                (folder / label).mkdir(parents=True, exist_ok=True)
                pixels = np.full((30, 40, 3), (200 * place, 100, 50), np.uint8)
                (folder / name).write_bytes(jpeg(pixels))
                lines.append(f"{name},{label},{split},{source},x")
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def coco(folder: Path, parts: tuple[str, ...] = ("train2017", "val2017")) -> Path:
    """Write COCO: of every four images one has a person of 1 %, one of 0.4 %, one a dog."""
    kinds = ((7, 1, (10, 10)), (7, 1, (8, 5)), (7, 18, (50, 50)), None)
    number = 0
    for part in parts:
        images, annotations = [], []
        (folder / part).mkdir(parents=True, exist_ok=True)
        for index in range(120 if part.startswith("train") or len(parts) == 1 else 8):
            number += 1
            name = f"{number:012}.jpg"
            (folder / part / name).write_bytes(jpeg(np.full((100, 100, 3), 90, np.uint8)))
            images.append({"id": number, "file_name": name, "width": 100, "height": 100})
            if (kind := kinds[index % 4]) is not None:
                _, category, (width, height) = kind
                box = [0, 0, width, height]
                annotations.append({"image_id": number, "category_id": category, "bbox": box})
        categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
        data = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations").mkdir(exist_ok=True)
        file = folder / "annotations" / f"instances_{part}.json"
        file.write_text(json.dumps(data), encoding="utf-8")
    return folder


def toycar(folder: Path) -> Path:
    """Write spectra of two machines, ten normal clips and three anomalies each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows = [(machine, odd) for machine in (1, 2) for odd in [0] * 10 + [1] * 3]
    x = rng.integers(-20, 20, (len(rows), 200, 128)) + 40 * np.array([m for m, _ in rows])[
        :, None, None
    ]  # fmt: skip
    np.savez(
        folder / "toycar_logmel.npz",
        x=np.clip(x, -128, 127).astype(np.int8),
        machine_id=np.array([machine for machine, _ in rows], np.int8),
        anomaly=np.array([odd for _, odd in rows], np.int8),
        name=np.array([f"clip{index}" for index in range(len(rows))]),
        clip=np.arange(len(rows)),
        mlperf_perf_list=np.zeros(len(rows), np.int8),
    )
    return folder
