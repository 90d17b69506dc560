"""Write files whole or not at all, also when the process is killed or another writes the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HarnessError


@contextmanager
def draft_of(
    path: Path, *, what: str = "file", error: type[HarnessError] | None = None
) -> Iterator[Path]:
    """Yield a path to write to, in the folder of `path`; it takes its place when all went well.

    Missing folders are made. The draft keeps the suffix, which tells some libraries the format.

    Args:
        path: The file to write.
        what: What it holds, for the message.
        error: What to raise instead of `OSError`, with a message for users.

    Raises:
        HarnessError: It cannot be written, as `error`.
        OSError: The same, where no `error` is given.
    """
    draft = path.with_name(f".new-{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as failure:
        if error is None:
            raise
        raise error(
            f"the {what} cannot be written: {failure.strerror or failure}",
            where=str(path),
            fix="check that the folder is writable and the disk has space",
        ) from None
