"""The wire between the console USART and whoever opens the board's serial URL."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from harness.errors import HarnessError

# What a host may leave unread before the oldest bytes are lost, as in a USB bridge.
_LIMIT = 1 << 20


class Console:
    """Two byte queues with one lock.

    The core's side (`put`, `take`, `waiting`, `wait_for_input`) and the host's side (`read`,
    `write`) may be used from different threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._to_core: deque[int] = deque()
        self._to_host = bytearray()
        self._input = threading.Condition(self._lock)
        self._output = threading.Condition(self._lock)
        self._receiving = False
        self._interrupted = False
        self._owner: str | None = None
        self._error: HarnessError | None = None
        #: Baud rate of the host's side, None while nobody has it open.
        self.baud: int | None = None
        #: Called with the seconds that the core slept waiting for input.
        self.on_idle: Callable[[float], None] = lambda seconds: None

    # The core's side.

    def set_receiver(self, on: bool) -> None:
        """Switch the receiver; bytes that arrive while it is off are lost."""
        with self._lock:
            self._receiving = on
            if not on:
                self._to_core.clear()

    def waiting(self) -> bool:
        """Return whether a byte waits for the core."""
        return bool(self._to_core)

    def wait_for_input(self, seconds: float) -> bool:
        """Sleep until a byte arrives, the core shall stop, or `seconds` pass."""
        began = time.monotonic()
        with self._input:
            if not self._to_core and not self._interrupted:
                self._input.wait(seconds)
            arrived = bool(self._to_core)
        self.on_idle(time.monotonic() - began)
        return arrived

    def interrupt(self, on: bool) -> None:
        """Make `wait_for_input` return at once while `on`."""
        with self._input:
            self._interrupted = on
            self._input.notify_all()

    def take(self) -> int:
        """Take the next byte for the core; 0 when there is none."""
        with self._lock:
            return self._to_core.popleft() if self._to_core else 0

    def peek(self) -> int:
        """Return the next byte for the core without taking it."""
        with self._lock:
            return self._to_core[0] if self._to_core else 0

    def drop_one(self) -> None:
        """Drop the next byte for the core."""
        self.take()

    def put(self, byte: int) -> None:
        """Send a byte to the host."""
        with self._output:
            if self.baud is None:
                return  # nobody listens: the probe's bridge keeps nothing
            self._to_host.append(byte)
            if len(self._to_host) > _LIMIT:
                del self._to_host[0]
            self._output.notify_all()

    def fail(self, error: HarnessError | None) -> None:
        """Deliver `error` to the reader after the bytes that came before it; None clears it."""
        with self._output:
            self._error = error
            self._output.notify_all()

    # The host's side.

    def open(self, owner: str, baud: int) -> bool:
        """Take the console; False if somebody has it."""
        with self._lock:
            if self._owner is not None:
                return False
            self._owner, self.baud = owner, baud
            self._to_host.clear()
            return True

    def close(self) -> None:
        """Give the console back; a pending `read` returns."""
        with self._output:
            self._owner, self.baud = None, None
            self._output.notify_all()

    def write(self, data: bytes) -> None:
        """Send bytes to the core."""
        with self._input:
            if self._error is not None and not self._to_host:
                raise self._error
            if self._receiving:
                self._to_core.extend(data)
                self._input.notify_all()

    def read(self, count: int, timeout: float | None, cancelled: Callable[[], bool]) -> bytes:
        """Return up to `count` bytes; fewer when `timeout` passes (None: never) or it is closed.

        Raises:
            VirtualError: The board has stopped on an error, and all bytes before it were read.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        out = bytearray()
        with self._output:
            while True:
                chunk = self._to_host[: count - len(out)]
                del self._to_host[: len(chunk)]
                out += chunk
                if len(out) == count or self._owner is None or cancelled():
                    return bytes(out)
                if self._error is not None:
                    if out:
                        return bytes(out)
                    raise self._error
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return bytes(out)
                self._output.wait(left)

    def wake(self) -> None:
        """Make a pending `read` look at its cancellation again."""
        with self._output:
            self._output.notify_all()

    @property
    def in_waiting(self) -> int:
        """Bytes that the host can read at once."""
        with self._lock:
            if self._error is not None and not self._to_host:
                raise self._error
            return len(self._to_host)

    def discard_input(self) -> None:
        """Drop what the host has not read."""
        with self._lock:
            self._to_host.clear()

    def discard_output(self) -> None:
        """Drop what the core has not read."""
        with self._lock:
            self._to_core.clear()
