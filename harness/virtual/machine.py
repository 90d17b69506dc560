"""A virtual board: core, memories, peripherals, and what may be done to it."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.boards import Board
from harness.errors import HarnessError, VirtualError
from harness.virtual.chip.bus import Bus, Master
from harness.virtual.chip.chip import Chip
from harness.virtual.chip.memory import MemoryMap
from harness.virtual.chip.peripherals.clocks import ResetCause
from harness.virtual.core.accesses import CoreAccesses, DebuggerAccesses
from harness.virtual.core.cpu import Cpu, Stop, StopKind
from harness.virtual.core.debug import DFSR_VCATCH, VC_CORERESET, CoreDebug
from harness.virtual.core.exceptions import Exceptions
from harness.virtual.core.loop import CoreLoop
from harness.virtual.ports.console import Console
from harness.virtual.time.counting import BlockCounter

if TYPE_CHECKING:
    from harness.virtual.faults import FaultPlan, FaultyLine, Injector
    from harness.virtual.time.model import TimingModel
    from harness.virtual.time.observer import Observer

Price = Callable[[bytes, int], int]

_powered: weakref.WeakSet[VirtualMachine] = weakref.WeakSet()


class VirtualMachine:
    """A board that is powered on.

    The core runs in its own thread; every public method may be called from any other.

    Args:
        board: What to emulate.
        flash_file: File that keeps the flash; None for a private erased flash.
        price: Cycles of one execution of a basic block; None for the board's timing model.
        timing: Name of the timing model; None for the default (`timing_model`).

    Raises:
        VirtualError: The board has no emulation, or the flash file cannot be used.
    """

    def __init__(
        self,
        board: Board,
        *,
        flash_file: Path | None = None,
        price: Price | None = None,
        timing: str | None = None,
    ) -> None:
        if not board.facts.emulation:
            raise VirtualError(
                f"board '{board.id}' cannot be emulated",
                where=board.manifest,
                expected='a board with "emulation": true',
            )
        self.board = board
        self.console = Console()
        self.memory = MemoryMap(board, flash_file)
        self._price = price
        self._control = threading.RLock()
        self._held = False
        #: Faults on purpose; None on a sound board.
        self.faults: Injector | None = None
        self._faulty_line: FaultyLine | None = None
        counter = BlockCounter(self._price_block, self.memory.read)
        self._timing = timing
        self.observer = None if price is not None else self._observe(counter)
        self._chip = Chip(board, self.memory, self.console, counter, self)
        self.bus: Bus = self._chip.bus
        self._core = CoreAccesses(board.id, self.bus, self.memory, self._chip.flash, self._stop_on)
        self.cpu = Cpu(
            board.facts.core,
            self.memory,
            self.bus.pages(),
            self._core,
            counter,
            (self._chip.flash.page, self._chip.usart.page),
            self._chip.flash.state,
        )
        self._core.locate = lambda address, write: self.cpu.locate(address, write=write)
        self._debugger = DebuggerAccesses(
            self.bus, self.memory, self._chip.flash, self.cpu, self.paused
        )
        self._chip.connect(self.cpu, self._set_breakpoints)
        self.debug = CoreDebug(self, self._chip.scs.values)
        self._loop = CoreLoop(
            board.id,
            self.cpu,
            Exceptions(self.cpu, self.memory, self._chip.scs),
            self._core,
            self.debug,
            self.console,
            self._enter_reset,
        )
        counter.idle = self._idle
        self._enter_reset(ResetCause.POWER_ON | ResetCause.BOR | ResetCause.PIN)
        self._loop.start()
        _powered.add(self)
        self.resume()

    @property
    def uid(self) -> bytes:
        """96-bit unique id of the virtual chip."""
        return self._chip.signature.uid

    @property
    def chip(self) -> Chip:
        """Register blocks."""
        return self._chip

    @property
    def rom_address(self) -> int:
        """Address that the access port's BASE register names."""
        return self._chip.rom_address

    @property
    def cycles(self) -> int:
        """Modelled cycles counted so far, beyond CYCCNT's 32 bits."""
        return self.cpu.counter.cycles()

    @property
    def thread_id(self) -> int:
        """Identifier of the core's thread, for its processor time."""
        return self._loop.thread_id

    @property
    def on_cycles_read(self) -> Callable[[int], None] | None:
        """Called in the core's thread with CYCCNT when the firmware reads it."""
        return self._chip.dwt.on_read

    @on_cycles_read.setter
    def on_cycles_read(self, call: Callable[[int], None] | None) -> None:
        self._chip.dwt.on_read = call

    # State.

    @property
    def halted(self) -> bool:
        """Whether the core is in debug state or held in reset."""
        return not self._loop.active

    @property
    def sleeping(self) -> bool:
        """Whether the core executed WFI or WFE; nothing can wake it."""
        return self._loop.sleeping

    @property
    def locked_up(self) -> bool:
        """Whether the core is locked up or was stopped by `error`, and not halted since."""
        return self._loop.locked_up

    @property
    def error(self) -> HarnessError | None:
        """What stopped the core for good until the next reset: not modelled, or a lock-up."""
        return self._loop.error

    def wait_halted(self, seconds: float) -> None:
        """Wait until the core halts, locks up or stops on an error, at most `seconds`."""
        self._loop.wait_halted(seconds)

    # Control.

    def halt(self) -> None:
        """Stop the core before its next basic block."""
        with self._control:
            self._loop.halt()

    def resume(self) -> None:
        """Let the core run, unless reset is held."""
        with self._control:
            if not self._held:
                self._loop.resume()

    def step(self) -> None:
        """Run one instruction of a halted core."""
        with self._control:
            if self._held or self._core.blocked:
                return
            self._loop.step()

    def reset(self, cause: ResetCause = ResetCause.PIN) -> None:
        """Reset the chip; the core then runs, or halts at the vector catch."""
        with self._control:
            self.halt()
            self._enter_reset(cause)
            if not self.debug.catches(VC_CORERESET):
                self.resume()
                return
            self.debug.stopped(DFSR_VCATCH)

    def hold_reset(self, held: bool) -> None:
        """Drive the reset line."""
        with self._control:
            if held and not self._held:
                self.halt()
                self._held = True
            elif not held and self._held:
                self._held = False
                self.reset()

    def close(self) -> None:
        """Power the board off; its console then refuses use."""
        with self._control:
            if self._loop.closed:
                return
            self._loop.close()
            self.console.power_off()
            self.memory.close()
            _powered.discard(self)

    def _enter_reset(self, cause: ResetCause) -> None:
        self._loop.clear()
        self._chip.reset(cause)
        vectors = self.memory.read(self._chip.scs.boot_address, 8) or b"\xff" * 8
        stack, entry = (int.from_bytes(vectors[i : i + 4], "little") for i in (0, 4))
        self.cpu.reset(stack, entry)
        self.debug.restarted()

    # The debugger's memory accesses.

    def read_memory(self, address: int, count: int) -> bytes:
        """Read for the debugger; see `DebuggerAccesses.read`."""
        if self.faults is not None:
            self.faults.debug_access()
        return self._debugger.read(address, count)

    def write_memory(self, address: int, content: bytes) -> None:
        """Write for the debugger; see `DebuggerAccesses.write`."""
        if self.faults is not None:
            self.faults.debug_access()
        self._debugger.write(address, content)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the core from running within a ``with`` block."""
        with self._control:
            running = not self.halted
            self.halt()
            try:
                yield
            finally:
                if running:
                    self.resume()

    def _stop_on(self, error: HarnessError) -> None:
        self._loop.stop_on(error)

    # Virtual time.

    def now(self) -> float:
        """Return seconds of virtual time; differences hold while the clock tree stays as it is."""
        with self.paused():
            return self.cpu.counter.elapsed() / self._chip.rcc.hclk_hz

    def let_pass(self, seconds: float) -> None:
        """Let virtual time pass while the core does nothing."""
        with self.paused():
            self.console.add_idle_ns(round(seconds * 1e9))

    # Faults on purpose: `harness.virtual.faults`.

    def line(self, plan: FaultPlan | None) -> Console | FaultyLine:
        """Return the console's wire under a fault plan, which is in force from now on."""
        if self.faults is not None and self.faults.plan != plan:
            self.faults.remove()
            self.faults = self._faulty_line = None
        if plan is None:
            return self.console
        if self._faulty_line is None:
            from harness.virtual.faults import FaultyLine, Injector

            self.faults = Injector(plan, self)
            self._faulty_line = FaultyLine(self, self.console, self.faults)
        return self._faulty_line

    def stall(self) -> None:
        """Let the core do nothing until the next reset, whatever it was doing."""
        with self.paused():
            self._loop.stalled = True

    def raise_fault(self) -> None:
        """Make the core take an undefined-instruction fault where it is."""
        with self._control:
            if self.halted or self._core.blocked or self._loop.stalled:
                return
            self.halt()
            # A debugger may have asked to catch it: then the core stays halted.
            if self._loop.take(Stop(StopKind.UNDEFINED, self.cpu.pc, "a fault on purpose")):
                self.resume()

    def flip_flash(self, offset: int, bit: int) -> None:
        """Flip a bit in flash while the core may be running from it."""
        with self.paused():
            for origin in self.memory.flash.origins:
                self.cpu.invalidate(origin + offset, origin + offset + 1)
            self.memory.flash.data[offset] ^= 1 << bit

    def upset(self, *, watchdog: bool) -> None:
        """Reset the chip in the middle; what it was sending is lost."""
        with self.paused():
            self.console.discard_input()
            self.reset(ResetCause.WATCHDOG if watchdog else ResetCause.BOR)

    def _observe(self, counter: BlockCounter) -> Observer | None:
        """Watch memory and branches where the timing model wants to know."""
        model = self.model
        if not model.observes:
            return None
        from harness.virtual.time.observer import Observer

        observer = Observer(self.board, self.memory)
        counter.observe(observer, model.event_cycles)
        self.console.received_address = observer.cold_address
        return observer

    @cached_property
    def model(self) -> TimingModel:
        """The timing model of the board."""
        from harness.virtual.time import timing_model

        return timing_model(self.board, self._timing)

    # CoreControl: called by the system control space.

    def caches_changed(self, *, instruction: bool, data: bool) -> None:
        """Follow the cache enables of CCR."""
        if self.observer is not None:
            self.observer.enable_caches(instruction=instruction, data=data)

    def request_reset(self) -> None:
        """Reset by AIRCR, by the core (takes effect at the end of the block) or the debugger."""
        if threading.get_ident() == self._loop.thread_id:
            self._loop.request_reset()
        else:
            self.reset(ResetCause.SOFTWARE | ResetCause.PIN)

    def fpu_changed(self) -> None:
        """Follow CPACR and FPCCR."""
        scs = self._chip.scs
        self.cpu.follow_fpu(enabled=scs.fpu_enabled, lazy=scs.fpu_lazy)

    def code_changed(self) -> None:
        """Drop what is remembered of code in RAM."""
        for block in self.memory.memories:
            if block.kind != "flash":
                for origin in block.origins:
                    self.cpu.invalidate(origin, origin + block.bytes)

    def debug_read(self, offset: int, master: Master) -> int:
        """Read a debug register."""
        return self.debug.read(offset, master)

    def debug_write(self, offset: int, value: int, master: Master) -> None:
        """Write a debug register."""
        self.debug.write(offset, value, master)

    def trace_enabled(self) -> bool:
        """DEMCR.TRCENA."""
        return self.debug.trace_enabled

    def redirected(self) -> None:
        """Note that the debugger moved PC: a core that could not go on can go on there."""
        self._core.blocked = False

    def trace_changed(self) -> None:
        """Follow DEMCR.TRCENA."""
        self._chip.dwt.follow()

    def _set_breakpoints(self, addresses: list[int]) -> None:
        with self.paused():
            self.cpu.set_breakpoints(addresses)

    def _idle(self) -> int:
        return self.console.take_idle_ns() * self._chip.rcc.hclk_hz // 1_000_000_000

    def _price_block(self, code: bytes, address: int) -> int:
        if self._price is None:
            self._price = self.model.block_cycles
        return self._price(code, address)


@atexit.register
def _power_off_all() -> None:
    # A core that still ran would use memory that the interpreter has freed.
    for machine in list(_powered):
        machine.close()
