"""What the STM32F4 and the STM32F7 share: flash interface, power, clocks, ports."""

from __future__ import annotations

from collections.abc import Callable

from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families import Blocks
from harness.virtual.chip.families.stm32f.flash import FlashF
from harness.virtual.chip.families.stm32f.pwr import PwrF
from harness.virtual.chip.families.stm32f.rcc import AHB1ENR, APB1ENR, RccF
from harness.virtual.chip.peripherals.clocks import ClockController
from harness.virtual.chip.peripherals.gpio import Pins
from harness.virtual.chip.peripherals.timer import Tim2
from harness.virtual.chip.peripherals.usart import Usart

_GPIO = 0x4002_0000


def put_together(
    to: Connections,
    *,
    usart: Callable[[Connections, ClockController, Pins], Usart],
    ports: str,
    interrupts: int,
    boot_address: int = 0,
) -> Blocks:
    """Put a chip's blocks together.

    Args:
        to: What they are connected to.
        usart: Kind of the console's UART.
        ports: Letters of the GPIO ports.
        interrupts: How many the chip has (vector table).
        boot_address: Where the vectors are read at reset.
    """
    flash = FlashF(to)
    pwr = PwrF(to.board)
    rcc = RccF(to, flash, pwr)
    pins = Pins(ports, _GPIO, rcc, AHB1ENR)
    port = usart(to, rcc, pins)
    timer = Tim2(rcc, to.counter, APB1ENR)
    return Blocks(
        flash=flash,
        rcc=rcc,
        pins=pins,
        usart=port,
        peripherals=(flash, pwr, rcc, *pins.ports.values(), port, timer),
        interrupts=interrupts,
        boot_address=boot_address,
    )
