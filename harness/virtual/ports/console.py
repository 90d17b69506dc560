"""The wire between the console USART and whoever opens the board's serial URL.

Two rings of bytes in memory that the compiled callbacks of the USART (`native.console`) share with
this module, and an event file descriptor for each direction.
"""

from __future__ import annotations

import ctypes
import os
import select
import threading
import time
from collections.abc import Callable

from harness.errors import HarnessError, VirtualError
from harness.virtual.native import shared
from harness.virtual.native.console import CONSOLE, RX_BYTES, TX_BYTES

# The core looks at "the reader waits" right after it has stored a byte; a wake-up that is lost
# between the two sides' caches costs one of these.
_SLICE_S = 0.02
_WAIT_MS = 50  # that the core waits for input at once


class Console:
    """The two directions of a board's console.

    Args:
        received: Host address of a word that is set to one when the core takes a byte; 0 for none.
    """

    def __init__(self, received: int = 0) -> None:
        self.state = shared(CONSOLE)
        self._wire = self.state[0]
        self._wire["received"] = received
        self._wire["wait_ms"] = _WAIT_MS
        #: Called when input has come for a USART that interrupts the core; None without one.
        self.on_input: Callable[[], None] | None = None
        #: What `on_input` is then: the core's.
        self.notify: Callable[[], None] = lambda: None
        self._rx_bytes = memoryview(self._wire["rx"])
        self._tx_bytes = memoryview(self._wire["tx"])
        flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
        self._rx_event, self._tx_event = os.eventfd(0, flags), os.eventfd(0, flags)
        self._poll = select.poll()
        self._poll.register(self._tx_event, select.POLLIN)
        self._wire["rx_event"], self._wire["tx_event"] = self._rx_event, self._tx_event
        self._lock = threading.Lock()  # guards the core's end of the ring to the core
        self._reading = threading.Lock()
        self._receiving = False
        self._owner: str | None = None
        self._error: HarnessError | None = None
        self._powered = True
        self._baud: int | None = None
        #: Whether bytes at another rate arrive as noise, as on a wire, instead of stopping the run.
        self.noisy = False

    # The core's side.

    def place(self, offset: int, *, status: int, receive: int, transmit: int) -> None:
        """Say where in its page the USART's registers are."""
        wire = self._wire
        wire["status_at"] = offset + status
        wire["rx_at"] = offset + receive
        wire["tx_at"] = offset + transmit

    def set_fast(self, status: int | None) -> None:
        """Let the compiled callbacks move bytes, with these status flags; None stops them."""
        if status is not None:
            self._wire["status"] = status
        self._wire["fast"] = int(status is not None)

    def set_receiver(self, on: bool) -> None:
        """Switch the receiver; bytes that arrive while it is off are lost."""
        with self._lock:
            self._receiving = on
            if not on:
                self._wire["rx_tail"] = self._wire["rx_head"]

    @property
    def waiting(self) -> bool:
        """Whether a byte waits for the core."""
        return bool(self._wire["rx_head"] != self._wire["rx_tail"])

    def peek(self) -> int:
        """Return the next byte for the core without taking it; 0 when there is none."""
        tail = self._wire["rx_tail"] % RX_BYTES
        return self._rx_bytes[tail] if self.waiting else 0

    def take(self) -> int:
        """Take the next byte for the core; 0 when there is none."""
        byte = self.peek()
        if self.waiting:
            self._wire["rx_tail"] += 1
            if self._wire["received"]:
                ctypes.c_int64.from_address(int(self._wire["received"])).value = 1
        return byte

    def put(self, byte: int) -> None:
        """Send a byte to the host; without a reader it is lost, as in the probe's bridge."""
        wire = self._wire
        if not wire["listening"]:
            return
        if wire["tx_head"] - wire["tx_tail"] >= TX_BYTES:
            wire["lost"] += 1
            return
        self._tx_bytes[wire["tx_head"] % TX_BYTES] = byte
        wire["tx_head"] += 1
        os.eventfd_write(self._tx_event, 1)

    def interrupt(self, on: bool) -> None:
        """End the core's waiting for input, and do not let it wait while `on`."""
        self._wire["interrupted"] = int(on)
        if on and self._powered:
            os.eventfd_write(self._rx_event, 1)

    def limit_wait(self, seconds: float | None, stop: int = 0) -> None:
        """Let the core wait for input at most so long at once, as a deadline is near.

        Args:
            seconds: How long; None for as long as usual.
            stop: Host address of the word that stops the core after a wait, to look at the time.
        """
        limit = _WAIT_MS if seconds is None else min(_WAIT_MS, int(1000 * seconds))
        self._wire["wait_ms"], self._wire["stop"] = limit, 0 if seconds is None else stop

    def take_idle_ns(self) -> int:
        """Return how long the core has waited for input since the last call."""
        idle = int(self._wire["idle_ns"])
        self._wire["idle_ns"] = 0
        return idle

    def add_idle_ns(self, idle: int) -> None:
        """Let the core have waited for longer; the core must not be running."""
        self._wire["idle_ns"] += idle

    @property
    def moved_bytes(self) -> int:
        """Bytes that went either way since power-on."""
        return int(self._wire["tx_head"]) + int(self._wire["rx_tail"])

    def fail(self, error: HarnessError | None) -> None:
        """Deliver `error` to the reader after the bytes that came before it; None clears it."""
        self._error = error
        self.wake()

    def power_off(self) -> None:
        """Close the wire for good."""
        self._powered = False
        os.eventfd_write(self._tx_event, 1)
        with self._reading, self._lock:
            # Nothing uses the descriptors from here on: each use looks at `_powered` first.
            os.close(self._rx_event)
            os.close(self._tx_event)

    # The host's side.

    @property
    def baud(self) -> int | None:
        """Rate of the host's side, None while the console is closed."""
        return self._baud

    @baud.setter
    def baud(self, value: int | None) -> None:
        self._baud = value
        self.set_fast(None)  # the rates are compared at the next byte

    def open(self, owner: str, baud: int) -> bool:
        """Open the console; False if it is open already."""
        with self._lock:
            if self._owner is not None:
                return False
            self._owner = owner
        self.baud = baud
        self.discard_input()
        self._wire["listening"] = 1
        return True

    def close(self) -> None:
        """Close the console; a pending `read` returns."""
        self._wire["listening"] = 0
        self.baud = None
        self._owner = None
        self.wake()

    def write(self, data: bytes) -> None:
        """Send bytes to the core.

        Raises:
            VirtualError: The board has stopped on an error, or was powered off.
        """
        self._check()
        for start in range(0, len(data), RX_BYTES // 2):
            self._write(data[start : start + RX_BYTES // 2])

    def _write(self, data: bytes) -> None:
        wire = self._wire
        while True:
            with self._lock:
                if not self._receiving or not self._powered:
                    return
                head = int(wire["rx_head"])
                if head - wire["rx_tail"] + len(data) <= RX_BYTES:
                    at = head % RX_BYTES
                    first = min(len(data), RX_BYTES - at)
                    self._rx_bytes[at : at + first] = data[:first]
                    self._rx_bytes[: len(data) - first] = data[first:]
                    wire["rx_head"] = head + len(data)
                    os.eventfd_write(self._rx_event, 1)
                    break
            self._check()
            time.sleep(_SLICE_S)  # the firmware does not keep up
        if self.on_input is not None:
            self.on_input()

    def read(self, count: int, timeout: float | None, cancelled: Callable[[], bool]) -> bytes:
        """Return up to `count` bytes; fewer when `timeout` passes (None: never) or it is closed.

        Raises:
            VirtualError: The board has stopped on an error, and all bytes before it were read.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        out = bytearray()
        with self._reading:
            while True:
                out += self._take_sent(count - len(out))
                if len(out) == count or self._owner is None or cancelled():
                    return bytes(out)
                if self._error is not None or not self._powered:
                    # What was sent just before the error must not be overtaken by it.
                    out += self._take_sent(count - len(out))
                    if not out:
                        self._check()
                    return bytes(out)
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return bytes(out)
                self._wait(_SLICE_S if left is None else min(left, _SLICE_S))

    def _wait(self, seconds: float) -> None:
        wire = self._wire
        wire["reader_waits"] = 1
        nothing = wire["tx_head"] == wire["tx_tail"]
        if nothing and self._poll.poll(1000 * seconds):
            os.eventfd_read(self._tx_event)
        wire["reader_waits"] = 0

    def _take_sent(self, count: int) -> bytes:
        wire = self._wire
        tail = int(wire["tx_tail"])
        count = min(count, int(wire["tx_head"]) - tail)
        if count <= 0:
            if wire["lost"]:
                lost, wire["lost"] = int(wire["lost"]), 0
                raise VirtualError(
                    f"{lost} bytes of the console were lost, as no one read them",
                    expected=f"a reader that lets at most {TX_BYTES} bytes pile up",
                    fix="read the console while the firmware talks",
                )
            return b""
        at = tail % TX_BYTES
        first = min(count, TX_BYTES - at)
        data = bytes(self._tx_bytes[at : at + first]) + bytes(self._tx_bytes[: count - first])
        wire["tx_tail"] = tail + count
        return data

    def _check(self) -> None:
        if not self._powered:
            raise VirtualError("the virtual board was powered off")
        if self._error is not None and self.unread == 0:
            raise self._error

    def wake(self) -> None:
        """Make a pending `read` look at its cancellation again."""
        if self._powered:
            os.eventfd_write(self._tx_event, 1)

    @property
    def unread(self) -> int:
        """Bytes that the host can read at once."""
        return int(self._wire["tx_head"] - self._wire["tx_tail"])

    @property
    def in_waiting(self) -> int:
        """Bytes that the host can read at once; raises as `read`."""
        self._check()
        return self.unread

    def discard_input(self) -> None:
        """Drop what the host has not read."""
        self._wire["tx_tail"] = self._wire["tx_head"]
        self._wire["lost"] = 0

    def discard_output(self) -> None:
        """Drop what the core has not read."""
        with self._lock:
            self._wire["rx_tail"] = self._wire["rx_head"]
