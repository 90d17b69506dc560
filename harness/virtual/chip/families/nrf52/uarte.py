"""The console's UARTE: a UART that moves bytes between its line and RAM by itself (EasyDMA).

nRF52840 Product Specification v1.7, chapter UARTE. Transmission takes no modelled time. A byte from
the host waits until a receive buffer is there and the firmware has cleared the event of the buffer
before, as no line loses it here; then it takes as long as on a line, since interrupt handlers clear
the event first and look at the buffer after that. The compiled callbacks, for firmware that polls,
move bytes at once.
"""

from __future__ import annotations

from functools import partial

from harness.boards.families.nrf52 import Facts
from harness.errors import VirtualError
from harness.virtual.chip.bus import Master
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.nrf52.block import Tasks
from harness.virtual.chip.families.nrf52.clock import Clock
from harness.virtual.chip.families.nrf52.compiled import (
    ENDRX,
    ENDTX,
    ERROR,
    RXDRDY,
    STARTRX,
    STARTTX,
    TXDRDY,
    UARTE,
    uarte_read,
    uarte_write,
)
from harness.virtual.chip.peripherals.console import ConsoleUart
from harness.virtual.chip.peripherals.nvic import Nvic
from harness.virtual.native import shared
from harness.virtual.native.callbacks import Page

_INTERRUPT = 2  # UARTE0_UART0
_RXTO, _RXSTARTED, _TXSTARTED, _TXSTOPPED = 0x144, 0x14C, 0x150, 0x158
_SHORTS, _ERRORSRC, _ENABLE = 0x200, 0x480, 0x500
_TXD_PIN, _RXD_PIN = 0x50C, 0x514
_BAUDRATE, _CONFIG = 0x524, 0x56C
_RX_PTR, _RX_COUNT, _RX_AMOUNT, _TX_PTR, _TX_COUNT, _TX_AMOUNT = (
    0x534, 0x538, 0x53C, 0x544, 0x548, 0x54C,
)  # fmt: skip
_ENDRX_STARTRX, _ENDRX_STOPRX = 1 << 5, 1 << 6
_ON = 8
_NOT_CONNECTED = 0xFFFF_FFFF
_INPUT = 1 << (RXDRDY - 0x100) // 4 | 1 << (ENDRX - 0x100) // 4
# 16 MHz are divided by a whole number, 2^32 / BAUDRATE rounded down. The specification does not say
# so, but it gives the rate of each value that it names; and others, as of the UART without EasyDMA,
# are in use.
_SCALE = 1 << 32
_BITS = 10  # of a byte on the line


