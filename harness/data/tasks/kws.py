"""Keyword spotting: Speech Commands with 12 labels.

Features are MFCC of 30 ms windows every 20 ms, 10 coefficients of 40 mel bands up to 4 kHz: 49×10
for one second, as in MLPerf Tiny. The bands sum the power of the spectrum, as the published log-mel
pictures of these recordings do, so that pictures and recordings give the same inputs.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.archives import read_archive
from harness.data.audio import Unreadable, fit_length, read_wav
from harness.data.cache import cached_arrays, stamp
from harness.data.dataset import Dataset, assemble, listed
from harness.data.divide import Division, SplitName, by_hash, divide
from harness.data.features import SoundFeatures, compute
from harness.data.recordings import (
    NOISE_FOLDER,
    SILENCE,
    SPEECH_COMMANDS_WORDS,
    UNKNOWN,
    Recording,
    Recordings,
    find_recordings,
)
from harness.data.sounds import normalised
from harness.data.subset import thin
from harness.data.tasks.task import Request, division, load_sounds
from harness.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LAYOUTS = (
    "logmel_train.tar.xz, logmel_val.tar.xz and logmel_test*.tar.xz; or wav_index.csv with its WAV "
    "files; or Speech Commands v0.02 as published, with validation_list.txt and testing_list.txt"
)
CLASSES = (SILENCE, UNKNOWN, *SPEECH_COMMANDS_WORDS)
FEATURES = SoundFeatures(
    window_ms=30.0,
    lower_hz=0.0,
    spectrum="power",
    # Where the pictures are black
    log_floor=2.6e-7,
    level="none",
    centred=False,
)
PICTURE = (98, 40)
"""Rows (10 ms each) and mel bands (lowest first) of a log-mel picture."""

_GREY_PER_LN, _GREY_AT_1 = 9.52, 144.4
_JPEG_QUALITY = 75
_SPLIT_OF: dict[str, SplitName] = {"train": "train", "val": "validation", "test": "test"}
_LISTS = ("validation_list.txt", "testing_list.txt")
_BACKGROUND = "_background_"
_INDEX = "wav_index.csv"
_ALL_TO_TEST = "logmel_test.tar.xz"
_WIDER = Division(validation_share=0.1, test_share=0.2)
"""Speech Commands' rule, with twice its share to test with."""


def load(request: Request) -> Dataset | None:
    """Return the data set of a folder; None if its layout is not known.

    Raises:
        DataError: Lists, archives, words or recordings are missing or bad.
    """
    folder = request.folder
    if archives := sorted(folder.glob("logmel_*.tar.xz")):
        return _pictures(request, archives)
    if (folder / _INDEX).is_file():
        found = _indexed(folder)
        return load_sounds(request, found, FEATURES, "kws", "index")
    has_words = any((folder / word).is_dir() for word in SPEECH_COMMANDS_WORDS)
    if not has_words and not any((folder / name).is_file() for name in _LISTS):
        return None
    missing = [f"{name} is missing" for name in _LISTS if not (folder / name).is_file()]
    missing += [
        f"{name}/ is missing"
        for name in (*SPEECH_COMMANDS_WORDS, NOISE_FOLDER)
        if not (folder / name).is_dir()
    ]
    if missing:
        raise DataError(
            listed("problem", missing),
            where=str(folder),
            expected="Speech Commands v0.02 as published: a folder for each word, "
            f"{NOISE_FOLDER}, {' and '.join(_LISTS)}",
            fix="unpack the whole data set",
        )
    return load_sounds(
        request, find_recordings(folder, None, ()), FEATURES, "kws", "Speech Commands"
    )


