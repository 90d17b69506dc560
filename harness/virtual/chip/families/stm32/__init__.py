"""What the chips of all STM32 families share, and how their blocks are put together."""

from __future__ import annotations

from harness.virtual.chip.bus import Peripheral
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families import Blocks
from harness.virtual.chip.families.stm32.clocks import ClockController
from harness.virtual.chip.families.stm32.exti import Exti, Syscfg
from harness.virtual.chip.families.stm32.flash import KeyedFlash
from harness.virtual.chip.families.stm32.gpio import Pins
from harness.virtual.chip.families.stm32.identity import JEDEC, Dbgmcu, DeviceSignature
from harness.virtual.chip.families.stm32.lptim import LowPowerTimer
from harness.virtual.chip.families.stm32.rtc import Rtc
from harness.virtual.chip.families.stm32.timer import Timer, timers
from harness.virtual.chip.families.stm32.usart import Usart
from harness.virtual.chip.peripherals.scs import Scs

#: Registers of DBGMCU behind CR, by offset.
FREEZE = ((0x8, "APB1_FZ"), (0xC, "APB2_FZ"))


def put_together(
    to: Connections,
    flash: KeyedFlash,
    rcc: ClockController,
    pins: Pins,
    usart: Usart,
    *others: Peripheral,
    interrupts: int,
    boot_address: int = 0,
    freeze: tuple[tuple[int, str], ...] = FREEZE,
    syscfg: Peripheral | None = None,
    rom_table: bool = True,
) -> Blocks:
    """Put a chip's blocks together.

    Args:
        to: What they are connected to.
        flash: Flash interface.
        rcc: Clock controller.
        pins: GPIO ports.
        usart: UART of the console.
        others: Further blocks that are the family's own.
        interrupts: How many the chip has (vector table).
        boot_address: Where the vectors are read at reset.
        freeze: Registers of DBGMCU behind CR, by offset.
        syscfg: System configuration; None for the usual one.
        rom_table: Whether the chip has a ROM table of its own at the port to memory.
    """
    family, scs = to.board.family, Scs(to, boot_address, interrupts)
    nvic = usart.nvic = scs.nvic
    counting: tuple[Timer | LowPowerTimer, ...] = timers(rcc, nvic, to.counter)
    if family in LowPowerTimer.FAMILIES:
        counting = *counting, LowPowerTimer(family, rcc, nvic, to.counter)
    exti = Exti(family, nvic, Rtc.interrupts(family))
    rtc = Rtc(family, rcc, exti, to.counter)
    signature = DeviceSignature(to.board, to.number)
    dbgmcu = Dbgmcu(to.board, freeze)
    syscfg = syscfg or Syscfg(family, rcc)
    blocks = (*others, *pins.ports, *counting, rtc, exti, syscfg, signature, dbgmcu)
    return Blocks(
        scs, flash, rcc, usart, blocks, (*counting, rtc), signature.uid,
        (to.board.facts.chip.device_id, JEDEC) if rom_table else None,
        bit_band=to.board.facts.core.cpu == "cortex-m4",
    )  # fmt: skip