class Uarte(Tasks, ConsoleUart):
    """UARTE0."""

    def __init__(self, to: Connections, facts: Facts, clock: Clock, nvic: Nvic) -> None:
        super().__init__("UARTE0", facts.console.base, "UARTE", nvic, _INTERRUPT)
        self._to, self._facts, self._clock = to, facts, clock
        self._console = to.console
        self.state = shared(UARTE)
        self._record = self.state[0]
        self._record["console"] = to.console.state.ctypes.data
        self._started = False  # until STOPRX
        self._to_fill = self._room = 0  # receive buffer: address, bytes
        self._next_at = 0  # when the next byte can have arrived, in core cycles
        self.add_task(STARTRX, "STARTRX", self._start_receiving)
        self.add_task(0x004, "STOPRX", self._stop_receiving)
        self.add_task(STARTTX, "STARTTX", self._send)
        self.add_task(0x00C, "STOPTX", partial(self.raise_event, _TXSTOPPED))
        self.add_task(0x02C, "FLUSHRX", self._flush)
        self.add_events(((0x100, "CTS"), (0x104, "NCTS"), (RXDRDY, "RXDRDY"), (TXDRDY, "TXDRDY")))
        self.add_events(((ERROR, "ERROR"), (_RXTO, "RXTO"), (_RXSTARTED, "RXSTARTED")))
        self.add_events(((_TXSTARTED, "TXSTARTED"), (_TXSTOPPED, "TXSTOPPED")))
        for offset, name, field in ((ENDRX, "ENDRX", "endrx"), (ENDTX, "ENDTX", "endtx")):
            self.add(
                offset, f"EVENTS_{name}",
                read=partial(self._read_end, field), write=partial(self._write_end, field),
            )  # fmt: skip
        self.add_inten()
        changed = self._configured
        self.add(_SHORTS, "SHORTS", writable=0x60, changed=changed)
        self.add(_ERRORSRC, "ERRORSRC", write=lambda _value, _master: None)
        legacy = 4, "the UART without EasyDMA"
        self.add(_ENABLE, "ENABLE", writable=0xF, refuse=legacy, changed=self._enabled)
        for offset, name in ((0x508, "RTS"), (_TXD_PIN, "TXD"), (0x510, "CTS"), (_RXD_PIN, "RXD")):
            self.add(offset, f"PSEL_{name}", _NOT_CONNECTED, changed=changed)
        self.add(_BAUDRATE, "BAUDRATE", 0x0400_0000, changed=changed)
        for offset, name in ((_RX_PTR, "RXD_PTR"), (_TX_PTR, "TXD_PTR")):
            self.add(offset, name, changed=changed)
        for offset, name in ((_RX_COUNT, "RXD_MAXCNT"), (_TX_COUNT, "TXD_MAXCNT")):
            self.add(offset, name, writable=0xFFFF, changed=changed)
        self.add(_RX_AMOUNT, "RXD_AMOUNT", read=lambda _master: int(self._record["amount"]))
        self.add(_TX_AMOUNT, "TXD_AMOUNT", writable=0)
        self.add(_CONFIG, "CONFIG", refuse=(0xF, "flow control or parity"))

    def reset(self) -> None:
        """Switch it off; bytes on their way to it are lost."""
        super().reset()
        for field in ("receiving", "received", "amount", "endrx", "endtx"):
            self._record[field] = 0
        self._started = False
        self._enabled()

    # For the rest of the board.

    @property
    def baud(self) -> int | None:
        """Rate that the registers give; None while it is off, or without one."""
        value = self.values[_BAUDRATE]
        return self._clock.hclk_hz // 4 // (_SCALE // value) if self._on and value else None

    @property
    def page(self) -> Page:
        """The compiled callbacks of its page."""
        return Page(self.base, uarte_read.address, uarte_write.address, self.state)

    @property
    def armed(self) -> bool:
        """Whether it may interrupt."""
        return self._on and bool(self.enabled)

    def due(self) -> int | None:
        """Return when the next byte arrives, in core cycles; None without one on the line."""
        record = self._record
        on_its_way = self._console.waiting and record["receiving"] and not record["endrx"]
        return self._next_at if on_its_way else None

    def advance(self, _now: int = 0) -> None:
        """Take what came from the host, and drive the interrupt."""
        self._take_input()
        self.drive()

    def drive(self) -> None:
        """Drive the interrupt."""
        for offset, field in ((ENDRX, "endrx"), (ENDTX, "endtx")):
            self.values[offset] = int(self._record[field])
        super().drive()

    def interrupts_changed(self) -> None:
        """Let the host's input interrupt."""
        self._console.on_input = self._console.notify if self.enabled & _INPUT else None
        self._configured()
        self.drive()

    # Set-up.

    @property
    def _on(self) -> bool:
        return self.values[_ENABLE] == _ON

    def _enabled(self) -> None:
        self._started = self._started and self._on
        self._console.set_receiver(self._started)
        self._configured()

    def _configured(self) -> None:
        """Send the next access through the checks, as something changed."""
        self._console.set_fast(None)

    def _connected(self, register: int) -> bool:
        console = self._facts.console
        pin = console.tx if register == _TXD_PIN else console.rx
        return self.values[register] == pin.select

    def _host_address(self, address: int, count: int) -> int:
        """Return the host's address of a buffer, which must be in RAM."""
        found = self._to.memory.find(address)
        inside = found is not None and found[0].kind == "ram"
        if found is None or not inside or found[1] + count > found[0].bytes:
            raise VirtualError(
                f"UARTE0's EasyDMA is to use {count} bytes at {address:#010x}, which is not RAM",
                expected="a buffer in data RAM; on the chip the access fails or corrupts RAM",
                fix="copy what is sent from flash to RAM first",
                address=address,
            )
        return found[0].address + found[1]

    def _speed_up(self) -> None:
        """Leave single bytes to the compiled callbacks, as every check has passed."""
        values = self.values
        plain = not self.enabled and not values[_SHORTS] and values[ERROR] == 0
        plain = plain and values[_RX_COUNT] == values[_TX_COUNT] == 1 and self._started
        if plain and self._connected(_TXD_PIN) and self._connected(_RXD_PIN):
            self._record["rx_to"] = self._host_address(values[_RX_PTR], 1)
            self._record["tx_from"] = self._host_address(values[_TX_PTR], 1)
            self._console.set_fast(0)

    def _rate_differs(self) -> bool:
        return self.off_from(self._console.baud)

    @property
    def _is_noisy(self) -> bool:
        """Whether bytes at another rate arrive as noise, instead of stopping the run."""
        return self._clock.drift != 1.0 or self._console.noisy

    def _distort(self, byte: int) -> int:
        """Return what the other side samples at a wrong rate."""
        return byte ^ 0xA5 if self._is_noisy and self._rate_differs() else byte

    def _check_rate(self) -> None:
        if self._rate_differs() and not self._is_noisy:
            raise VirtualError(
                f"the firmware talks at {self.baud or 0} baud, the console is opened at "
                f"{self._console.baud}",
                where=self.name,
                expected="the same rate on both sides",
                fix="open the console with the firmware's baud rate",
            )

    # Reception.

    def _read_end(self, field: str, _master: Master) -> int:
        if field == "endrx":
            self._take_input()
        return int(self._record[field])

    def _write_end(self, field: str, value: int, _master: Master) -> None:
        self._record[field] = value & 1
        self.look()
        self.drive()

    def _start_receiving(self) -> None:
        if not self._on:
            return
        self._started = True
        self._console.set_receiver(True)
        self._next_buffer()
        self.look()

    def _next_buffer(self) -> None:
        self._to_fill, self._room = self.values[_RX_PTR], self.values[_RX_COUNT]
        self._record["receiving"], self._record["received"] = 1, 0
        self.raise_event(_RXSTARTED)

    def look(self) -> None:
        """Move what the host has sent to the buffer.

        While the firmware changes the rate, the host's first byte at the new one may be there
        already; it waits for the change, and is no error yet.
        """
        if not self._rate_differs() or self._is_noisy:
            self._take_input()

    def _take_input(self) -> None:
        record, console = self._record, self._console
        while self._started and record["receiving"] and not record["endrx"] and console.waiting:
            now = self._to.counter.elapsed()
            if not self._connected(_RXD_PIN) or now < self._next_at:
                return
            self._check_rate()
            self._next_at = now + _BITS * self._clock.hclk_hz // (self.baud or 1)
            byte, at = self._distort(console.take()), self._to_fill + int(record["received"])
            self._host_address(at, 1)
            self._to.core().cpu.invalidate(at, at + 1)
            self._to.memory.write_ram(at, bytes([byte]))
            record["received"] += 1
            self.values[RXDRDY] = 1
            if record["received"] >= self._room:
                self._buffer_full()
        if record["receiving"] and not console.waiting and not self._rate_differs():
            self._speed_up()

    def _buffer_full(self) -> None:
        self._end_buffer()
        if self.values[_SHORTS] & _ENDRX_STARTRX:
            self._next_buffer()
        elif self.values[_SHORTS] & _ENDRX_STOPRX:
            self._stop_receiving()
        self.drive()

    def _stop_receiving(self) -> None:
        if self._record["receiving"]:
            self._end_buffer()
        self._started = False
        self._console.set_receiver(False)
        self._configured()
        self.raise_event(_RXTO)

    def _end_buffer(self) -> None:
        record = self._record
        record["receiving"], record["amount"], record["endrx"] = 0, record["received"], 1

    def _flush(self) -> None:
        self._record["received"] = 0
        self._end_buffer()
        self.drive()

    # Transmission.

    def _send(self) -> None:
        if not self._on:
            return
        start, count = self.values[_TX_PTR], self.values[_TX_COUNT]
        self._host_address(start, count)
        content = self._to.memory.read(start, count) or b""
        if self._connected(_TXD_PIN):
            self._check_rate()
            for byte in content:
                self._console.put(self._distort(byte) & 0xFF)
        self.values[_TX_AMOUNT] = count
        for event in (_TXSTARTED, TXDRDY):
            self.values[event] = 1
        self._record["endtx"] = 1
        self.drive()
