"""Serial port of a virtual board: ``virtual://<board>[?timing=…&faults=…&pace=real][#number]``."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import serial
from serial.serialutil import PortNotOpenError, SerialBase, SerialException, to_bytes

from harness.boards import board_ids, load_board
from harness.errors import BoardError, ConfigError, HarnessError

if TYPE_CHECKING:
    from harness.virtual.faults import FaultPlan, FaultyLine
    from harness.virtual.ports.console import Console

# Query options. Anything unknown is refused, as a typing error would otherwise go unnoticed.
_OPTIONS = frozenset({"faults", "pace", "seed", "timing"})


class Serial(SerialBase):
    """The board's console, with pyserial's semantics."""

    is_open: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._console: Console | FaultyLine | None = None
        self._cancel_read = False
        super().__init__(*args, **kwargs)

    def open(self) -> None:
        """Open the port.

        Raises:
            SerialException: No or an unknown board, an unknown option, or the port is in use.
        """
        if self._port is None:
            raise SerialException("Port must be configured before it can be used.")
        if self.is_open:
            raise SerialException("Port is already open.")
        asked = _parse(self._port)
        from harness.virtual.registry import power_on

        try:
            machine = power_on(asked.board, asked.timing, number=asked.number)
            console = machine.faults.line(asked.faults)
            machine.core.set_pace(asked.paced)
        except HarnessError as error:
            raise SerialException(f"could not open port {self._port}: {error}") from error
        if not console.open(self._port, self._baudrate):
            raise SerialException(
                f"could not open port {self._port}: device or resource busy "
                "(the console of this virtual board is already open in this process)"
            )
        self._console = console
        self.is_open = True

    def close(self) -> None:
        """Close the port."""
        if self._console is not None:
            self._console.close()
            self._console = None
        self.is_open = False

    def _reconfigure_port(self) -> None:
        if self._console is not None:
            self._console.baud = self._baudrate

    @property
    def _wire(self) -> Console | FaultyLine:
        if self._console is None:
            raise PortNotOpenError()
        return self._console

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""
        return self._wire.in_waiting

    @property
    def out_waiting(self) -> int:
        """Bytes not yet sent: none, writing is immediate."""
        self._wire  # noqa: B018 - raises when closed
        return 0

    def read(self, size: int = 1) -> bytes:
        """Read up to `size` bytes, fewer after the timeout.

        Raises:
            VirtualError: The board stopped on an error; all bytes before it have been read.
        """
        self._cancel_read = False
        return self._wire.read(size, self._timeout, lambda: self._cancel_read)

    def cancel_read(self) -> None:
        """Make a pending `read` return."""
        self._cancel_read = True
        self._wire.wake()

    def write(self, data: Any) -> int:
        """Send bytes to the board."""
        content = to_bytes(data)
        self._wire.write(content)
        return len(content)

    def flush(self) -> None:
        """Return once everything is sent: at once."""
        self._wire  # noqa: B018 - raises when closed

    def reset_input_buffer(self) -> None:
        """Drop what has not been read."""
        self._wire.discard_input()

    def reset_output_buffer(self) -> None:
        """Drop what the board has not taken."""
        self._wire.discard_output()

    def send_break(self, duration: float = 0.25) -> None:
        """Wait; the virtual board ignores a break."""
        self._wire  # noqa: B018 - raises when closed
        time.sleep(duration)

    def _update_rts_state(self) -> None:
        """Ignore the line, which the ST-LINK does not have."""

    _update_dtr_state = _update_break_state = _update_rts_state

    @property
    def cts(self) -> bool:
        """Clear to send: the ST-LINK has no such line and reports it as active."""
        return True

    dsr = cts
    cd = cts

    @property
    def ri(self) -> bool:
        """Ring indicator."""
        return False


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a URL asks for."""

    board: str
    number: int = 1
    timing: str | None = None
    faults: FaultPlan | None = None
    paced: bool = False


def _parse(url: str) -> _Asked:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for key in options:
        if key not in _OPTIONS:
            known = ", ".join(sorted(_OPTIONS)) or "none"
            raise SerialException(
                f"could not open port {url}: unknown option '{key}' (known options: {known})"
            )
    number = parts.fragment or "1"
    if not (number.isascii() and number.isdigit() and int(number)):
        raise SerialException(f"could not open port {url}: '#{number}' is no board's number")
    if parts.path.strip("/") or not parts.netloc:
        raise SerialException(f"could not open port {url}: expected virtual://<board>")
    try:
        board = load_board(parts.netloc)
    except BoardError as error:
        raise SerialException(
            f"could not open port {url}: {error.what} (boards: {', '.join(board_ids())})"
        ) from error
    if not board.facts.emulation:
        raise SerialException(f"could not open port {url}: {board.id} cannot be emulated")
    if options.get("pace", "real") != "real":
        raise SerialException(f"could not open port {url}: the only pace is 'real'")
    asked = _Asked(board.id, int(number), options.get("timing"), paced="pace" in options)
    if not options.keys() & {"faults", "seed"}:
        return asked
    from harness.virtual.faults import parse_faults

    try:
        plan = parse_faults(options.get("faults", ""), seed=options.get("seed", "0"))
    except ConfigError as error:
        raise SerialException(f"could not open port {url}: {error}") from error
    return replace(asked, faults=plan)


__all__ = ["Serial", "serial"]
