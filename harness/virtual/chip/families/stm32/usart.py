"""The console USART, in the STM32F7's and the STM32F4's register layout.

RM0385 section 31.8, RM0410 section 34.8 (F7); RM0390 section 25.6 (F446).
Transmission takes no modelled time; a byte waits for the firmware to take it. The line is idle once
it has taken the last byte.
"""

from __future__ import annotations

from harness.errors import VirtualError
from harness.virtual.chip.bus import Master, read_zero
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.stm32.clocks import ClockController
from harness.virtual.chip.families.stm32.gpio import Pins
from harness.virtual.chip.peripherals.console import ConsoleUart
from harness.virtual.chip.peripherals.nvic import Nvic
from harness.virtual.native.callbacks import Page
from harness.virtual.native.console import console_read, console_write

_IDLE, _RXNE, _TC, _TXE = 1 << 4, 1 << 5, 1 << 6, 1 << 7
_INTERRUPTS = _IDLE | _RXNE | _TC | _TXE  # their enable bits in CR1 have the same places
_NO_DMA = 0xC0, "DMA of the console"
_NUMBERS = {
    "USART1": 37, "USART2": 38, "USART3": 39, "UART4": 52, "UART5": 53, "USART6": 71,
    "UART7": 82, "UART8": 83, "LPUART1": 70,
}  # fmt: skip
_TE, _RE, _OVER8 = 1 << 3, 1 << 2, 1 << 15


class Usart(ConsoleUart):
    """What both register layouts share."""

    def __init__(
        self,
        to: Connections,
        rcc: ClockController,
        pins: Pins,
        manual: str,
        *,
        cr1: int,
        brr: int,
        enable_bit: int,
    ) -> None:
        facts = rcc.facts.console
        super().__init__(facts.peripheral, facts.base, manual)
        self._facts = facts
        word, bit = divmod(facts.enable_bit, 32)
        self.gate = rcc, rcc.layout.apb[facts.bus][0] + 4 * word, bit
        self._number = int("".join(c for c in facts.peripheral if c.isdigit()))
        self._console = to.console
        self._rcc = rcc
        self._pins = pins
        #: Takes the interrupt.
        self.nvic: Nvic | None = None
        self._interrupt = _NUMBERS.get(facts.peripheral, 0)
        self._ready = False
        self._complete, self._idle = True, False  # TC, IDLE
        self._cr1, self._brr, self._enable_bit = cr1, brr, enable_bit

    def reset(self) -> None:
        """Switch the USART off; bytes on their way to it are lost."""
        super().reset()
        self._complete, self._idle = True, False
        self._configure()

    def _configure(self) -> None:
        cr1 = self.values[self._cr1]
        self._rcc.recheck_console()
        self._ready = bool(cr1 & self._enable_bit)
        self._console.set_receiver(self._ready and bool(cr1 & _RE))
        wanted = self._ready and cr1 & (_RXNE | _IDLE)
        self._console.on_input = self._console.notify if wanted else None
        self.advance()

    # As a source of interrupts.

    @property
    def armed(self) -> bool:
        """Whether it may interrupt."""
        return self._ready and bool(self.values[self._cr1] & _INTERRUPTS)

    def advance(self, _now: int = 0) -> None:
        """Drive the interrupt."""
        if self.nvic is not None:
            enabled = self.values[self._cr1] & _INTERRUPTS
            flags = self._status(Master.CORE) if enabled and self._ready else 0
            self.nvic.set_line(self._interrupt, bool(flags & enabled))

    def _clear(self, flags: int) -> None:
        """Clear TC and IDLE where they are in `flags`."""
        self._complete &= not flags & _TC
        self._idle &= not flags & _IDLE
        self._rcc.recheck_console()
        self.advance()

    @property
    def baud(self) -> int | None:
        """Rate that the registers give; None without a divider or a clock."""
        divider = self.values[self._brr]
        clock = self._rcc.usart_hz(self._number, self._facts.bus)
        if self.values[self._cr1] & _OVER8:
            # USARTDIV's fraction has three bits; F7 doubles the clock (RM0385 31.5.4).
            divider = divider & 0xFFF0 | (divider & 7) << 1
            clock = None if clock is None else 2 * clock
        return None if clock is None or divider < 16 else round(clock / divider)

    @property
    def page(self) -> Page:
        """The compiled callbacks of the USART's page."""
        return Page(
            self.base & ~0xFFF, console_read.address, console_write.address, self._console.state
        )

    def _speed_up(self) -> None:
        """Leave the data path to the compiled callbacks, as every check has passed."""
        control, pins, facts = self.values[self._cr1], self._pins, self._facts
        plain = control & (_TE | _RE | _INTERRUPTS) == _TE | _RE and self._complete
        if plain and pins.connected(facts.rx) and pins.connected(facts.tx):
            self._console.set_fast(self._status_flags())

    def _status_flags(self) -> int:
        raise NotImplementedError

    def _status(self, _master: Master) -> int:
        flags = self._status_flags() & ~(0 if self._complete else _TC)
        flags |= _IDLE if self._idle else 0
        if self._ready and self._pins.connected(self._facts.rx) and self._console.waiting:
            flags |= _RXNE
        return flags

    def _receive(self, master: Master) -> int:
        if not self._ready:
            return 0
        if master is Master.DEBUGGER:
            return self._console.peek()
        self._check_rate()
        if self._distort(0) == 0:
            self._speed_up()
        came = self._console.waiting
        byte = self._distort(self._console.take())
        enabled = self.values[self._cr1] & _IDLE
        self._idle = came and not self._console.waiting and bool(enabled)
        self.advance()
        return byte

    def _send(self, value: int, _master: Master) -> None:
        if not self._ready or not self.values[self._cr1] & _TE:
            return
        if not self._pins.connected(self._facts.tx):
            return  # the byte is sent, but no pin carries it
        self._check_rate()
        if self._distort(value) == value:
            self._speed_up()
        self._console.put(self._distort(value) & 0xFF)
        self._complete = True
        self.advance()

    def _rate_differs(self) -> bool:
        return self.off_from(self._console.baud)

    def _distort(self, byte: int) -> int:
        """Return what the other side samples at a wrong rate."""
        wrong = (self._rcc.drift != 1.0 or self._console.noisy) and self._rate_differs()
        return byte ^ 0xA5 if wrong else byte

    def _check_rate(self) -> None:
        host = self._console.baud
        own = self.baud
        if self._rate_differs() and self._rcc.drift == 1.0 and not self._console.noisy:
            raise VirtualError(
                f"the firmware talks at {own or 0} baud, the console is opened at {host}",
                where=self.name,
                expected="the same rate on both sides",
                fix="open the console with the firmware's baud rate",
            )


