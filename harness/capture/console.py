"""Ask the device and get checked answers: deadlines, retries, and a log of every byte.

Every command is idempotent, so a lost or garbled line is requested again and never becomes data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from harness import protocol
from harness.capture.crash import PlaceOf, assertion_error, fault_error
from harness.errors import (
    CaptureError,
    CaptureTimeout,
    DeviceError,
    DeviceHang,
    DeviceReset,
    HarnessError,
)

T = TypeVar("T")
E = TypeVar("E", bound=HarnessError)
N = TypeVar("N", protocol.Cycle, protocol.Layer, protocol.ArenaPart)

_TRIES = 4
# How long a complete answer waits for the `m-ready` that should follow it.
_READY_GRACE_S = 0.5
_POLL_S = 0.05
_TAIL_BYTES = 200
# The longest silence without finding out whether the host that the board is on still answers.
_SILENCE_S = 5.0


def first(records: Iterable[protocol.Record], kind: type[T]) -> T | None:
    """Return the first record of a kind, None when there is none yet."""
    return next((record for record in records if isinstance(record, kind)), None)


def numbered(records: Iterable[protocol.Record], kind: type[N], count: int) -> tuple[N, ...] | None:
    """Return the records of a kind that are numbered 0 to `count` - 1, None when one is missing."""
    found = {record.i: record for record in records if isinstance(record, kind)}
    return tuple(found[i] for i in range(count)) if sorted(found) == list(range(count)) else None


class Console:
    """The device's command line on an open pyserial port, whose timeout is set here.

    Messages name the station and port by `where`, and what is at an address by `place_of`. During
    a long silence `check_host` is called now and then; it raises if there is no point in waiting.
    """

    def __init__(
        self,
        port: Any,
        *,
        where: str,
        place_of: PlaceOf = lambda _: None,
        check_host: Callable[[], None] = lambda: None,
    ) -> None:
        self._place_of = place_of
        self._check_host = check_host
        self._port = port
        self._where = where
        self._assembler = protocol.LineAssembler()
        self._log = bytearray()
        self.garbled = 0
        #: What tells the time at the first byte after a command, and what it told.
        self.clock: Callable[[], float] | None = None
        self.arrived: float | None = None
        self.attempts = 0  # how often the last command was sent
        self._guard(lambda: setattr(port, "timeout", _POLL_S))

    @property
    def log(self) -> str:
        """Everything sent and received since `clear`; our commands stand behind ``> ``."""
        return self._log.decode("ascii", "backslashreplace")

    def set_rate(self, baud: int) -> None:
        """Set the rate of the port; raises `CaptureError` if it does not take it."""
        self._guard(lambda: setattr(self._port, "baudrate", baud))

    def clear(self) -> None:
        """Forget what came so far: the device is about to be reset."""
        self._log.clear()
        self._assembler.reset()
        self.garbled = 0
        self._guard(self._port.reset_input_buffer)

    def restart(self, note: str = "reset") -> None:
        """Drop what is not read yet and keep the log: the device is about to be reset again."""
        self._log += f"> ({note})\n".encode("ascii")
        self._assembler.reset()
        self._guard(self._port.reset_input_buffer)

    def wait_for_boot(self, timeout_s: float) -> protocol.Boot:
        """Wait for the line that follows a reset, and for the first `m-ready`.

        Raises:
            CaptureTimeout: Nothing came, or nothing that could be understood.
        """
        deadline = time.monotonic() + timeout_s
        boot: protocol.Boot | None = None
        for parsed in self._lines(deadline):
            if isinstance(parsed, protocol.Line):
                record = self._decode(parsed)
                if isinstance(record, protocol.Boot):
                    boot = record
            elif isinstance(parsed, protocol.Ready) and boot is not None:
                return boot
        if boot is not None:
            return boot
        raise self._timeout("the boot line after reset", timeout_s)

    def ask(
        self,
        command: bytes,
        collect: Callable[[list[protocol.Record]], T | None],
        *,
        what: str,
        timeout_s: float = 2.0,
        tries: int = _TRIES,
    ) -> T:
        """Send a command until its answer is complete.

        Args:
            collect: Makes the answer of the records that came; None while something is missing.
            what: Name of the answer for messages.
            timeout_s: Deadline of each try.
            tries: How often the command is sent at most.

        Raises:
            DeviceError: The device refuses the command or has faulted.
            DeviceHang: No answer in time, and none to an empty command either.
            CaptureTimeout: No complete answer in time, after several tries.
            DeviceReset: The device was reset.
            CaptureError: The device answers with another grammar.
        """
        refused: protocol.DeviceErr | None = None
        for attempt in range(tries):
            self.attempts = attempt + 1
            if attempt and not (self._resynchronise() or self._resynchronise()):
                # One lost byte may silence it once; twice is no accident of the line.
                raise self._timeout(what, timeout_s * attempt, DeviceHang)
            records = self._exchange(command, collect, timeout_s)
            answer = collect(records)
            if answer is not None:
                return answer
            refused = next((r for r in records if isinstance(r, protocol.DeviceErr)), refused)
        if refused is not None:
            raise self.failure(
                DeviceError,
                f"the device refuses {what}: {refused.code} ({refused.cmd})",
                fix="read the exchange at the end of the raw log",
            )
        raise self._timeout(what, timeout_s * tries)

    def failure(self, kind: type[E], what: str, **facts: Any) -> E:
        """Return an error of a kind with the station, the port and the log."""
        return kind(what, where=self._where, raw_log=self.log, **facts)

    def ask_for(self, command: bytes, kind: type[T], *, what: str, timeout_s: float = 2.0) -> T:
        """Send a command that one record of `kind` answers; see `ask`."""
        return self.ask(command, lambda found: first(found, kind), what=what, timeout_s=timeout_s)

    def tell(self, command: bytes, kind: type[T], *, timeout_s: float) -> T | None:
        """Send a command once; return the record that answers it, before any `m-ready`.

        None if it is refused or lost.
        """
        self._log += b"> " + command + b"\n"
        self._guard(lambda: self._port.write(command))
        for parsed in self._lines(time.monotonic() + timeout_s):
            if isinstance(parsed, protocol.Ready):
                return None
            if isinstance(parsed, protocol.Line):
                record = self._checked(self._decode(parsed))
                if isinstance(record, kind):
                    return record
        return None

    def answers(self, timeout_s: float) -> bool:
        """Send an empty command; return whether `m-ready` comes, and drop all else."""
        self._assembler.reset()
        self._guard(self._port.reset_input_buffer)
        self._log += b"> %\n"
        self._guard(lambda: self._port.write(protocol.SYNC))
        lines = self._lines(time.monotonic() + timeout_s)
        return any(isinstance(parsed, protocol.Ready) for parsed in lines)

    def _exchange(
        self, command: bytes, collect: Callable[[list[protocol.Record]], T | None], timeout_s: float
    ) -> list[protocol.Record]:
        self._log += b"> " + command + b"\n"
        self.arrived = None
        self._guard(lambda: self._port.write(command))
        records: list[protocol.Record] = []
        start = last = time.monotonic()
        for parsed in self._lines(start + timeout_s):
            if isinstance(parsed, protocol.Ready):
                break
            if isinstance(parsed, protocol.Line):
                records.append(self._checked(self._decode(parsed)))
            if parsed is not None:
                last = time.monotonic()
            elif time.monotonic() - last > _READY_GRACE_S and collect(records) is not None:
                # All is there, only `m-ready` got lost: do not wait out a long deadline.
                break
        return records

    def _resynchronise(self) -> bool:
        """End whatever the device may still be reading; return whether it says anything."""
        self._log += b"> %\n"
        self._guard(lambda: self._port.write(protocol.SYNC))
        before = len(self._log)
        for parsed in self._lines(time.monotonic() + _READY_GRACE_S):
            if isinstance(parsed, protocol.Ready):
                return True
            if isinstance(parsed, protocol.Line):
                self._checked(self._decode(parsed))
        return len(self._log) > before

    def _lines(self, deadline: float) -> Iterator[protocol.Parsed | None]:
        """Yield what arrives until the deadline, and None whenever nothing does for a moment."""
        heard = time.monotonic()
        while time.monotonic() < deadline:
            data: bytes = self._guard(lambda: self._port.read(max(1, self._port.in_waiting)))
            if data:
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENCE_S:
                self._guard(self._check_host)
                heard = time.monotonic()
            if data and self.clock is not None and self.arrived is None:
                self.arrived = self.clock()
            self._log += data
            if not data:
                yield None
            for parsed in self._assembler.feed(data):
                if isinstance(parsed, protocol.Garbled):
                    self.garbled += 1
                yield parsed

    def _decode(self, line: protocol.Line) -> protocol.Record:
        try:
            return protocol.decode(line)
        except protocol.RecordError as failure:
            raise self.failure(
                CaptureError,
                f"the device speaks another version of the grammar: {failure}",
                expected=f"grammar version {protocol.VERSION}",
                fix="build and flash the image again with this version of the harness",
            ) from None

    def _checked(self, record: protocol.Record) -> protocol.Record:
        if isinstance(record, protocol.Fault):
            raise fault_error(record, where=self._where, raw_log=self.log, place_of=self._place_of)
        if isinstance(record, protocol.Assertion):
            raise assertion_error(record, where=self._where, raw_log=self.log)
        if isinstance(record, protocol.Boot):
            raise self.failure(
                DeviceReset,
                f"the device was reset in the middle (cause: {record.reset})",
                fix="check the supply and the cable, then run the command again",
            )
        return record

    def _guard(self, action: Callable[[], Any]) -> Any:
        import serial

        try:
            return action()
        except (serial.SerialException, OSError) as failure:
            raise self.failure(
                CaptureError,
                f"the serial port failed: {failure}",
                fix="check the cable, then `harness bench check`",
            ) from failure

    def _timeout(
        self, what: str, timeout_s: float, kind: type[CaptureTimeout] = CaptureTimeout
    ) -> CaptureTimeout:
        tail = bytes(self._log[-_TAIL_BYTES:]).decode("ascii", "backslashreplace")
        silent = ", and the device does not answer any more" if kind is DeviceHang else ""
        return self.failure(
            kind,
            f"waited {timeout_s:.1f} s for {what}{silent}",
            expected=f"an answer; {self.garbled} garbled lines, last bytes: {tail!r}",
            fix="`harness bench check`; the row's raw log has every byte",
            garbled=self.garbled,
        )
