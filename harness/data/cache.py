"""Keep an array that is slow to compute, by a key that names everything it depends on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.cache import touch
from harness.files import draft_of
from harness.paths import cache_dir

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)


def cached(key: str, make: Callable[[], NDArray[np.float32]]) -> NDArray[Any]:
    """Return the array called `key`, made only if it is not in the cache.

    A file that cannot be read, such as one from a full disk, is made again. A cache that cannot be
    written costs time, not the result.
    """
    import numpy as np

    file = cache_dir() / "data" / f"{key}.npy"
    if file.is_file():
        try:
            stored: NDArray[Any] = np.load(file, allow_pickle=False)
            touch(file)
            return stored
        except (OSError, ValueError, EOFError) as failure:
            _LOG.warning("%s is made again: %s", file, failure)
    array = make()
    try:
        with draft_of(file) as draft, draft.open("wb") as stream:
            np.save(stream, array)
    except OSError as failure:
        _LOG.warning("%s cannot be kept: %s", file, failure)
    return array
