"""Keep arrays that are slow to compute, by a key that names everything they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cache import touch
from harness.files import draft_of
from harness.paths import cache_dir

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)


def cached(key: str, make: Callable[[], NDArray[np.float32]]) -> NDArray[Any]:
    """Return the array called `key`, made only if it is not in the cache."""
    found: NDArray[Any] = cached_arrays(key, lambda: {"array": make()})["array"]
    return found


def cached_arrays(key: str, make: Callable[[], Mapping[str, NDArray[Any]]]) -> dict[str, Any]:
    """Return the arrays called `key`, by name, made only if they are not in the cache.

    A file that cannot be read, such as one from a full disk, is made again. A cache that cannot be
    written costs time, not the result.
    """
    import numpy as np

    file = cache_dir() / "data" / f"{key}.npz"
    if file.is_file():
        try:
            with np.load(file, allow_pickle=False) as stored:
                found = {name: stored[name] for name in stored.files}
            touch(file)
            return found
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as failure:
            _LOG.warning("%s is made again: %s", file, failure)
    arrays = dict(make())
    try:
        with draft_of(file) as draft, draft.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]  # numpy's stub
    except OSError as failure:
        _LOG.warning("%s cannot be kept: %s", file, failure)
    return arrays


def stamp(files: Iterable[Path], **parameters: Any) -> str:
    """Return a key of files by path, size and time of change, and of parameters.

    Reading 100,000 files to learn that none has changed takes minutes, asking for their times does
    not.

    Raises:
        OSError: One is missing.
    """
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    for file in files:
        facts = file.stat()
        digest.update(f"{file.resolve()} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]
