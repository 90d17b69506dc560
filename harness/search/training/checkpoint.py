"""Search state on disk: enough to go on exactly where the last finished epoch left off."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import SearchError
from harness.files import draft_of

FILE = "search-state.npz"


def save_state(
    folder: Path, identity: dict[str, Any], arrays: Sequence[NDArray[Any]], facts: dict[str, Any]
) -> None:
    """Write the state; the file appears whole or not at all.

    Args:
        folder: Made if it is missing.
        identity: What decides the search: resuming asks for the same.
        arrays: Every variable, in order.
        facts: The rest, as JSON.

    Raises:
        SearchError: The file cannot be written.
    """
    file = folder / FILE
    text = json.dumps({"identity": identity, "facts": facts}, allow_nan=False)
    named = {f"array{index}": array for index, array in enumerate(arrays)}
    with (
        draft_of(file, what="checkpoint", error=SearchError) as draft,
        draft.open("wb") as stream,
    ):
        np.savez(stream, text=np.array(text), **named)  # type: ignore[arg-type]  # numpy's stub


def load_state(
    folder: Path, identity: dict[str, Any]
) -> tuple[list[NDArray[Any]], dict[str, Any]] | None:
    """Read what `save_state` wrote, None where nothing was.

    Raises:
        SearchError: It is damaged, or of another search.
    """
    file = folder / FILE
    other = "use another folder, or delete this file to start again"
    if not file.exists():
        return None
    try:
        with np.load(file, allow_pickle=False) as data:
            stored = json.loads(str(data["text"]))
            arrays = [data[f"array{index}"] for index in range(len(data.files) - 1)]
        differing = sorted(
            name
            for name in {**stored["identity"], **identity}
            if stored["identity"].get(name) != identity.get(name)
        )
        facts: dict[str, Any] = stored["facts"]
    except (OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as failure:
        raise SearchError(
            f"the checkpoint cannot be read: {failure}", where=str(file), fix=other
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
