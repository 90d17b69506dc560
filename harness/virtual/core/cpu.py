"""Run the core: Unicorn with the board's memories, its bus, block counting and breakpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import unicorn
from unicorn import arm_const as arm
from unicorn import unicorn_const as uc

from harness.virtual.chip.chip import Chip
from harness.virtual.chip.connections import Connections
from harness.virtual.core.accesses import CoreAccesses
from harness.virtual.core.floating import FloatTraps
from harness.virtual.core.locate import accessing_pc
from harness.virtual.core.mapping import Pages, gaps, hook_flash, map_registers
from harness.virtual.core.registers import PC, Registers
from harness.virtual.core.stop import ERRORS, INTERRUPTS, Stop, StopKind
from harness.virtual.core.watchpoints import Watchpoints

_MODELS = {"cortex-m7": arm.UC_CPU_ARM_CORTEX_M7, "cortex-m4": arm.UC_CPU_ARM_CORTEX_M4}
_TRANSLATION_BYTES = 64 << 20
_PAGE = 4 << 10


class Cpu:
    """The core. Used by one thread at a time; only `counter.request_stop` is safe from any."""

    def __init__(self, to: Connections, chip: Chip, accesses: CoreAccesses) -> None:
        core, memory = to.board.facts.core, to.memory
        self._engine: Any = unicorn.Uc(uc.UC_ARCH_ARM, uc.UC_MODE_THUMB)
        # Not UC_MODE_MCLASS, which makes any model a Cortex-M33.
        self._engine.ctl_set_cpu_model(_MODELS[core.cpu])
        # Translations pile up over many firmware images until this is full (default: 1 GiB).
        self._engine.ctl_set_tcg_buffer_size(_TRANSLATION_BYTES)
        self._engine.ctl_exits_enabled(True)  # and there are none: no run ends by reaching one
        self._memory = memory
        self._accesses = accesses
        self.registers = Registers(self._engine)
        self._interrupt: int | None = None
        self._fault_address = 0
        self._breakpoints: dict[int, int] = {}
        self._step_over: int | None = None
        self._hit = False
        self._trap: StopKind | None = None
        self._scs = chip.scs
        #: Saves the floating-point state that waits for it.
        self.save_lazily: Callable[[], None] = lambda: None
        self._rams = [m for m in to.board.facts.memory if m.kind != "flash"]
        self._executable = [True] * len(self._rams)
        self._single = core.fpu == "fpv5-sp-d16"  # Unicorn's Cortex-M7 has double precision
        self.counter = to.counter
        # Largest first: after a smaller one, Unicorn 2.1 gives a memory internal addresses that
        # others have too, and stores to RAM then throw translated flash code away.
        for block in sorted(memory.memories, key=lambda memory: -memory.bytes):
            access = uc.UC_PROT_READ | uc.UC_PROT_EXEC
            if block.kind != "flash":
                access |= uc.UC_PROT_WRITE
            for origin in block.origins:
                self._engine.mem_map_ptr(origin, block.bytes, access, block.address)
        fast = {page.address: page for page in (chip.flash.page, chip.console.page)}
        self._kept = [
            *(
                map_registers(self._engine, at, accesses, fast.get(at.start))
                for at in chip.bus.pages()
            ),
            hook_flash(
                self._engine,
                self._on_flash_write,
                chip.flash.state,
                [at for block in memory.memories if block.kind == "flash" for at in block.ranges],
            ),
        ]
        self.counter.attach(self._engine)
        self._engine.hook_add(uc.UC_HOOK_INTR, self._on_interrupt)
        for gap in gaps(at for block in memory.memories for at in block.ranges):
            self._engine.hook_add(
                uc.UC_HOOK_MEM_UNMAPPED, self._on_unmapped, None, gap.start, gap.stop - 1
            )
        self._pages = Pages(self._engine)
        self.watchpoints = Watchpoints(self._engine, chip.dwt.matched)
        self._traps = FloatTraps(
            self._engine, memory.read, to.counter.request_stop, self._on_floating_point
        )

    # Hooks: called by the emulator in the thread that runs the core.

    def _on_interrupt(self, _engine: Any, number: int, _data: Any) -> None:
        self._interrupt = number
        self.counter.request_stop()
        self._engine.emu_stop()

    def _on_unmapped(self, _e: Any, _kind: int, address: int, *_rest: Any) -> bool:
        self._fault_address = address
        return False

    def _on_flash_write(
        self, _engine: Any, _kind: int, address: int, size: int, value: int, _data: Any
    ) -> bool:
        self._fault_address = address
        return self._accesses.store_flash(address, size, value & ((1 << 8 * size) - 1))

    def _on_breakpoint(self, _engine: Any, address: int, _size: int, _data: Any) -> None:
        if self._step_over == address:
            self._step_over = None
            return
        self._hit = True
        self._engine.emu_stop()

    def _on_floating_point(self, double: bool) -> None:
        if not self._scs.fpu_enabled:
            self._trap = StopKind.NO_COPROCESSOR
        elif double and self._single:
            self._trap = StopKind.UNDEFINED
        else:
            if self._scs.fpu_lazy:
                # At once, as Unicorn does not stop within an IT block, where schedulers have it.
                self.save_lazily()
            return
        self._engine.emu_stop()

    # Running.

    def step(self) -> Stop:
        """Run one instruction."""
        # Unicorn's own instruction count does not end a run in code that was translated before.
        started = False

        def before_instruction(*_details: Any) -> None:
            nonlocal started
            if started:
                self._engine.emu_stop()
            started = True

        hook = self._engine.hook_add(uc.UC_HOOK_CODE, before_instruction)
        self._engine.ctl_flush_tb()
        try:
            stop = self.run(stepped=True)
            while not started and stop.kind is StopKind.REQUESTED:
                self.counter.clear_stop()  # it was only to trap an instruction
                stop = self.run(stepped=True)
            return stop
        finally:
            self._engine.hook_del(hook)
            self._engine.ctl_flush_tb()

    def _protect(self) -> None:
        """Let the MPU forbid execution from memories."""
        allowed = [self._scs.mpu.executable(region) for region in self._rams]
        if allowed == self._executable:
            return
        for region, execute in zip(self._rams, allowed, strict=True):
            access = uc.UC_PROT_READ | uc.UC_PROT_WRITE | (uc.UC_PROT_EXEC if execute else 0)
            self._engine.mem_protect(region.origin, region.bytes, access)
        self._executable = allowed

    def run(self, *, stepped: bool = False) -> Stop:
        """Run until something stops the core; `stepped` if `step` does."""
        if self._scs.mpu.enabled or not all(self._executable):
            self._protect()
        self._traps.apply(
            self.registers[PC],
            singles=self._scs.fpu_lazy or not self._scs.fpu_enabled,
            doubles=self._single,
        )
        self._interrupt, self._hit, self._trap = None, False, None
        self.watchpoints.hit = False
        self._step_over = self.registers[PC]
        self.counter.start()
        error: unicorn.UcError | None = None
        try:
            self._engine.emu_start(self.registers[PC] | 1, 0)  # `until` is not in use
        except unicorn.UcError as failure:
            error = failure
        self.registers[PC] = self._engine.reg_read(arm.UC_ARM_REG_PC)
        if error is not None:
            kind = ERRORS.get(error.errno, StopKind.UNKNOWN)
            return Stop(kind, self._fault_address, str(error))
        return self._why(stepped=stepped)

    def _why(self, *, stepped: bool) -> Stop:
        """Return why the emulator returned without an error, from what the hooks noted."""
        if self.watchpoints.hit:
            return Stop(StopKind.WATCHPOINT)
        if self._hit:
            return Stop(StopKind.BREAKPOINT)
        if self._trap is not None:
            return Stop(self._trap)
        if self._interrupt is not None:
            kind = INTERRUPTS.get(self._interrupt, StopKind.UNKNOWN)
            return Stop(kind, detail=f"exception {self._interrupt}")
        if self.counter.stopped or stepped:
            return Stop(StopKind.REQUESTED)
        return Stop(StopKind.SLEEP)

    def invalidate(self, start: int, end: int) -> None:
        """Forget translated and counted code if [start, end), which is about to change, has any."""
        if not self.counter.has_code(start, end):
            return
        self.counter.forget(start, end)
        start, end = start & -_PAGE, (end + _PAGE - 1) & -_PAGE  # as the counter knows pages
        self._traps.forget(start, end)
        self._engine.ctl_remove_cache(start, end)
        self._pages.forget(start, end)

    def code_changed(self) -> None:
        """Forget translated code in RAM."""
        for block in self._memory.memories:
            if block.kind != "flash":
                for origin in block.origins:
                    self.invalidate(origin, origin + block.bytes)

    # State.

    def locate(self, address: int, *, write: bool) -> tuple[int, str]:
        """Return the PC of the register access that is under way, and how to print it."""
        start = self._engine.reg_read(arm.UC_ARM_REG_PC) & 0xFFFF_FFFE
        size = self.counter.executed(start)
        code = self._memory.read(start, size) or b""
        pc = accessing_pc(code, start, address, write=write, register=self.registers.__getitem__)
        if pc is not None:
            return pc, f"PC {pc:#010x}"
        return start, f"PC in the block {start:#010x} to {start + size:#010x}"

    def set_breakpoints(self, addresses: Iterable[int]) -> None:
        """Replace the addresses that the core stops at before executing."""
        wanted = set(addresses)
        for address in set(self._breakpoints) - wanted:
            self._engine.hook_del(self._breakpoints.pop(address))
            self._engine.ctl_remove_cache(address, address + 2)
        for address in wanted - set(self._breakpoints):
            self._breakpoints[address] = self._engine.hook_add(
                uc.UC_HOOK_CODE, self._on_breakpoint, begin=address, end=address
            )
            self._engine.ctl_remove_cache(address, address + 2)
