"""nRF52 as the nRF52840 has it (nRF52840 Product Specification v1.7)."""

from __future__ import annotations

from harness.boards.families.nrf52 import Facts
from harness.errors import VirtualError
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families import Blocks
from harness.virtual.chip.families.nrf52 import ctrl_ap
from harness.virtual.chip.families.nrf52.clock import Clock
from harness.virtual.chip.families.nrf52.counters import RTCS, TIMERS, Rtc, Timer
from harness.virtual.chip.families.nrf52.gpio import Gpio
from harness.virtual.chip.families.nrf52.nvmc import Ficr, Nvmc, PartInfo
from harness.virtual.chip.families.nrf52.uarte import Uarte
from harness.virtual.chip.families.nrf52.watchdog import Watchdog
from harness.virtual.chip.peripherals.scs import Scs

_INTERRUPTS, _PRIORITY_BITS = 48, 3
# Part number and identity code in the ROM table: Nordic's, the part assumed.
_ROM_IDENTITY = 0x008, (0x44, 2)


def build(to: Connections) -> Blocks:
    """Put the chip's blocks together."""
    facts = to.board.facts
    if not isinstance(facts, Facts):
        raise VirtualError(f"{to.board.id} is no board with an nRF52", where=to.board.manifest)
    scs = Scs(to, boot_address=0, interrupts=_INTERRUPTS, priority_bits=_PRIORITY_BITS)
    nvmc, clock, ficr = Nvmc(to), Clock(to, scs.nvic), Ficr(to)
    uarte = Uarte(to, facts, clock, scs.nvic)
    timers = tuple(Timer(to, n, scs.nvic) for n in range(len(TIMERS)))
    rtcs = tuple(Rtc(to, n, clock, scs.nvic) for n in range(len(RTCS)))
    port = ctrl_ap.ControlPort(to, nvmc)
    return Blocks(
        scs, nvmc, clock, uarte, (Gpio(), ficr, nvmc.uicr, PartInfo(), Watchdog(), *timers, *rtcs),
        (*timers, *rtcs), ficr.uid, _ROM_IDENTITY,
        access_ports={ctrl_ap.NUMBER: port}, locked=port.closed,
    )  # fmt: skip
