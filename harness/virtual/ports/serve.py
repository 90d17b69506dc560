"""Offer a virtual board to other programs: a pseudo-terminal and pyOCD's remote probe server."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import termios
import threading
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.boards import Board
from harness.errors import VirtualError
from harness.paths import cache_dir

if TYPE_CHECKING:
    from harness.virtual.machine import VirtualMachine

DEFAULT_PORT = 5555  # pyOCD's own, so that `-u remote:localhost` finds it
_CHUNK = 4096  # bytes at once from a terminal
_SLICE_S = 0.2
_TOLERANCE = 0.03  # of a rate, as the USART has it
# Linux' struct termios2, which has the rates as numbers: flags, discipline, characters, in, out.
_TCGETS2, _TCSETS2 = 0x802C542A, 0x402C542B
_TERMIOS2 = struct.Struct("4IB19s2I")
_BOTHER = 0o010000


def flash_path(board: Board) -> Path:
    """Return the file that keeps a served board's flash."""
    return cache_dir() / "virtual" / f"{board.id}.flash"


@dataclass(frozen=True, slots=True)
class Served:
    """Where a served board is reached."""

    board: str  # id
    console: str  # path of the pseudo-terminal
    probe: str  # pyOCD unique id of the remote probe
    target: str  # pyOCD target to name with it
    tcp_port: int  # on the loopback interface
    flash_file: str
    baud: int  # that the pseudo-terminal is set to until a program sets another
    timing: str  # timing model and its version


