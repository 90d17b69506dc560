"""Find the smallest arena that a model works in, on the device.

What a runtime reports after set-up is no bound: TensorFlow Lite Micro needs temporary memory while
it allocates, so a small model fails in the very size that ``arena_used_bytes()`` named, and a large
one works in less. Only trying tells. Sizes are multiples of `GRANULARITY`, the alignment of an
arena. A size works when set-up and one inference succeed and the outputs are those of the whole
arena; a fault, a reset and silence are as good an answer as a refusal.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from harness import protocol
from harness.capture.console import Console, first, numbered
from harness.capture.record import ArenaReading
from harness.errors import CaptureError, CaptureTimeout, DeviceError, VirtualError

GRANULARITY = 16
"""Bytes; smaller steps change nothing, because the runtimes align their buffers to it."""

_TRIES = 2
# A size that works takes as long as the whole arena did; these only bound how long silence lasts.
_SLACK_S = 2.0
_SLACK_FACTOR = 5


def smallest_arena(works: Callable[[int], bool], *, start: int, capacity: int) -> int:
    """Return the smallest size that works, given that `capacity` does.

    Goes outwards from `start` in doubling steps, since the answer is near it, and then bisects:
    about ten calls, whatever the capacity.

    Args:
        works: Whether a size in bytes works; larger sizes work where smaller ones do.
        start: A guess in bytes, such as what the runtime says it uses.
        capacity: The whole arena in bytes; returned as it is, all else as multiples of
            `GRANULARITY`.
    """
    last = -(-capacity // GRANULARITY)

    def answer(step: int) -> bool:
        return step >= last or (step > 0 and works(step * GRANULARITY))

    low, high, stride = 0, last, 1
    at = min(max(1, -(-start // GRANULARITY)), last)
    if answer(at):
        high = at
        while high - stride > low and answer(high - stride):
            high, stride = high - stride, stride * 2
        low = max(low, high - stride)
    else:
        low = at
        while low + stride < high and not answer(low + stride):
            low, stride = low + stride, stride * 2
        high = min(high, low + stride)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if answer(middle) else (middle, high)
    return min(high * GRANULARITY, capacity)


class ArenaSearch:
    """Tries sizes on a device that is set up, and brings it back when a size kills it."""

    def __init__(
        self,
        console: Console,
        revive: Callable[[], None],  # resets the device and writes the inputs again
        *,
        outputs: tuple[bytes, ...],  # what the model gives in its whole arena
        deadline_s: float,  # longest time of set-up and one inference
    ) -> None:
        self._console = console
        self._revive = revive
        self._expected = protocol.crc32(b"".join(outputs))
        self._deadline_s = deadline_s
        self._results: dict[int, str | None] = {}  # why each size that was tried does not work

    def run(self, *, used: int, capacity: int) -> ArenaReading:
        """Search from `used`, and give the model its whole arena back.

        Raises:
            DeviceError: The model does not work in its whole arena either.
            CaptureError: The device does not come back after a reset.
        """
        start = time.monotonic()
        if not self._works(capacity):
            raise self._console.failure(
                DeviceError,
                f"the model does not work a second time in its whole arena of {capacity} bytes: "
                f"{self._results[capacity]}",
                expected="the outputs of the timed run",
            )
        self._deadline_s = _SLACK_S + _SLACK_FACTOR * (time.monotonic() - start)
        found = smallest_arena(self._works, start=used, capacity=capacity)
        setup = self._console.ask_for(
            protocol.SETUP, protocol.Setup, what="set-up", timeout_s=self._deadline_s
        )
        if setup.rc:
            raise self._console.failure(
                DeviceError,
                f"the runtime cannot set the model up again: {setup.message} (code {setup.rc})",
            )
        below = max((size for size in self._results if size < found), default=None)
        message = None if below is None else self._results[below]
        return ArenaReading(found, len(self._results), below, message)

    def _works(self, size: int) -> bool:
        self._results[size] = self._try(size)
        return self._results[size] is None

    def _try(self, size: int) -> str | None:
        """Return why `size` does not work, None when it does."""
        try:
            try:
                reading = self._ask(size)
            except CaptureTimeout:
                # Silence may be a bad line too; from a fresh start it is the size.
                self._revive()
                reading = self._ask(size)
        except (CaptureError, VirtualError) as failure:
            # A refusal is a bug, and a port that failed will not come back by a reset.
            if isinstance(failure, DeviceError) and "fault" not in failure.data:
                raise
            self._revive()
            return "no answer" if isinstance(failure, CaptureTimeout) else failure.what
        if reading.rc:
            return reading.message or f"code {reading.rc}"
        return None if reading.out == self._expected else "the outputs differ"

    def _ask(self, size: int) -> protocol.ArenaTry:
        def collect(records: list[protocol.Record]) -> protocol.ArenaTry | None:
            found = (r for r in records if isinstance(r, protocol.ArenaTry) and r.bytes == size)
            return next(found, None)

        return self._console.ask(
            protocol.encode_arena(size),
            collect,
            what=f"the model in {size} bytes of arena",
            timeout_s=self._deadline_s,
            tries=_TRIES,
        )


def read_arena_parts(console: Console) -> tuple[protocol.ArenaPart, ...]:
    """Return where the runtime says its arena goes; CaptureError without a checked answer."""

    def collect(records: list[protocol.Record]) -> tuple[protocol.ArenaPart, ...] | None:
        end = first(records, protocol.ArenaPartsEnd)
        return None if end is None else numbered(records, protocol.ArenaPart, end.n)

    return console.ask(protocol.ARENA_PARTS, collect, what="the arena's parts")
