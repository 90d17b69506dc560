"""Take fewer samples to train on, of every class alike."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any


def balanced(labels: Sequence[str], names: Sequence[str], count: int) -> list[int]:
    """Return the places of `count` samples, as many of each label as there are, in order.

    A label with fewer samples than its share gives all of them and the others give more. Which ones
    is decided by a hash of their names, so a larger subset holds a smaller one's samples.
    """
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    left, chosen = min(count, len(labels)), []
    fewest_first = sorted(places.values(), key=len)
    for number, own in enumerate(fewest_first):
        share = min(len(own), left // (len(fewest_first) - number))
        own.sort(key=lambda place: hashlib.sha256(names[place].encode()).digest())
        chosen += own[:share]
        left -= share
    return sorted(chosen)


def thin(
    labels: Sequence[str], splits: Sequence[str], names: Sequence[str], count: int | None
) -> tuple[list[int], dict[str, Any]]:
    """Return the places to keep, with `count` samples to train on, and what to say about it.

    Validation and test are kept whole; without a `count` everything is.
    """
    if count is None:
        return list(range(len(labels))), {}
    training = [place for place, split in enumerate(splits) if split == "train"]
    taken = balanced([labels[p] for p in training], [names[p] for p in training], count)
    chosen = {training[index] for index in taken}
    kept = [place for place, split in enumerate(splits) if split != "train" or place in chosen]
    by_class = dict(sorted(Counter(labels[place] for place in chosen).items()))
    facts = {"asked": count, "taken": len(chosen), "of": len(training), "by_class": by_class}
    return kept, {"train_samples": facts}
