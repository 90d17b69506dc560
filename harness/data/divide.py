"""Divide samples into training, validation and test, so that nothing leaks from one to another."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import DataError

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

MIN_SPEAKERS = 3
"""One each for training, validation and test."""

_HELD_OUT_SHARE = 6
"""One in this many speakers is held out for validation, and as many for test."""

# Speech Commands' README: the hash ignores what follows `_nohash_`, so that a speaker's
# recordings stay together, and is taken modulo 2^27 - 1.
_NOHASH = re.compile(r"_nohash_.*$")
_MAX_PER_CLASS = 2**27 - 1


@dataclass(frozen=True, slots=True)
class Division:
    """Options of dividing."""

    # Speakers to test on; empty: chosen by the hash of their names
    test_speakers: tuple[str, ...] = ()
    validation_speakers: tuple[str, ...] = ()  # the same for validation
    test_share: float = 0.1  # share of files to test on, where no speakers are known
    validation_share: float = 0.1  # the same for validation


def divide(
    names: Sequence[str], speakers: Sequence[str | None], options: Division
) -> tuple[list[SplitName], dict[str, Any]]:
    """Return the split of each file, and how it was decided.

    By speaker where every file names one and there are three or more; else by the hash of the file
    name, as Speech Commands does.

    Args:
        names: File names; the folder is no part of the hash.

    Raises:
        DataError: Speakers are named that are not there or in both splits, or the shares leave
            nothing to train on.
    """
    known = sorted({speaker for speaker in speakers if speaker is not None})
    wished = bool(options.test_speakers or options.validation_speakers)
    if all(speaker is not None for speaker in speakers) and (len(known) >= MIN_SPEAKERS or wished):
        held = _hold_out(known, options)
        groups: dict[str, list[str]] = {split: [] for split in SPLITS}
        for name in known:
            groups[held.get(name, "train")].append(name)
        splits = [held.get(speaker or "", "train") for speaker in speakers]
        return splits, {"by": "speaker", **groups}
    if wished:
        raise DataError(
            "speakers to test on are named, but the file names carry no speaker",
            expected="file names such as 7_jackson_3.wav",
            fix="say where the speaker stands: --pattern '{label}_{speaker}_{index}.wav'",
        )
    shares = {"validation": options.validation_share, "test": options.test_share}
    if min(shares.values()) <= 0 or sum(shares.values()) >= 1:
        raise DataError(
            f"test_share={options.test_share}, validation_share={options.validation_share}",
            expected="two shares above 0 that leave something to train on",
        )
    return [by_hash(name, options) for name in names], {"by": "file name", "shares": shares}


def by_hash(name: str, options: Division) -> SplitName:
    """Return the split that a file's name decides, whatever other files there are.

    This is Speech Commands' rule, so its files come out as its own lists have them.
    """
    stem = _NOHASH.sub("", name.rsplit("/", 1)[-1])
    number = int(hashlib.sha1(stem.encode(), usedforsecurity=False).hexdigest(), 16)
    share = (number % (_MAX_PER_CLASS + 1)) / _MAX_PER_CLASS
    if share < options.validation_share:
        return "validation"
    return "test" if share < options.validation_share + options.test_share else "train"


def _hold_out(known: Sequence[str], options: Division) -> Mapping[str, SplitName]:
    wanted = {"test": options.test_speakers, "validation": options.validation_speakers}
    missing = [name for names in wanted.values() for name in names if name not in known]
    if missing:
        raise DataError(
            f"no recordings of speaker {', '.join(sorted(missing))}",
            expected=f"speakers among {', '.join(known)}",
        )
    both = set(options.test_speakers) & set(options.validation_speakers)
    if both:
        raise DataError(
            f"speaker {', '.join(sorted(both))} is to be tested on and validated on",
            expected="different speakers",
        )
    # By a hash: alphabetical order may mean something, a hash does not.
    shuffled = sorted(known, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    free = [name for name in shuffled if name not in sum(wanted.values(), ())]
    count = max(1, len(known) // _HELD_OUT_SHARE)
    held: dict[str, SplitName] = {}
    for split in ("test", "validation"):
        names = wanted[split]
        if not names:
            names, free = tuple(free[:count]), free[count:]
        held |= dict.fromkeys(names, split)
    if len(held) >= len(known):
        raise DataError(
            f"all {len(known)} speakers are held out", expected="one or more to train on"
        )
    return held
