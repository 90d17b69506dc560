"""TensorBoard logs: one scalar for each figure of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

Log = Callable[[int, Mapping[str, float | None]], None]
"""Takes a step and its figures by name; None is left out."""


@contextmanager
def tensorboard(folder: Path | None) -> Iterator[Log]:
    """Write scalars to `folder`, or nowhere without one or where TensorBoard is not installed."""
    if folder is None or find_spec("tensorboard") is None:
        yield lambda *_: None
        return
    from harness.models.convert import load_tensorflow

    summary = load_tensorflow().summary
    writer = summary.create_file_writer(str(folder))

    def log(step: int, values: Mapping[str, float | None]) -> None:
        with writer.as_default(step=step):
            for name, value in values.items():
                if value is not None:
                    summary.scalar(name, value)
        writer.flush()

    try:
        yield log
    finally:
        writer.close()
