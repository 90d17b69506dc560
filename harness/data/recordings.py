"""Find the recordings of a folder, with label, speaker and split where the names carry them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.dataset import listed
from harness.data.divide import SplitName
from harness.errors import DataError

SPEECH_COMMANDS_WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
NOISE_FOLDER = "_background_noise_"
SILENCE, UNKNOWN = "_silence_", "_unknown_"

_FLAT_PATTERN = "{label}_{speaker}_{index}.wav"
_LISTS: dict[SplitName, str] = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_SPEAKER_NOHASH = re.compile(r"^([0-9a-f]{8})_nohash_\d+$")
# DCASE 2020 task 2: {train,test}/{normal,anomaly}_id_{machine}_{number}.wav
_MACHINE = re.compile(r"(?:^|.*/)(train|test)/(normal|anomaly)_(id_\d+)_[^/]+\.wav$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Recording:
    """One file."""

    path: Path
    name: str  # path below the data folder, with slashes
    label: str
    speaker: str | None = None  # who speaks; None where the name does not say
    split: SplitName | None = None  # where the data set itself decides it
    anomalous: bool | None = None  # for machine sounds: whether something is wrong with the machine


@dataclass(frozen=True, slots=True)
class Recordings:
    """What a folder holds."""

    convention: str  # "files", "folders", "speech_commands" or "machines"
    files: tuple[Recording, ...]  # in the order of their names
    classes: tuple[str, ...]  # in the order of the logits
    noise: tuple[Path, ...] = ()  # background noise that silence is cut from


def find_recordings(folder: Path, pattern: str | None, words: Sequence[str]) -> Recordings:
    """List the recordings below `folder`.

    Args:
        pattern: How names carry label and speaker, such as ``{label}_{speaker}_{index}.wav``;
            None: found out.
        words: Classes of Speech Commands that are not "unknown"; empty: its usual ten.

    Raises:
        DataError: There are none, or names that do not fit; the first of them are listed.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".wav")
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    if not named:
        raise DataError(
            "no WAV files here",
            where=str(folder),
            expected="a folder of WAV files, of folders of them, of folders of images, or a .npz",
        )
    if pattern is not None:
        return _by_pattern(named, pattern, folder)
    if (folder / NOISE_FOLDER).is_dir() or any(
        (folder / name).is_file() for name in _LISTS.values()
    ):
        return _speech_commands(named, folder, words)
    if all(_MACHINE.match(name) for name in named):
        return _machines(named)
    if all("/" not in name for name in named):
        return _by_pattern(named, _FLAT_PATTERN, folder)
    return _by_folder(named, folder)


def _by_pattern(named: dict[str, Path], pattern: str, folder: Path) -> Recordings:
    expression = _compile(pattern)
    files, strangers = [], []
    for name, path in named.items():
        if found := expression.fullmatch(name):
            parts = found.groupdict()
            files.append(Recording(path, name, parts["label"], parts.get("speaker")))
        else:
            strangers.append(f"{name} does not fit the pattern")
    if strangers:
        raise DataError(
            listed("file name", strangers),
            where=str(folder),
            expected=f"names such as '{pattern}', or a folder for each label",
            fix="say how label and speaker are written: --pattern '{label}_{speaker}_{index}.wav'",
        )
    return Recordings("files", tuple(files), _classes(files))


def _by_folder(named: dict[str, Path], folder: Path) -> Recordings:
    stray = [f"{name} lies in no label's folder" for name in named if "/" not in name]
    if stray:
        raise DataError(
            listed("file", stray), where=str(folder), expected="a folder for each label"
        )
    empty = [
        f"folder {path.name} holds no WAV file"
        for path in sorted(folder.iterdir())
        if path.is_dir()
        and not path.name.startswith((".", "_"))
        and not any(name.startswith(f"{path.name}/") for name in named)
    ]
    if empty:
        raise DataError(
            listed("label", empty),
            where=str(folder),
            expected="recordings in the folder of every label",
            fix="add recordings, or remove the folder",
        )
    files = [
        Recording(path, name, name.split("/", 1)[0], _speaker(path.stem))
        for name, path in named.items()
    ]
    return Recordings("folders", tuple(files), _classes(files))


def _speech_commands(named: dict[str, Path], folder: Path, words: Sequence[str]) -> Recordings:
    lists: dict[str, SplitName] = {}
    for split, file in _LISTS.items():
        if (folder / file).is_file():
            lines = (folder / file).read_text(encoding="utf-8").splitlines()
            lists |= dict.fromkeys((line.strip() for line in lines if line.strip()), split)
    labels = {name.split("/", 1)[0] for name in named if "/" in name}
    chosen = tuple(words) or tuple(word for word in SPEECH_COMMANDS_WORDS if word in labels)
    missing = [f"no recordings of '{word}'" for word in chosen if word not in labels]
    if missing or not chosen:
        raise DataError(
            listed("word", missing or ["none of the ten words is here"]),
            where=str(folder),
            expected=f"folders {', '.join(SPEECH_COMMANDS_WORDS)}",
            fix="name other words: --words yes,no",
        )
    files = [
        Recording(
            path,
            name,
            label if label in chosen else UNKNOWN,
            _speaker(path.stem),
            lists.get(name, "train") if lists else None,
        )
        for name, path in named.items()
        if "/" in name and (label := name.split("/", 1)[0]) != NOISE_FOLDER
    ]
    noise = tuple(sorted((folder / NOISE_FOLDER).glob("*.wav")))
    classes = (
        *((SILENCE,) if noise else ()),
        *((UNKNOWN,) if any(file.label == UNKNOWN for file in files) else ()),
        *chosen,
    )
    return Recordings("speech_commands", tuple(files), classes, noise)


def _machines(named: dict[str, Path]) -> Recordings:
    files = []
    for name, path in named.items():
        if (found := _MACHINE.match(name)) is not None:
            split: SplitName = "test" if found[1].lower() == "test" else "train"
            anomalous = found[2].lower() == "anomaly"
            files.append(Recording(path, name, found[3], None, split, anomalous))
    return Recordings("machines", tuple(files), _classes(files))


def _classes(files: Sequence[Recording]) -> tuple[str, ...]:
    return tuple(sorted({file.label for file in files}))


def _speaker(stem: str) -> str | None:
    found = _SPEAKER_NOHASH.match(stem)
    return found[1] if found else None


def _compile(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", pattern)
    names = parts[1::2]
    if "label" not in names or len(set(names)) != len(names):
        raise DataError(
            f"pattern '{pattern}' has the places {', '.join(names) or 'none'}",
            expected="{label} once, and each other place ({speaker}, {index} ...) once at most",
        )
    for place, part in enumerate(parts):
        value = "[0-9]+" if part == "index" else "[^/]+?"
        parts[place] = f"(?P<{part}>{value})" if place % 2 else re.escape(part)
    return re.compile("".join(parts), re.IGNORECASE)
