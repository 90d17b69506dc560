"""Keep what native libraries print to standard error, so that noise can be dropped and errors kept.

TensorFlow and TFLM write to file descriptor 2 from C++, past Python's `sys.stderr`.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Lines that say nothing: converter settings, absl's first words, informational and warning levels.
_NOISE = re.compile(
    r"^\s*$|^fully_quantize:|^WARNING: All log messages before absl|^\d{4}-\d\d-\d\d .*: [IW] "
    r"|^[IW]\d{4} \d\d:|^INFO: |^WARNING:absl:"
)
_lock = threading.RLock()


@dataclass(slots=True)
class Captured:
    """What was written while the capture lasted; `text` is filled when it ends."""

    text: str = ""

    def kept(self) -> list[str]:
        """Return the lines that are not noise, with their ends."""
        return [line for line in self.text.splitlines(keepends=True) if not _NOISE.match(line)]

    def tail(self, lines: int = 6) -> str:
        """Return the last lines that are not noise."""
        return "".join(self.kept()[-lines:]).rstrip("\n")


@contextmanager
def captured_stderr(*, replay: bool = True) -> Iterator[Captured]:
    """Collect file descriptor 2; afterwards write back what is not known noise.

    The descriptor belongs to the whole process: what other threads write meanwhile is collected
    and, with `replay`, comes out late rather than never. An error that passes through is expected
    to carry it instead.
    """
    captured = Captured()
    with _lock, tempfile.TemporaryFile() as sink:
        sys.stderr.flush()
        saved = os.dup(2)
        failed = True
        try:
            os.dup2(sink.fileno(), 2)
            try:
                yield captured
                failed = False
            finally:
                sys.stderr.flush()
                os.dup2(saved, 2)
                sink.seek(0)
                captured.text = sink.read().decode(errors="replace")
                if replay and not failed:
                    os.write(2, "".join(captured.kept()).encode())
        finally:
            os.close(saved)