class UsartF7(Usart):
    """ISR, ICR, RDR and TDR."""

    def __init__(self, to: Connections, rcc: ClockController, pins: Pins) -> None:
        manual = "RM0385 31.8, RM0410 34.8"
        super().__init__(to, rcc, pins, manual, cr1=0x00, brr=0x0C, enable_bit=1 << 0)
        to.console.place(self.base & 0xFFF, status=0x1C, receive=0x24, transmit=0x28)
        self.add(0x00, "CR1", writable=0x1FFF_FFFF, changed=self._configure)
        self.add(0x0C, "BRR", writable=0xFFFF, changed=rcc.recheck_console)
        self.add_storage(((0x04, "CR2"), (0x10, "GTPR"), (0x14, "RTOR")))
        self.add(0x08, "CR3", refuse=_NO_DMA)
        requests, refuse = self._write_request, (0xFFFF_FFE7, "request")
        self.add(0x18, "RQR", refuse=refuse, read=read_zero, write=requests)
        self.add(0x1C, "ISR", writable=0, read=self._status)
        self.add(0x20, "ICR", read=read_zero, write=lambda value, _master: self._clear(value))
        self.add(0x24, "RDR", writable=0, read=self._receive)
        self.add(0x28, "TDR", write=self._send)

    def _status_flags(self) -> int:
        cr1 = self.values[0x00]
        # TEACK and REACK follow TE and RE while the USART is on.
        acknowledged = (cr1 & _TE) << 18 | (cr1 & _RE) << 20 if self._ready else 0
        return _TXE | _TC | acknowledged

    def _write_request(self, value: int, _master: Master) -> None:
        if value & 0x08:  # RXFRQ drops the byte in RDR
            self._console.take()
            self.advance()


class UsartF4(Usart):
    """SR and DR."""

    def __init__(self, to: Connections, rcc: ClockController, pins: Pins) -> None:
        super().__init__(to, rcc, pins, "RM0390 25.6", cr1=0x0C, brr=0x08, enable_bit=1 << 13)
        to.console.place(self.base & 0xFFF, status=0x00, receive=0x04, transmit=0x04)
        # RXNE is a level here, so that writing 0 to it does nothing.
        self.add(0x00, "SR", read=self._status, write=lambda v, _master: self._clear(~v & _TC))
        self.add(0x04, "DR", read=self._receive, write=self._send)
        self.add(0x08, "BRR", writable=0xFFFF, changed=rcc.recheck_console)
        self.add(0x0C, "CR1", writable=0xBFFF, changed=self._configure)
        self.add_storage(((0x10, "CR2"), (0x18, "GTPR")))
        self.add(0x14, "CR3", refuse=_NO_DMA)

    def _status_flags(self) -> int:
        return _TXE | _TC
