"""Make a data set of recordings: read, cut, compute features, divide, normalise."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.audio import Unreadable, at_speed, fit_length, read_wav, resample
from harness.data.cache import cached, cached_arrays, stamp
from harness.data.dataset import Dataset, assemble, listed, resize
from harness.data.divide import SPLITS, Division, SplitName, by_hash, divide
from harness.data.features import SoundFeatures, compute
from harness.data.recordings import SILENCE, UNKNOWN, Recording, Recordings, find_recordings
from harness.data.subset import thin
from harness.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EXTRA_SHARE = 0.1
"""Silence and unknown words, each as a share of the wanted words: Speech Commands' own figure."""

_CHUNK = 512
_MACHINE_FEATURES = SoundFeatures(
    kind="log_mel",
    window_ms=64.0,
    stride_ms=64.0,
    lower_hz=20.0,
    upper_hz=8_000.0,
    level="none",
    centred=False,
)


@dataclass(frozen=True, slots=True)
class SoundOptions:
    """How to read recordings."""

    pattern: str | None = None  # how names carry label and speaker; None: found out
    words: tuple[str, ...] = ()  # classes of Speech Commands; empty: its usual ten
    sample_rate_hz: int | None = None  # sample rate of the inputs; None: that of the files
    resample: bool = False  # convert recordings of another rate instead of refusing them
    # Further speeds to play the training recordings at, so that there are more voices than speakers
    # (Ko et al. 2015, "Audio augmentation for speech recognition"). Validation and test are left as
    # they are.
    speeds: tuple[float, ...] = ()
    division: Division = field(default_factory=Division)
    # Features of a named task; None: those of the convention
    features: SoundFeatures | None = None
    about: Mapping[str, Any] = field(default_factory=dict)  # what to add to `Dataset.division`
    train_samples: int | None = None  # train on a balanced subset of so many inputs; None: on all


@dataclass(frozen=True, slots=True)
class _Cut:
    """One input: a recording, or a part of one."""

    path: Path
    label: str
    split: SplitName
    clip: int
    start: int | None = None
    gain: float = 1.0
    speed: float = 1.0
    anomalous: bool | None = None
    group: str = ""  # who speaks, or which machine


