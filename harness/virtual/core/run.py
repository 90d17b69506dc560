"""Run the core in a thread of its own: halt, step, reset, exceptions, and what stops it."""

from __future__ import annotations

import logging
import math
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import HarnessError, VirtualError
from harness.virtual.chip.bus import unmodelled
from harness.virtual.chip.chip import Chip
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.peripherals import scs
from harness.virtual.chip.peripherals.clock import ResetCause
from harness.virtual.chip.peripherals.nvic import HARD_FAULT
from harness.virtual.core.accesses import CoreAccesses, may_exist
from harness.virtual.core.cpu import Cpu
from harness.virtual.core.debug import DFSR_BKPT, DFSR_DWTTRAP, VC_CORERESET, VC_HARDERR, CoreDebug
from harness.virtual.core.events import Events
from harness.virtual.core.exceptions import Exceptions, Lockup
from harness.virtual.core.pace import Pace, Work, tick
from harness.virtual.core.registers import PC
from harness.virtual.core.stop import Stop, StopKind

_LOG = logging.getLogger(__name__)
_BITS = 10  # of a byte on the line
_ERASED = b"\xff" * 8
_BOOT_LOADER = 0x1FFF_0001  # somewhere in system memory


class Core:
    """The core of a board that is powered on; held in reset until `reset` or `resume`.

    Every public method may be called from any thread.
    """

    def __init__(self, to: Connections, chip: Chip) -> None:
        self._board, self._name = to.board, to.board.id
        self._memory = to.memory
        self._console = to.console
        self.chip = chip
        self.accesses = CoreAccesses(to, chip, self)
        self.cpu = Cpu(to, chip, self.accesses)
        self.exceptions = Exceptions(self.cpu, to.memory, chip.scs)
        self._events = Events(to, chip, self.exceptions)
        self.debug = CoreDebug(self, chip.scs.values)
        self._control = threading.RLock()  # one caller at a time
        self._state = threading.Condition()
        self._reset_held = False
        self._halt_wanted = False
        self._reset_wanted = False
        self._stalled = False
        self._pending: HarnessError | None = None
        #: Whether the core is in debug state or held in reset.
        self.halted = True
        #: Whether it executed WFI or WFE, and nothing has woken it yet.
        self.sleeping = False
        self._sleeps_at: int | None = None  # where it goes on when something wakes it
        self._input = False  # whether the console has had input since the core last looked
        to.console.notify = self.note_input
        #: Whether it is locked up or was stopped by `error`, and not halted since.
        self.locked_up = False
        #: What stopped it until the next reset: not modelled, or a lock-up.
        self.error: HarnessError | None = None
        self.closed = False  # powered off
        self._pace: Pace | None = None
        self._enter_reset(ResetCause.POWER_ON)
        self._thread = threading.Thread(target=self._run, name=f"virtual {self._name}", daemon=True)
        self._thread.start()

    @property
    def thread_id(self) -> int:
        """Identifier of the core's thread, for its processor time."""
        return self._thread.ident or 0

    # Control.

    def wait_halted(self, seconds: float) -> None:
        """Wait until the core halts, locks up or stops on an error, at most `seconds`."""
        with self._state:
            self._state.wait_for(lambda: self.halted or self.locked_up, seconds)

    def halt(self) -> None:
        """Stop the core before its next basic block."""
        with self._control, self._state:
            if self.halted:
                return
            self._halt_wanted = True
            self.cpu.counter.request_stop()
            self._console.interrupt(True)
            self._state.notify_all()
            self._state.wait_for(lambda: self.halted)

    def resume(self) -> None:
        """Let the core run, unless reset is held."""
        with self._control, self._state:
            if self._reset_held or not self.halted or self.closed:
                return
            self._halt_wanted = False
            self._console.interrupt(False)
            self.halted = False
            self._state.notify_all()

    def step(self) -> None:
        """Run one instruction of a halted core."""
        with self._control:
            if self._reset_held or self.accesses.blocked or not self.halted:
                return
            self._console.interrupt(True)
            self.cpu.counter.clear_stop()
            self._sleeps_at = None
            before = list(self.exceptions.active)
            try:
                if not self.debug.masks_interrupts:
                    self._service()
                if before == self.exceptions.active:  # else it stops at the handler's start
                    stop = self.cpu.step()
                    if stop.kind is not StopKind.SLEEP:
                        self._handle(stop)
            except HarnessError as error:
                self._fail(error)

    def reset(self, cause: ResetCause = ResetCause.PIN) -> None:
        """Reset the chip; the core then runs, or halts at the vector catch."""
        with self._control:
            self.halt()
            self._enter_reset(cause)
            if not self.debug.catch(VC_CORERESET):
                self.resume()

    def hold_reset(self, held: bool) -> None:
        """Drive the reset line."""
        with self._control:
            if held and not self._reset_held:
                self.halt()
                self._reset_held = True
            elif not held and self._reset_held:
                self._reset_held = False
                self.reset()

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

    def close(self) -> None:
        """Stop the core for good."""
        with self._control:
            self.halt()
            with self._state:
                self.closed = True
                self._state.notify_all()
            self._thread.join()

    @property
    def paced(self) -> bool:
        """Whether virtual time does not run ahead of the host's."""
        return self._pace is not None

    def set_pace(self, paced: bool) -> None:
        """Let virtual time run ahead of the host's, or not."""
        if paced == self.paced:
            return
        with self.paused():
            chip, console = self.chip, self._console
            self._pace = None
            if paced:
                self._pace = Pace(
                    Work(self.cpu.counter.elapsed, lambda: 1 / chip.clock.hclk_hz),
                    Work(lambda: chip.flash.programmed_bytes, lambda: chip.flash.program_s),
                    Work(lambda: console.moved_bytes, lambda: _BITS / (console.baud or math.inf)),
                )
        if self._pace is not None:
            pace = self._pace
            tick(self._look_at_time, lambda: self.closed or self._pace is not pace)

    def _look_at_time(self) -> None:
        if not self.halted:  # it goes on at once, unless it is ahead
            self.cpu.counter.request_stop()

    # Fault injection.

    def stall(self) -> None:
        """Let the core do nothing until the next reset, whatever it was doing."""
        with self.paused():
            self._stalled = True

    def raise_fault(self) -> None:
        """Make the core take an undefined-instruction fault where it is."""
        with self._control:
            if self.halted or self.accesses.blocked or self._stalled:
                return
            self.halt()
            # A debugger may have asked to catch it: then the core stays halted.
            if self._take(Stop(StopKind.UNDEFINED, self.cpu.registers[PC], "injected fault")):
                self.resume()

    # Called by registers and accesses.

    def stop_on(self, error: HarnessError) -> None:
        """Stop the core for good, from within an access of it."""
        self._pending = error
        self.cpu.counter.request_stop()

    def note_input(self) -> None:
        """Look at the console's interrupt before the next block; from any thread."""
        with self._state:
            self._input = True
            self._state.notify_all()
        self.cpu.counter.request_stop()

    def request_reset(self) -> None:
        """Reset by AIRCR: at the end of the block where the core wrote it, or at once."""
        if threading.get_ident() != self.thread_id:
            self.reset(ResetCause.SOFTWARE)
            return
        self._reset_wanted = True
        self.cpu.counter.request_stop()

    def _enter_reset(self, cause: ResetCause) -> None:
        self.sleeping = self.locked_up = self._stalled = self._reset_wanted = False
        self.accesses.blocked = False
        self.error = None
        self._console.fail(None)
        self._sleeps_at = None
        self.exceptions.active.clear()
        self.cpu.counter.watch_time(False)
        self._console.limit_wait(None)
        self.chip.reset(cause)
        stack, entry = struct.unpack("<2I", self._vectors() or _ERASED)
        if self.chip.flash.starts_loader:
            # It waits for a host on ports that nobody serves; a debugger can take the core out.
            entry, self.accesses.blocked = _BOOT_LOADER, True
        self.cpu.registers.reset(stack, entry)
        self.debug.restarted()

    # In the core's thread.

    def _run(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: not self.halted or self.closed)
                if self.closed:
                    return
            try:
                self._execute()
            except HarnessError as error:
                self._fail(error)
                self._stay_locked_up()
            except Exception as bug:
                # An exception in this thread would go unseen, and callers wait for the core.
                _LOG.exception("%s: bug in the virtual board", self._name)
                self._fail(VirtualError(f"bug in the virtual board: {bug!r}", where=self._place()))
                self._stay_locked_up()
            with self._state:
                self.halted = True
                self._state.notify_all()

    def _execute(self) -> None:
        """Run until the core enters debug state."""
        while True:
            with self._state:
                if self._halt_wanted:
                    return
                self.cpu.counter.clear_stop()
            if self.accesses.blocked:
                self._stay_locked_up()
                return
            if self._stalled:
                self._wait_for_halt()
                return
            self._service()
            if self._pace is not None and not self._wait(self._pace.ahead()):
                return
            asleep = self._sleeps_at == self.cpu.registers[PC] and not self.accesses.blocked
            if not self._handle(Stop(StopKind.SLEEP) if asleep else self.cpu.run()):
                return

    def _service(self) -> None:
        """Take the interrupts that are due."""
        try:
            self._events.service()
        except Lockup as lockup:
            self._lock_up(Stop(StopKind.REQUESTED), lockup)

    def _sleep(self) -> bool:
        """Sleep until something wakes the core; False when it is to halt."""
        self.sleeping = True
        self._sleeps_at = self.cpu.registers[PC]
        going_on = self._events.sleep(self._sleeps_at, self._wait_for_input)
        if going_on:
            self._sleeps_at = None
        self.sleeping = False
        return going_on

    def _wait_for_input(self, seconds: float | None) -> bool:
        with self._state:
            self._state.notify_all()
            self._state.wait_for(lambda: self._halt_wanted or self.closed or self._input, seconds)
            self._input = False
            return not (self._halt_wanted or self.closed)

    def _wait(self, seconds: float) -> bool:
        """Do nothing for a while; False when the core is to halt."""
        with self._state:
            self._state.wait_for(lambda: self._halt_wanted or self.closed, seconds)
            return not (self._halt_wanted or self.closed)

    def _handle(self, stop: Stop) -> bool:
        """Act on the end of a run; False when the core entered debug state."""
        if self._pending is not None:
            error, self._pending = self._pending, None
            raise error
        if self._reset_wanted:
            self._enter_reset(ResetCause.SOFTWARE)
            return not self.debug.catch(VC_CORERESET)
        if stop.kind is StopKind.REQUESTED:
            return True
        if stop.kind is StopKind.SLEEP:
            return self._sleep()
        if stop.kind is StopKind.WATCHPOINT:
            self.debug.stopped(DFSR_DWTTRAP)
            return False
        if stop.kind in (StopKind.BREAKPOINT, StopKind.BKPT) and self.debug.enabled:
            self.debug.stopped(DFSR_BKPT)
            return False
        return self._take(stop)

    def _take(self, stop: Stop) -> bool:
        """Enter the exception that a stop calls for; False when the core entered debug state.

        Raises:
            VirtualError: Something is not modelled.
        """
        if stop.kind is StopKind.UNKNOWN:
            raise VirtualError(f"the emulator gave up: {stop.detail}", where=self._place())
        if stop.kind in (StopKind.READ_FAULT, StopKind.WRITE_FAULT) and may_exist(
            self._board, stop.address
        ):
            verb = "read" if stop.kind is StopKind.READ_FAULT else "write"
            error = unmodelled(stop.address, verb)
            error.where = self._place()
            error.data["pc"] = self.cpu.registers[PC]
            raise error
        try:
            if stop.kind is StopKind.EXCEPTION_RETURN:
                if self.exceptions.leave() and self.chip.scs.values[scs.SCR] & scs.SLEEPONEXIT:
                    return self._sleep()
                return True
            place = self._place()
            number = self.exceptions.take(stop)
        except Lockup as lockup:
            self._lock_up(stop, lockup)
            return True
        _LOG.debug("%s: %s at %s, exception %d", self._name, stop.kind.value, place, number)
        return not (number == HARD_FAULT and self.debug.catch(VC_HARDERR))

    def _lock_up(self, stop: Stop, lockup: Lockup) -> None:
        self.accesses.blocked = True
        if self._vectors() == _ERASED:
            # An erased chip locks up at reset; that is its normal state, not an error.
            return
        error = VirtualError(
            f"the core locked up: {stop.kind.value}; {lockup.reason}",
            where=f"{self._place()}, address {stop.address:#010x}",
            expected="a HardFault vector whose handler does not fault itself",
            fix="look up the PC in the firmware's map; a reset starts the core again",
            pc=self.cpu.registers[PC],
            address=stop.address,
            cfsr=self.chip.scs.values[scs.CFSR],
            hfsr=self.chip.scs.values[scs.HFSR],
        )
        # The debugger sees DHCSR.S_LOCKUP, as on the chip; a console has no such sign.
        self._report(error)

    def _vectors(self) -> bytes | None:
        return self._memory.read(self.chip.scs.boot_address, 8)

    def _place(self) -> str:
        return f"{self._name}, PC {self.cpu.registers[PC]:#010x}"

    def _fail(self, error: HarnessError) -> None:
        self._report(error)
        if self.debug.resumed:
            self.debug.error = error
        else:
            _LOG.warning("%s", error)

    def _report(self, error: HarnessError) -> None:
        self.accesses.blocked = True
        self.error = error
        self._console.fail(error)

    def _stay_locked_up(self) -> None:
        # Debug state ends a lock-up, but not what caused it (ARMv7-M ARM B1.5.15).
        self.locked_up = True
        self._wait_for_halt()
        self.locked_up = False

    def _wait_for_halt(self) -> None:
        with self._state:
            self._state.notify_all()
            self._state.wait_for(lambda: self._halt_wanted or self.closed)