def serve(
    board: Board,
    *,
    flash_file: Path | None = None,
    tcp_port: int = DEFAULT_PORT,
    baud: int | None = None,
    timing: str | None = None,
    on_ready: Callable[[Served], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve `board` until `stop` is set or the program is interrupted.

    Args:
        board: What to emulate.
        flash_file: Keeps the flash; default `flash_path(board)`.
        tcp_port: Port for pyOCD on the loopback interface; 0 takes a free one.
        baud: Rate that the pseudo-terminal is set to; default the board's. As on a real port, a
            program that sets a rate other than the firmware's reads and sends noise.
        timing: ``issue`` or ``pipeline``; default as `timing_model`.
        on_ready: Called once both doors are open.
        on_note: Called with what a user should know, such as rates that differ.
        stop: Ends serving when set.

    Raises:
        VirtualError: The board cannot be emulated or is served already, or the port is taken.
    """
    from harness.virtual.machine import VirtualMachine
    from harness.virtual.registry import adopt_machine, discard_machine
    from harness.virtual.time import timing_model

    stop = threading.Event() if stop is None else stop
    file = flash_path(board) if flash_file is None else flash_file
    machine = VirtualMachine(board, flash_file=file, model=timing_model(board, timing))
    try:
        adopt_machine(machine)
    except VirtualError:
        machine.close()
        raise
    try:
        terminal = _Terminal(machine, baud or board.facts.console.baud, on_note)
        with _probe_server(board, tcp_port) as port, terminal as console:
            served = Served(
                board=board.id,
                console=console,
                probe=f"remote:localhost:{port}",
                target=board.facts.pyocd_target,
                tcp_port=port,
                flash_file=str(file),
                baud=terminal.baud,
                timing=machine.model.identity,
            )
            if on_ready is not None:
                on_ready(served)
            stop.wait()
    finally:
        discard_machine(board.id)


@contextlib.contextmanager
def _probe_server(board: Board, tcp_port: int) -> Any:
    from pyocd.core.session import Session
    from pyocd.probe.tcp_probe_server import DebugProbeServer

    from harness.virtual.ports.probe import VirtualProbe

    probe = VirtualProbe(board)
    session = Session(None, options={"persist": True})
    try:
        server = DebugProbeServer(session, probe, tcp_port, serve_local_only=True)
        # DebugProbeServer stops listening in stop(), but leaves its socket open.
        listener = server._server
        server.start()
    except OSError as error:
        raise VirtualError(
            f"cannot listen on port {tcp_port} of the loopback interface: {error.strerror}",
            expected="a free TCP port",
            fix="name another port, or 0 for any free one",
            port=tcp_port,
        ) from error
    try:
        yield int(listener.server_address[1])
    finally:
        server.stop()
        listener.server_close()


class _Terminal:
    """A pseudo-terminal tied to the console; its other end may be opened and closed at will."""

    def __init__(
        self, machine: VirtualMachine, baud: int, on_note: Callable[[str], None] | None
    ) -> None:
        self._machine = machine
        self._console = machine.console
        self.baud = baud
        self._on_note = on_note
        self._noted: tuple[int, int] | None = None
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> str:
        self._master, self._slave = os.openpty()
        # Raw, so that the line discipline neither echoes nor translates.
        tty.setraw(self._slave)
        set_rate(self._slave, self.baud)
        os.set_blocking(self._master, False)
        name = os.ttyname(self._slave)
        self._console.noisy = True
        if not self._console.open(name, self.baud):
            os.close(self._master)
            os.close(self._slave)
            raise VirtualError("the console of the virtual board is already open")
        # The slave stays open here: with no reader at all its end would report a hang-up.
        for work in (self._to_board, self._from_board):
            thread = threading.Thread(target=work, name=f"console {name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return name

    def __exit__(self, *_details: object) -> None:
        self._end.set()
        self._console.wake()
        for thread in self._threads:
            thread.join()
        self._console.close()
        os.close(self._master)
        os.close(self._slave)

    def _to_board(self) -> None:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        while not self._end.is_set():
            ready = poll.poll(1000 * _SLICE_S)
            self._follow_rate(used=bool(ready))
            if not ready:
                continue
            data = os.read(self._master, _CHUNK)
            with contextlib.suppress(VirtualError):  # shown by the other direction
                self._console.write(data)

    def _follow_rate(self, *, used: bool) -> None:
        """Give the console the rate that a program has set the terminal to."""
        rate = get_rate(self._slave)
        if rate != self._console.baud:
            self._console.baud = rate
        own = self._machine.chip.usart.baud
        if not used or own is None or abs(own - rate) <= _TOLERANCE * rate:
            return
        if self._on_note is not None and self._noted != (rate, own):
            self._noted = rate, own
            self._on_note(
                f"the terminal is set to {rate} baud, the firmware talks at {own}: both read noise"
            )

    def _from_board(self) -> None:
        shown: VirtualError | None = None
        while not self._end.is_set():
            try:
                data = self._console.read(1, _SLICE_S, self._end.is_set)
                data += self._console.read(self._console.unread, 0, self._end.is_set)
            except VirtualError as error:
                # A terminal has no exceptions: the user reads what happened there, once.
                if error is not shown:
                    self._show(b"\r\n[" + str(error).replace("\n", "\r\n").encode() + b"]\r\n")
                shown = error
                self._end.wait(_SLICE_S)
                continue
            self._show(data)

    def _show(self, data: bytes) -> None:
        # Without a reader, what does not fit the kernel's buffer is lost, as on a wire.
        with contextlib.suppress(BlockingIOError):
            while data:
                data = data[os.write(self._master, data) :]


def get_rate(terminal: int) -> int:
    """Return the rate that a terminal is set to, in baud; one without a constant as well."""
    settings = fcntl.ioctl(terminal, _TCGETS2, bytes(_TERMIOS2.size))
    return int(_TERMIOS2.unpack(settings)[-1])


def set_rate(terminal: int, baud: int) -> None:
    """Set a terminal's rate in both directions."""
    settings = fcntl.ioctl(terminal, _TCGETS2, bytes(_TERMIOS2.size))
    fields = list(_TERMIOS2.unpack(settings))
    fields[2] = fields[2] & ~termios.CBAUD & 0xFFFF_FFFF | _BOTHER
    fields[-2:] = baud, baud
    fcntl.ioctl(terminal, _TCSETS2, _TERMIOS2.pack(*fields))
