"""Offer the console of a virtual board to other programs, as a pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness.boards import Board
from harness.errors import VirtualError
from harness.paths import cache_dir

if TYPE_CHECKING:
    from harness.virtual.machine import VirtualMachine

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


@contextlib.contextmanager
def on_terminal(
    board: Board,
    *,
    flash_file: Path | None = None,
    baud: int | None = None,
    timing: str | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Iterator[Terminal]:
    """Power `board` on, with its console on a pseudo-terminal, for the length of the block.

    Args:
        board: What to emulate.
        flash_file: Keeps the flash; default `flash_path(board)`.
        baud: Rate that the pseudo-terminal is set to; default the board's. As on a real port, a
            program that sets a rate other than the firmware's reads and sends noise.
        timing: ``issue`` or ``pipeline``; default as `timing_model`.
        on_note: Called with what a user should know, such as rates that differ.

    Raises:
        VirtualError: The board cannot be emulated or is served already.
    """
    from harness.virtual.machine import VirtualMachine
    from harness.virtual.registry import adopt_machine, discard_machine
    from harness.virtual.time import timing_model

    file = flash_path(board) if flash_file is None else flash_file
    machine = VirtualMachine(board, flash_file=file, model=timing_model(board, timing))
    try:
        adopt_machine(machine)
    except VirtualError:
        machine.close()
        raise
    try:
        with Terminal(machine, baud or board.facts.console.baud, on_note) as terminal:
            yield terminal
    finally:
        discard_machine(board.id)


class Terminal:
    """A pseudo-terminal tied to the console; its other end may be opened and closed at will.

    Args:
        machine: The board.
        baud: Rate that the pseudo-terminal is set to.
        on_note: Called with what a user should know.
    """

    def __init__(
        self, machine: VirtualMachine, baud: int, on_note: Callable[[str], None] | None
    ) -> None:
        self.machine = machine
        self.baud = baud  # until a program sets another
        self.name = ""  # path
        self._console = machine.console
        self._lent = threading.Event()
        self._in_use = threading.Lock()  # one side at a time uses the console
        self._on_note = on_note
        self._noted: tuple[int, int] | None = None
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._master, self._slave = os.openpty()
        # Raw, so that the line discipline neither echoes nor translates.
        tty.setraw(self._slave)
        set_rate(self._slave, self.baud)
        os.set_blocking(self._master, False)
        self.name = name = os.ttyname(self._slave)
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
        return self

    def __exit__(self, *_details: object) -> None:
        self._end.set()
        self._console.wake()
        for thread in self._threads:
            thread.join()
        self._console.close()
        os.close(self._master)
        os.close(self._slave)

    @contextlib.contextmanager
    def lend(self) -> Iterator[Any]:
        """Let another program have the console, as a pyserial port; the terminal is silent then.

        Raises:
            VirtualError: It is lent already.
        """
        from harness.virtual.ports.serialurl.protocol_virtual import Serial

        if self._lent.is_set():
            raise VirtualError("the console of the virtual board is already open")
        self._lent.set()
        with self._in_use:
            self._console.close()
            url = f"virtual://{self.machine.board.id}?timing={self.machine.model.kind}"
            try:
                with contextlib.closing(Serial(url, self.baud)) as port:
                    yield port
            finally:
                self._console.open(self.name, get_rate(self._slave))
                self._lent.clear()

    def _to_board(self) -> None:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        while not self._end.is_set():
            ready = poll.poll(1000 * _SLICE_S)
            data = os.read(self._master, _CHUNK) if ready else b""
            if self._lent.is_set():
                continue
            with self._in_use:
                self._follow_rate(used=bool(ready))
                with contextlib.suppress(VirtualError):  # shown by the other direction
                    self._console.write(data)

    def _follow_rate(self, *, used: bool) -> None:
        """Give the console the rate that a program has set the terminal to."""
        rate = get_rate(self._slave)
        if rate != self._console.baud:
            self._console.baud = rate
        own = self.machine.chip.console.baud
        if not used or own is None or abs(own - rate) <= _TOLERANCE * rate:
            return
        if self._on_note is not None and self._noted != (rate, own):
            self._noted = rate, own
            self._on_note(
                f"the terminal is set to {rate} baud, the firmware talks at {own}: both read noise"
            )

    def _from_board(self) -> None:
        shown: VirtualError | None = None

        def ended() -> bool:
            return self._end.is_set() or self._lent.is_set()

        while not self._end.is_set():
            if self._lent.is_set():
                self._end.wait(_SLICE_S)
                continue
            try:
                with self._in_use:
                    data = self._console.read(1, _SLICE_S, ended)
                    data += self._console.read(self._console.unread, 0, ended)
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
