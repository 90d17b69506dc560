"""Keep what is slow to compute, by a key that names everything it depends on."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.files import draft_of
from harness.paths import cache_dir

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def cached(
    key: str, make: Callable[[], Mapping[str, NDArray[np.float32]]]
) -> Mapping[str, NDArray[Any]]:
    """Return the arrays called `key`, made only if they are not in the cache.

    A file that cannot be read, such as one from a full disk, is made again. A cache that cannot be
    written costs time, not the result.
    """
    import numpy as np

    file = cache_dir() / "data" / f"{key}.npz"
    if file.is_file():
        try:
            with np.load(file, allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as failure:
            logging.getLogger(__name__).warning("%s is made again: %s", file, failure)
    arrays = make()
    try:
        with draft_of(file) as draft:
            np.savez(draft, **arrays)  # type: ignore[arg-type]  # its flag is no array
    except OSError as failure:
        logging.getLogger(__name__).warning("%s cannot be kept: %s", file, failure)
    return arrays