def grey_to_ln(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the natural logarithm of a band's power that a picture's grey levels stand for."""
    import numpy as np

    return (pixels.astype(np.float32) - np.float32(_GREY_AT_1)) / np.float32(_GREY_PER_LN)


def mfcc_of(log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the first 10 coefficients of the DCT-II of 40 bands, scaled as `tf.signal` scales."""
    import numpy as np
    from scipy.fft import dct  # type: ignore[import-untyped]

    cosines: NDArray[np.float32] = dct(log_mel, type=2, axis=-1)[..., : FEATURES.bins]
    return cosines / np.float32((2 * log_mel.shape[-1]) ** 0.5)


def _indexed(folder: Path) -> Recordings:
    """Read wav_index.csv; the splits are by speaker, of silence by file."""
    index = folder / _INDEX
    with index.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    problems = [] if rows else ["it lists nothing"]
    for row in rows:
        if not {"file", "label", "speaker"} <= set(row):
            problems = [f"it has the columns {', '.join(map(str, row))}"]
            break
        if row["label"] not in CLASSES:
            problems.append(f"{row['file']}: unknown label '{row['label']}'")
        elif not (folder / row["file"]).is_file():
            problems.append(f"{row['file']} is missing")
    if problems:
        raise DataError(
            listed("problem", problems),
            where=str(index),
            expected=f"columns file, label, speaker; labels {', '.join(CLASSES)}",
        )
    splits: dict[str, SplitName] = {}
    for silent in (False, True):
        own = [row for row in rows if (row["label"] == SILENCE) == silent]
        names = [row["file"] for row in own]
        speakers = names if silent else [row["speaker"] or row["file"] for row in own]
        if names:
            splits |= dict(zip(names, divide(names, speakers, Division())[0], strict=True))
    files = tuple(
        Recording(
            folder / row["file"],
            row["file"],
            row["label"],
            row["speaker"] or None,
            splits[row["file"]],
        )
        for row in rows
    )
    return Recordings("files", files, CLASSES)


def _pictures(request: Request, archives: Sequence[Path]) -> Dataset:
    parts: dict[SplitName, Path] = {}
    for file in archives:
        stem = file.name.removeprefix("logmel_").removesuffix(".tar.xz").split("_")[0]
        if stem in _SPLIT_OF:
            parts[_SPLIT_OF[stem]] = file
    if missing := [f"logmel_{stem}*" for stem, own in _SPLIT_OF.items() if own not in parts]:
        raise DataError(
            f"there is no {', no '.join(missing)}.tar.xz",
            where=str(request.folder),
            expected=LAYOUTS.split(";")[0],
        )
    silence = sorted((request.folder / "wav" / SILENCE).glob("*.wav"))
    key = stamp([*parts.values(), *silence], splits=[*parts, "wider"], features=FEATURES.as_json())
    stored = cached_arrays(f"kws-{key}", lambda: _read(parts, silence, request))
    names, labels, groups, splits = (
        stored[column].tolist() for column in ("name", "label", "group", "split")
    )
    _require_apart(groups, splits, request.folder)
    kept, thinned = thin(labels, splits, names, request.train_samples)
    own = [splits[place] for place in kept]
    x, normalisation = normalised(stored["x"][kept], own, str(request.folder))
    by = "the archives, by speaker"
    if parts["test"].name != _ALL_TO_TEST:
        by += ", and a tenth of the training speakers to test with"
    return assemble(
        request.name,
        CLASSES,
        x,
        [CLASSES.index(labels[place]) for place in kept],
        own,
        {**FEATURES.as_json(), **normalisation, "from": "log-mel pictures"},
        division("kws", "log-mel pictures", by, **thinned),
        group=[groups[place] for place in kept],
    )


def _read(
    parts: Mapping[SplitName, Path], silence: Sequence[Path], request: Request
) -> dict[str, NDArray[Any]]:
    import numpy as np

    rows: dict[str, list[str]] = defaultdict(list)
    pictures = []
    few = parts["test"].name != _ALL_TO_TEST
    for split, file in parts.items():
        names, own = read_archive(
            file, PICTURE, "L", lambda picture: picture[::2], request.on_progress
        )
        pictures.append(own)
        labels = [name.split("/")[0].replace(_BACKGROUND, SILENCE) for name in names]
        strange = sorted(set(labels) - set(CLASSES))
        if strange:
            raise DataError(
                f"folders {', '.join(strange)}", where=str(file), expected=", ".join(CLASSES)
            )
        if split == "test" and SILENCE not in labels and silence:
            # The pictures to test with have none; the recordings of silence are drawn likewise.
            pictures.append(np.stack([_drawn(path) for path in silence]))
            names += [f"{SILENCE}/{path.name}" for path in silence]
            labels += [SILENCE] * len(silence)
        rows["name"] += names
        rows["label"] += labels
        rows["group"] += [_speaker(name) for name in names]
        rows["split"] += [_widened(split, name) if few else split for name in names]
    x = mfcc_of(grey_to_ln(np.concatenate(pictures)))[..., None]
    return {"x": x, **{column: np.array(values) for column, values in rows.items()}}


def _widened(split: SplitName, name: str) -> SplitName:
    """Test with a tenth of the training speakers too: a thousand pictures tell 1 % apart, not less.

    They are those that Speech Commands' rule would take next.
    """
    return "test" if split == "train" and by_hash(name, _WIDER) == "test" else split


def _drawn(path: Path) -> NDArray[np.uint8]:
    """Return a recording's log-mel picture, with the losses of a JPEG."""
    import numpy as np
    from PIL import Image

    bands = replace(FEATURES, kind="log_mel", bins=FEATURES.mel_bands)
    try:
        sound = read_wav(path)
    except Unreadable as failure:
        raise DataError(str(failure), where=str(path), expected="a WAV file") from None
    clip = fit_length(sound.samples, FEATURES.sample_rate_hz)[: FEATURES.samples]
    grey = _GREY_PER_LN * compute([clip], bands)[0, ..., 0] + _GREY_AT_1
    stream = io.BytesIO()
    drawn = Image.fromarray(np.clip(np.round(grey), 0, 255).astype(np.uint8))
    drawn.save(stream, "JPEG", quality=_JPEG_QUALITY)
    return np.asarray(Image.open(stream))


def _speaker(name: str) -> str:
    stem = name.rsplit("/", 1)[-1]
    return stem.split("_nohash_")[0] if "_nohash_" in stem else ""


def _require_apart(groups: Sequence[str], splits: Sequence[str], folder: Path) -> None:
    """Refuse a speaker in two splits."""
    known: dict[str, str] = {}
    both = {
        group
        for group, split in zip(groups, splits, strict=True)
        if group and known.setdefault(group, split) != split
    }
    if both:
        raise DataError(
            f"{len(both)} speakers are in two splits: {', '.join(sorted(both)[:5])}",
            where=str(folder),
            expected="splits by speaker",
        )
