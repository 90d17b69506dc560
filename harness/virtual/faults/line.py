"""The console's wire with faults on it, in place of `harness.virtual.ports.console.Console`."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from serial import SerialException

from harness.virtual.faults.injector import Injector, Schedule

if TYPE_CHECKING:
    from harness.virtual.faults.points import FaultPoints
    from harness.virtual.ports.console import Console

# How long a delayed byte is held back: longer than the pause after which a host gives up waiting
# for the rest of an answer.
DELAY_S = 0.7


def _hits(schedules: dict[str, Schedule], count: int) -> dict[int, str]:
    """Let `count` bytes pass; return the kind of fault by the position of the byte it falls on."""
    return {at: kind for kind, schedule in schedules.items() for at in schedule.within(count)}


class _Wire:
    """Damage to the bytes of one direction."""

    def __init__(self, injector: Injector, name: str) -> None:
        self._injector = injector
        kinds = ("drop", "garble", "duplicate")
        self._schedules = {kind: injector.schedule(kind, name) for kind in kinds}
        self._random = injector.random(f"bits {name}")

    def carry(self, data: bytes) -> bytes:
        """Return what arrives of `data`."""
        out, last = bytearray(), 0
        for at, kind in sorted(_hits(self._schedules, len(data)).items()):
            self._injector.counts[kind] += 1
            out += data[last:at]
            if kind == "garble":
                out.append(data[at] ^ 1 << self._random.randrange(8))
            elif kind == "duplicate":
                out += data[at : at + 1] * 2
            last = at + 1
        return bytes(out + data[last:])


class FaultyLine:
    """A console whose wire loses, damages and delays bytes, and whose port comes and goes.

    The board keeps it for as long as its fault plan is in force, so that the faults of a second
    opening follow those of the first.
    """

    def __init__(self, board: FaultPoints, console: Console, injector: Injector) -> None:
        self._board = board
        self._console = console
        self._injector = injector
        # In this order, as a trigger damages the answer to its command.
        self._to_board, self._to_host = _Wire(injector, "to board"), _Wire(injector, "to host")
        self._events = {
            kind: injector.schedule(kind, "to host")
            for kind in ("delay", "vanish", "reset", "watchdog")
        }
        self._rate, self._noise = injector.plan.rate, injector.random("bits too fast")
        self._command = b""
        self._ready = bytearray()
        self._held = b""
        self._release = 0.0
        self._gone = False
        self._failing_openings = 0
        self.close, self.wake = console.close, console.wake

    def open(self, owner: str, baud: int) -> bool:
        """Open the port.

        Raises:
            SerialException: It has vanished and is not back yet.
        """
        if self._failing_openings:
            self._failing_openings -= 1
            raise SerialException(
                errno.ENOENT, f"could not open port {owner}: No such file or directory"
            )
        self._gone = False
        self._drop_read()
        return self._console.open(owner, baud)

    @property
    def baud(self) -> int | None:
        """Rate of the host's side."""
        return self._console.baud

    @baud.setter
    def baud(self, value: int | None) -> None:
        self._console.baud = value

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""
        self._check()
        return len(self._ready) or (0 if self._held else self._console.in_waiting)

    def discard_input(self) -> None:
        """Drop what the host has not read."""
        self._check()
        self._drop_read()
        self._console.discard_input()

    def discard_output(self) -> None:
        """Drop what the board has not taken."""
        self._check()
        self._console.discard_output()

    def write(self, data: bytes) -> None:
        """Send bytes to the board."""
        self._check()
        carried = self._smear(self._to_board.carry(data))
        *ended, self._command = (self._command + data).split(b"%")
        # Before the board has the command: its answer could be faster than the fault.
        for command in ended:
            name, _, _ = command.decode("ascii", "replace").strip().partition(" ")
            self._injector.command_sent(name)
        self._console.write(carried)

    def read(self, count: int, timeout: float | None, cancelled: Callable[[], bool]) -> bytes:
        """Return up to `count` bytes; fewer when `timeout` passes or the port is closed.

        Raises:
            SerialException: The port has vanished.
            VirtualError: The board has stopped on an error.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._check()
            if self._held and time.monotonic() >= self._release:
                self._ready += self._held
                self._held = b""
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._ready and self._held:
                wait = self._release - time.monotonic()
                time.sleep(max(0.0, wait if left is None else min(wait, left)))
            elif not self._ready:
                wanted = max(1, min(count, self._console.unread))
                data = self._console.read(wanted, left, cancelled)
                self._receive(data)
                if not data:
                    return b""
            if self._ready:
                out = bytes(self._ready[:count])
                del self._ready[:count]
                return out
            if cancelled() or (deadline is not None and time.monotonic() >= deadline):
                return b""

    def _smear(self, data: bytes) -> bytes:
        """Return what arrives of `data` at a rate that the wire may be too slow for."""
        if self._rate is None or (self.baud or 0) <= self._rate:
            return data
        self._injector.counts["rate"] += len(data)
        return bytes(byte ^ 1 << self._noise.randrange(8) for byte in data)

    def _receive(self, data: bytes) -> None:
        """Let `data` come from the board, up to the event that ends it."""
        data = self._smear(data)
        hits = _hits(self._events, len(data))
        if not hits:
            self._ready += self._to_host.carry(data)
            return
        at, kind = min(hits.items())
        self._injector.counts[kind] += 1
        self._ready += self._to_host.carry(data[:at])
        if kind == "delay":
            self._held = self._to_host.carry(data[at:])
            self._release = time.monotonic() + DELAY_S
        elif kind == "vanish":
            self._gone = True
            self._failing_openings = 1
        else:
            # What the chip still had to send is lost with its supply.
            self._board.upset(watchdog=kind == "watchdog")

    def _drop_read(self) -> None:
        self._ready.clear()
        self._held = b""

    def _check(self) -> None:
        if self._gone and not self._ready:
            raise SerialException("read failed: the device was disconnected")
