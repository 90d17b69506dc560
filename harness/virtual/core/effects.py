"""What writes to registers do to the core.

The chip is built before the core that accesses it, so this is the one place that looks the core up
when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.virtual.chip.bus import Master

if TYPE_CHECKING:
    from harness.virtual.machine import VirtualMachine


class Effects:
    """What a virtual board's registers do to its core and to what observes it."""

    def __init__(self, board: VirtualMachine) -> None:
        self._board = board

    def request_reset(self) -> None:
        """Reset the chip."""
        self._board.core.request_reset()

    def active_exceptions(self) -> list[int]:
        """Return the numbers of the active exceptions, the current one last."""
        return self._board.core.exceptions.active

    def fpu_changed(self) -> None:
        """Follow CPACR and FPCCR.LSPACT."""
        scs = self._board.chip.scs
        self._board.core.cpu.follow_fpu(enabled=scs.fpu_enabled, lazy=scs.fpu_lazy)

    def invalidate(self, start: int, end: int) -> None:
        """Forget translated code in [start, end), which is about to change."""
        self._board.core.cpu.invalidate(start, end)

    def code_changed(self) -> None:
        """Forget translated code in RAM."""
        for block in self._board.memory.memories:
            if block.kind != "flash":
                for origin in block.origins:
                    self.invalidate(origin, origin + block.bytes)

    def caches_changed(self, *, instruction: bool, data: bool) -> None:
        """Follow the cache enables of CCR."""
        if self._board.observer is not None:
            self._board.observer.enable_caches(instruction=instruction, data=data)

    def set_breakpoints(self, addresses: list[int]) -> None:
        """Follow the comparators of the FPB."""
        with self._board.core.paused():
            self._board.core.cpu.set_breakpoints(addresses)

    def debug_read(self, offset: int, master: Master) -> int:
        """Read a debug register."""
        return self._board.core.debug.read(offset, master)

    def debug_write(self, offset: int, value: int, master: Master) -> None:
        """Write a debug register."""
        self._board.core.debug.write(offset, value, master)

    def trace_enabled(self) -> bool:
        """Return DEMCR.TRCENA."""
        return self._board.core.debug.trace_enabled
