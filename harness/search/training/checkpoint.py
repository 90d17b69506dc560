"""Train epoch by epoch, with a checkpoint after each: an interrupted training continues exactly."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.errors import SearchError
from harness.files import draft_of
from harness.search.training.options import Report
from harness.strict import from_json, to_json

FILE = "search-state.npz"


R = TypeVar("R", bound=Report)
R_co = TypeVar("R_co", bound=Report, covariant=True)


class Training(Protocol[R_co]):
    """A network or a supernet in training; its variables are the whole state between epochs."""

    def epoch(self, epoch: int, epochs: int) -> R_co:
        """Train for one epoch, counted from 0."""

    def arrays(self) -> list[NDArray[Any]]:
        """Return every variable's value, in a fixed order."""

    def restore(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Set the variables to what `arrays` returned."""


def run_epochs(
    training: Training[R],
    kind: type[R],
    epochs: Callable[[], int],
    *,
    identity: dict[str, Any],
    folder: Path | None,
    on_epoch: Callable[[R], None],
) -> tuple[R, ...]:
    """Train for all epochs, or for those that a checkpoint in `folder` leaves.

    Args:
        epochs: Returns their number; called only at the start of a new training.
        identity: What decides the training: resuming requires the same.

    Returns:
        A report of every epoch, earlier ones included.

    Raises:
        SearchError: The checkpoint is damaged or of another training, or the loss is not finite.
    """
    stored = load_state(folder, identity) if folder else None
    history: list[R] = []
    if stored:
        arrays, facts = stored
        total = int(facts["epochs"])
        history = [
            from_json(kind, item, where=str(folder), error=SearchError) for item in facts["history"]
        ]
        training.restore(arrays)
    else:
        total = epochs()
    for epoch in range(len(history), total):
        report = training.epoch(epoch, total)
        if not math.isfinite(report.loss):
            raise SearchError(
                f"the loss is {report.loss} after epoch {report.epoch}",
                expected="a finite number",
                fix="lower the learning rate, and check the data",
            )
        history.append(report)
        if folder:
            facts = {"epochs": total, "history": [to_json(item) for item in history]}
            save_state(folder, identity, training.arrays(), facts)
        on_epoch(report)
    return tuple(history)


def save_state(
    folder: Path, identity: dict[str, Any], arrays: Sequence[NDArray[Any]], facts: dict[str, Any]
) -> None:
    """Write a checkpoint; the file appears whole or not at all. `facts` is JSON.

    Raises:
        SearchError: The file cannot be written.
    """
    text = json.dumps({"identity": identity, "facts": facts}, allow_nan=False)
    named = {f"array{index}": array for index, array in enumerate(arrays)}
    with (
        draft_of(folder / FILE, what="checkpoint", error=SearchError) as draft,
        draft.open("wb") as stream,
    ):
        np.savez(stream, text=np.array(text), **named)  # type: ignore[arg-type]  # numpy's stub


def load_state(
    folder: Path, identity: dict[str, Any]
) -> tuple[list[NDArray[Any]], dict[str, Any]] | None:
    """Read what `save_state` wrote, None where nothing was.

    Raises:
        SearchError: It is damaged, or of another training.
    """
    file = folder / FILE
    other = "use another folder, or delete this file to start again"
    if not file.exists():
        return None
    try:
        with np.load(file, allow_pickle=False) as data:
            stored = json.loads(str(data["text"]))
            arrays = [data[f"array{index}"] for index in range(len(data.files) - 1)]
        known, facts = stored["identity"], stored["facts"]
        differing = sorted(
            name for name in {*known, *identity} if known.get(name) != identity.get(name)
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise SearchError(
            f"the checkpoint cannot be read: {error}", where=str(file), fix=other
        ) from None
    if differing:
        raise SearchError(
            f"the checkpoint is of another search: {', '.join(differing)} differ",
            where=str(file),
            expected="the same data, budgets, fit and options",
            fix=other,
            differing=differing,
        )
    return arrays, facts