def load_sounds(
    folder: Path,
    input_shape: tuple[int, int, int],
    options: SoundOptions,
    on_progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Return the data set of a folder of WAV files.

    Features are cached by the content of the files and the parameters.

    Raises:
        DataError: Names, rates, contents or counts are wrong; every file at fault is named.
    """
    channels = input_shape[2]
    if channels != 1:
        raise DataError(
            f"sound gives one channel, the network takes {channels}",
            where=str(folder),
            expected="a backbone for one channel",
        )
    found = find_recordings(folder, options.pattern, options.words)
    return load_recordings(found, folder, input_shape, options, on_progress)


def load_recordings(
    found: Recordings,
    folder: Path,
    input_shape: tuple[int, int, int],
    options: SoundOptions,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    name: str | None = None,
) -> Dataset:
    """Return the data set of the recordings `found` below `folder`, called `name` or as the folder.

    Raises:
        DataError: As `load_sounds`.
    """
    height, width, _ = input_shape
    name = name or folder.name
    found, splits, division = _divided(found, options.division)
    files = [file.path for file in found.files] + list(found.noise)
    rate, digests, lengths = _examine(files, options, folder)
    machines = found.convention in ("machines", "motors")
    parameters = options.features or replace(
        _MACHINE_FEATURES if machines else SoundFeatures(),
        frames=height,
        bins=width,
        images_stride=max(1, height // 2) if machines else None,
    )
    parameters = replace(parameters, sample_rate_hz=rate)
    parameters.check()
    cuts = _cuts(found, splits, parameters, lengths, options.speeds)
    kept, thinned = thin(
        [cut.label for cut in cuts],
        [cut.split for cut in cuts],
        [f"{cut.path.name} {cut.start} {cut.speed}" for cut in cuts],
        options.train_samples,
    )
    cuts = [cuts[index] for index in kept]
    key = _key(cuts, parameters, digests)
    x = cached(f"features-{key}", lambda: _features(cuts, parameters, on_progress))
    x = resize(x, height, width)
    x, normalisation = normalised(x, [cut.split for cut in cuts], name)
    grouped = any(cut.group for cut in cuts)
    resized = (
        {}
        if (height, width) == (parameters.frames, parameters.bins)
        else {"resized": [height, width]}
    )
    return assemble(
        name,
        found.classes,
        x,
        [found.classes.index(cut.label) for cut in cuts],
        [cut.split for cut in cuts],
        {
            **parameters.as_json(),
            **resized,
            **normalisation,
            "training_speeds": list(options.speeds),
        },
        {**options.about, **division, **thinned},
        anomalous=[bool(cut.anomalous) for cut in cuts] if machines else None,
        clip=[cut.clip for cut in cuts] if machines else None,
        group=[cut.group for cut in cuts] if grouped else None,
    )


def _divided(
    found: Recordings, options: Division
) -> tuple[Recordings, list[SplitName], dict[str, Any]]:
    files = found.files
    hashed = [by_hash(file.name, options) for file in files]
    if found.convention == "machines":
        # Its test files are given; validation comes from the normal sounds to train on.
        splits: list[SplitName] = [
            "test" if file.split == "test" else "train" if own == "train" else "validation"
            for file, own in zip(files, hashed, strict=True)
        ]
        return found, splits, {"by": "the data set's folders"}
    if found.convention == "speech_commands":
        splits = [file.split or own for file, own in zip(files, hashed, strict=True)]
        kept = _fewer_unknown(files, splits)
        listed_ones = any(file.split is not None for file in files)
        how = {"by": "the data set's lists" if listed_ones else "file name"}
        chosen = replace(found, files=tuple(files[index] for index in kept))
        return chosen, [splits[index] for index in kept], how
    given = [file.split for file in files if file.split is not None]
    if len(given) == len(files):
        return found, given, {"by": "the data set's index"}
    names, speakers = [file.name for file in files], [file.speaker for file in files]
    return found, *divide(names, speakers, options)


def _fewer_unknown(files: Sequence[Recording], splits: Sequence[SplitName]) -> list[int]:
    """Keep as many unknown words as Speech Commands' convention has, chosen by hash."""
    kept = [index for index, file in enumerate(files) if file.label != UNKNOWN]
    wanted = Counter(splits[index] for index in kept)
    for split in SPLITS:
        unknown = [
            index
            for index, file in enumerate(files)
            if file.label == UNKNOWN and splits[index] == split
        ]
        unknown.sort(key=lambda index: hashlib.sha256(files[index].name.encode()).digest())
        kept += unknown[: _extra(wanted[split])]
    return sorted(kept)


def _extra(wanted: int) -> int:
    """Return how many unknown words, or pieces of silence, go with `wanted` words."""
    return max(2, round(wanted * _EXTRA_SHARE))


def _examine(
    files: Sequence[Path], options: SoundOptions, folder: Path
) -> tuple[int, dict[Path, str], dict[Path, int]]:
    """Return the sample rate to use, and of each file its digest and its length at that rate.

    Raises:
        DataError: Files cannot be read or have another rate; all of them are named.
    """
    problems: list[str] = []
    read = _read(files, folder, problems)
    sounds = {path: facts for path, facts in zip(files, read, strict=True) if facts is not None}
    usual = Counter(own for _, own, _ in sounds.values()).most_common(1)
    rate = options.sample_rate_hz or (usual[0][0] if usual else 16_000)
    if not options.resample:
        problems += [
            f"{path.relative_to(folder)}: sample rate {own} Hz"
            for path, (_, own, _) in sounds.items()
            if own != rate
        ]
    if problems:
        raise DataError(
            listed("bad file", problems),
            where=str(folder),
            expected=f"WAV files of integer PCM at {rate} Hz",
            fix="replace or remove the files"
            + ("" if options.resample else "; --resample converts other rates"),
            problems=problems,
        )
    digests = {path: digest for path, (digest, _, _) in sounds.items()}
    return rate, digests, {path: count * rate // own for path, (_, own, count) in sounds.items()}


def _read(
    files: Sequence[Path], folder: Path, problems: list[str]
) -> list[tuple[str, int, int] | None]:
    """Return digest, rate and length of each file, and None where `problems` says why not."""
    import numpy as np

    def read() -> dict[str, NDArray[Any]]:
        facts = []
        for path in files:
            try:
                sound = read_wav(path)
                facts.append((sound.digest, sound.rate_hz, len(sound.samples), ""))
            except Unreadable as failure:
                facts.append(("", 0, 0, f"{path.relative_to(folder)}: {failure}"))
        names = ("digest", "rate", "length", "problem")
        return dict(zip(names, map(np.array, zip(*facts, strict=True)), strict=True))

    found = cached_arrays(f"recordings-{stamp(files)}", read)
    problems += [text for text in found["problem"].tolist() if text]
    rows = zip(*(found[name].tolist() for name in ("digest", "rate", "length")), strict=True)
    return [(digest, rate, length) if digest else None for digest, rate, length in rows]


def _cuts(
    found: Recordings,
    splits: Sequence[SplitName],
    parameters: SoundFeatures,
    lengths: Mapping[Path, int],
    speeds: Sequence[float],
) -> list[_Cut]:
    cuts = []
    for index, (file, split) in enumerate(zip(found.files, splits, strict=True)):
        group = file.label if file.anomalous is not None else file.speaker or ""
        plain = _Cut(file.path, file.label, split, index, anomalous=file.anomalous, group=group)
        if parameters.images_stride is None:
            cuts.append(plain)
            continue
        step = parameters.images_stride * parameters.stride
        last = max(0, lengths[file.path] - parameters.samples)
        cuts += [replace(plain, start=start) for start in range(0, last + 1, step)]
    if speeds:
        cuts += [
            replace(cut, speed=speed)
            for speed in speeds
            for cut in cuts
            if cut.split == "train" and cut.start is None and speed != 1.0
        ]
    if found.noise:
        cuts += _silence(found, splits, parameters, lengths)
    return cuts


def _silence(
    found: Recordings,
    splits: Sequence[SplitName],
    parameters: SoundFeatures,
    lengths: Mapping[Path, int],
) -> Iterator[_Cut]:
    """Cut silence from the noise: the first 80 % of each file to train, then 10 % and 10 %."""
    from harness.backbones.draw import Draw, key_of

    edges = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
    known = zip(found.files, splits, strict=True)
    wanted = Counter(own for file, own in known if file.label != UNKNOWN)
    for split in SPLITS:
        draw = Draw(0, key_of(f"silence {split}"))
        for number in range(_extra(wanted[split])):
            path = found.noise[number % len(found.noise)]
            low, high = (int(edge * lengths[path]) for edge in edges[split])
            start = draw.between(low, max(low, high - parameters.samples))
            gain = draw.below(1 << 16) / (1 << 16)
            yield _Cut(path, SILENCE, split, len(found.files) + number, start, gain)


def _key(cuts: Sequence[_Cut], parameters: SoundFeatures, digests: Mapping[Path, str]) -> str:
    from harness.models.convert import converter_version

    digest = hashlib.sha256(json.dumps(parameters.as_json(), sort_keys=True).encode())
    digest.update(converter_version().encode())
    for cut in cuts:
        digest.update(f"{digests[cut.path]} {cut.start} {cut.gain} {cut.speed}\n".encode())
    return digest.hexdigest()[:32]


def _features(
    cuts: Sequence[_Cut], parameters: SoundFeatures, on_progress: Callable[[int, int], None] | None
) -> NDArray[np.float32]:
    import numpy as np

    parts = []
    for first in range(0, len(cuts), _CHUNK):
        chunk = cuts[first : first + _CHUNK]
        parts.append(compute([_clip(cut, parameters) for cut in chunk], parameters))
        if on_progress is not None:
            on_progress(first + len(chunk), len(cuts))
    return np.concatenate(parts)


def _clip(cut: _Cut, parameters: SoundFeatures) -> NDArray[np.float32]:
    sound = read_wav(cut.path)
    samples = resample(sound.samples, sound.rate_hz, parameters.sample_rate_hz)
    if cut.start is not None:
        samples = samples[cut.start : cut.start + parameters.samples] * cut.gain
    if cut.speed != 1.0:
        samples = at_speed(samples, cut.speed)
    return fit_length(samples, parameters.samples)


def normalised(
    x: NDArray[np.float32], splits: Sequence[str], name: str
) -> tuple[NDArray[np.float32], dict[str, list[float]]]:
    """Return inputs (n, height, width, 1) normalised by column over the training split, and how.

    Raises:
        DataError: The training split is empty.
    """
    import numpy as np

    train = x[np.array(splits) == "train"]
    if not len(train):
        raise DataError("nothing is left to train on", where=name)
    # A coefficient that never varies (the mean of a centred clip) stays as it is.
    mean = train.mean(axis=(0, 1, 3), dtype=np.float64)
    deviation = np.maximum(train.std(axis=(0, 1, 3), dtype=np.float64), 1e-3)
    normalised = ((x - mean[:, None]) / deviation[:, None]).astype(np.float32)
    return normalised, {"mean": mean.tolist(), "deviation": deviation.tolist()}
