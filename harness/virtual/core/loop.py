"""The core's thread: run the core, take its exceptions, and stop where it enters debug state."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from harness.errors import HarnessError, VirtualError
from harness.virtual.chip.bus import unmodelled
from harness.virtual.chip.peripherals.clocks import ResetCause
from harness.virtual.core.accesses import CoreAccesses, may_exist
from harness.virtual.core.cpu import Cpu, Stop, StopKind
from harness.virtual.core.debug import (
    DFSR_BKPT,
    DFSR_VCATCH,
    VC_CORERESET,
    VC_HARDERR,
    CoreDebug,
)
from harness.virtual.core.exceptions import HARD_FAULT, Exceptions, Lockup
from harness.virtual.ports.console import Console

_LOG = logging.getLogger(__name__)


class CoreLoop:
    """Runs one core in a thread of its own.

    `halt`, `resume`, `step`, `take` and `close` are called by one thread at a time, which the
    machine sees to; `stop_on` and `request_reset` by the core's own thread.

    Args:
        name: Board, for messages.
        cpu: The core.
        exceptions: Enters and leaves exceptions.
        accesses: The core's accesses; blocked where the core cannot go on.
        debug: Debug registers.
        console: Told when the core stops.
        enter_reset: Puts the chip in its reset state.
    """

    def __init__(
        self,
        name: str,
        cpu: Cpu,
        exceptions: Exceptions,
        accesses: CoreAccesses,
        debug: CoreDebug,
        console: Console,
        enter_reset: Callable[[ResetCause], None],
    ) -> None:
        self._name = name
        self._cpu = cpu
        self._exceptions = exceptions
        self._accesses = accesses
        self._debug = debug
        self._console = console
        self._enter_reset = enter_reset
        self._state = threading.Condition()
        self._halt_wanted = False
        self._reset_wanted = False
        self._pending: HarnessError | None = None
        self.active = False
        self.closed = False
        self.sleeping = False
        self.locked_up = False
        #: Makes the core do nothing until the next reset.
        self.stalled = False
        self.error: HarnessError | None = None
        self._thread = threading.Thread(target=self._run, name=f"virtual {name}", daemon=True)

    @property
    def thread_id(self) -> int:
        """Identifier of the thread."""
        return self._thread.ident or 0

    def start(self) -> None:
        """Start the thread; the core waits for `resume`."""
        self._thread.start()

    def close(self) -> None:
        """Stop the core and end the thread."""
        self.halt()
        with self._state:
            self.closed = True
            self._state.notify_all()
        self._thread.join()

    def clear(self) -> None:
        """Forget what the core was doing: it is reset."""
        self.sleeping = self.locked_up = self.stalled = self._reset_wanted = False
        self._accesses.blocked = False
        self.error = None
        self._console.fail(None)

    def wait_halted(self, seconds: float) -> None:
        """Wait until the core halts, locks up or stops on an error, at most `seconds`."""
        with self._state:
            self._state.wait_for(lambda: not self.active or self.locked_up, seconds)

    def halt(self) -> None:
        """Stop the core before its next basic block."""
        with self._state:
            if not self.active:
                return
            self._halt_wanted = True
            self._cpu.request_stop()
            self._console.interrupt(True)
            self._state.notify_all()
            self._state.wait_for(lambda: not self.active)

    def resume(self) -> None:
        """Let the core run."""
        with self._state:
            if self.active or self.closed:
                return
            self._halt_wanted = False
            self._console.interrupt(False)
            self.active = True
            self._state.notify_all()

    def step(self) -> None:
        """Run one instruction of a halted core."""
        if self.active:
            return
        self._console.interrupt(True)
        self._cpu.counter.clear_stop()
        try:
            self._handle(self._cpu.step())
        except HarnessError as error:
            self._fail(error)

    def stop_on(self, error: HarnessError) -> None:
        """Stop the core for good, from within an access of it."""
        self._pending = error
        self._cpu.request_stop()

    def request_reset(self) -> None:
        """Reset at the end of the block."""
        self._reset_wanted = True
        self._cpu.request_stop()

    # In the core's thread.

    def _run(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self.active or self.closed)
                if self.closed:
                    return
            try:
                self._execute()
            except HarnessError as error:
                self._fail(error)
                self._stay_locked_up()
            except Exception as bug:
                # Whoever waits for the core must hear of it: nobody looks at this thread.
                _LOG.exception("%s: bug in the virtual board", self._name)
                self._fail(VirtualError(f"bug in the virtual board: {bug!r}", where=self._place()))
                self._stay_locked_up()
            with self._state:
                self.active = False
                self._state.notify_all()

    def _execute(self) -> None:
        """Run until the core enters debug state."""
        while True:
            with self._state:
                if self._halt_wanted:
                    return
                self._cpu.counter.clear_stop()
            if self._accesses.blocked:
                self._stay_locked_up()
                return
            if self.stalled:
                self._wait_for_halt()
                return
            if not self._handle(self._cpu.run()):
                return

    def _handle(self, stop: Stop) -> bool:
        """Act on the end of a run; False when the core entered debug state."""
        if self._pending is not None:
            error, self._pending = self._pending, None
            raise error
        if self._reset_wanted:
            self._enter_reset(ResetCause.SOFTWARE | ResetCause.PIN)
            if self._debug.catches(VC_CORERESET):
                self._debug.stopped(DFSR_VCATCH)
                return False
            return True
        if stop.kind is StopKind.REQUESTED:
            return True
        if stop.kind is StopKind.SLEEP:
            self.sleeping = True
            self._wait_for_halt()
            self.sleeping = False
            return False
        if stop.kind in (StopKind.BREAKPOINT, StopKind.BKPT) and self._debug.enabled:
            self._debug.stopped(DFSR_BKPT)
            return False
        return self.take(stop)

    def take(self, stop: Stop) -> bool:
        """Enter the exception that a stop calls for; False when the core entered debug state.

        Raises:
            VirtualError: Something is not modelled.
        """
        if stop.kind is StopKind.UNKNOWN:
            raise VirtualError(f"the emulator gave up: {stop.detail}", where=self._place())
        if stop.kind in (StopKind.READ_FAULT, StopKind.WRITE_FAULT) and may_exist(stop.address):
            verb = "read" if stop.kind is StopKind.READ_FAULT else "write"
            error = unmodelled(stop.address, verb)
            error.where = self._place()
            error.data["pc"] = self._cpu.pc
            raise error
        try:
            if stop.kind is StopKind.EXCEPTION_RETURN:
                self._exceptions.leave()
                return True
            if stop.kind is StopKind.LAZY_STATE:
                self._exceptions.save_lazily()
                return True
            place = self._place()
            number = self._exceptions.take(stop)
        except Lockup as lockup:
            self._lock_up(stop, lockup)
            return True
        _LOG.debug("%s: %s at %s, exception %d", self._name, stop.kind.value, place, number)
        if number == HARD_FAULT and self._debug.catches(VC_HARDERR):
            self._debug.stopped(DFSR_VCATCH)
            return False
        return True

    def _lock_up(self, stop: Stop, lockup: Lockup) -> None:
        self._accesses.blocked = True
        if self._exceptions.erased:
            # An erased chip locks up at reset; that is its normal state, not an error.
            return
        error = VirtualError(
            f"the core locked up: {stop.kind.value}; {lockup.reason}",
            where=f"{self._place()}, address {stop.address:#010x}",
            expected="a HardFault vector whose handler does not fault itself",
            fix="look up the PC in the firmware's map; a reset starts the core again",
            pc=self._cpu.pc,
            address=stop.address,
            **self._exceptions.status(),
        )
        # The debugger sees DHCSR.S_LOCKUP, as on the chip; a console has no such sign.
        self._report(error)

    def _place(self) -> str:
        return f"{self._name}, PC {self._cpu.pc:#010x}"

    def _fail(self, error: HarnessError) -> None:
        self._report(error)
        self._debug.fail(error)

    def _report(self, error: HarnessError) -> None:
        self._accesses.blocked = True
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
