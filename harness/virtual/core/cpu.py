"""Run the core: Unicorn with the board's memories, its bus, block counting and breakpoints."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import unicorn
import unicorn.unicorn_py3.unicorn as unicorn_api
from unicorn import arm_const as arm
from unicorn import unicorn_const as uc

from harness.boards.model import Core
from harness.virtual.chip.memory import MemoryMap
from harness.virtual.core.floating import FloatTraps
from harness.virtual.core.locate import accessing_pc
from harness.virtual.native.callbacks import Page
from harness.virtual.native.flash import flash_store
from harness.virtual.time.counting import BlockCounter

_MODELS = {"cortex-m7": arm.UC_CPU_ARM_CORTEX_M7, "cortex-m4": arm.UC_CPU_ARM_CORTEX_M4}
_NEVER = 0xFFFF_FFFF  # an address that is execute-never, so that no run ends by reaching it
_PC_MASK = 0xFFFF_FFFE
_TRANSLATION_BYTES = 64 << 20

# Numbers of DCRSR.REGSEL (ARMv7-M ARM C1.6.3) and what Unicorn calls them.
_GENERAL = (
    *(getattr(arm, f"UC_ARM_REG_R{n}") for n in range(13)),
    arm.UC_ARM_REG_SP,
    arm.UC_ARM_REG_LR,
)
_REGISTERS = {
    **dict(enumerate(_GENERAL)),
    17: arm.UC_ARM_REG_MSP,
    18: arm.UC_ARM_REG_PSP,
    33: arm.UC_ARM_REG_FPSCR,
    **{64 + n: getattr(arm, f"UC_ARM_REG_S{n}") for n in range(32)},
}
_SPECIAL = (  # byte lanes of REGSEL 20
    arm.UC_ARM_REG_PRIMASK,
    arm.UC_ARM_REG_BASEPRI,
    arm.UC_ARM_REG_FAULTMASK,
    arm.UC_ARM_REG_CONTROL,
)
SP, LR, PC, XPSR, MSP, PSP, SPECIAL = 13, 14, 15, 16, 17, 18, 20
XPSR_THUMB = 1 << 24
_HARD_FAULT = 3


_STORE_CFUNC = ctypes.CFUNCTYPE(
    ctypes.c_bool,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_uint64,
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.c_void_p,
)


def _library(name: str) -> Any:
    """Return a function of the library that takes untyped arguments."""
    function = ctypes.CDLL(unicorn_api.uclib._name)[name]
    function.restype = ctypes.c_int
    return function


def _check(status: int) -> None:
    if status != uc.UC_ERR_OK:
        raise unicorn.UcError(status)


class StopKind(Enum):
    """Why the core stopped."""

    REQUESTED = "a stop was asked for"
    BREAKPOINT = "a comparator of the breakpoint unit matched"
    BKPT = "BKPT instruction"
    SVC = "SVC instruction"
    UNDEFINED = "undefined instruction"
    NO_COPROCESSOR = "coprocessor that is not there or not enabled"
    LAZY_STATE = "floating-point instruction while state waits to be saved"
    INVALID_STATE = "branch to an address without the Thumb bit"
    EXCEPTION_RETURN = "exception return"
    READ_FAULT = "read where there is nothing"
    WRITE_FAULT = "write where there is nothing that can be written"
    FETCH_FAULT = "instruction fetch where there is nothing"
    SLEEP = "WFI or WFE with nothing to wake the core"
    UNKNOWN = "the emulator gave up"


@dataclass(frozen=True, slots=True)
class Stop:
    """The end of a run: kind, the address that a fault concerns, the emulator's own words."""

    kind: StopKind
    address: int = 0
    detail: str = ""


# QEMU's exception numbers (target/arm/cpu.h).
_INTERRUPTS = {
    1: StopKind.UNDEFINED,
    2: StopKind.SVC,
    3: StopKind.FETCH_FAULT,
    4: StopKind.READ_FAULT,
    7: StopKind.BKPT,
    8: StopKind.EXCEPTION_RETURN,
    17: StopKind.NO_COPROCESSOR,
    18: StopKind.INVALID_STATE,
}
_ERRORS = {
    uc.UC_ERR_READ_UNMAPPED: StopKind.READ_FAULT,
    uc.UC_ERR_READ_PROT: StopKind.READ_FAULT,
    uc.UC_ERR_WRITE_UNMAPPED: StopKind.WRITE_FAULT,
    uc.UC_ERR_WRITE_PROT: StopKind.WRITE_FAULT,
    uc.UC_ERR_FETCH_UNMAPPED: StopKind.FETCH_FAULT,
    uc.UC_ERR_FETCH_PROT: StopKind.FETCH_FAULT,
    uc.UC_ERR_INSN_INVALID: StopKind.UNDEFINED,
}


class CoreBus(Protocol):
    """What the core reaches that is not memory. Neither method may raise."""

    def core_read(self, address: int, size: int) -> int:
        """Read a register."""

    def core_write(self, address: int, size: int, value: int) -> None:
        """Write a register."""

    def core_flash_write(self, address: int, size: int, value: int) -> bool:
        """Take a store to flash; False makes it fault."""


class Cpu:
    """The core. Used by one thread at a time; only `request_stop` is safe from any.

    Args:
        core: The board's core.
        memory: The board's memories.
        register_pages: First addresses of the 4 KiB pages that hold registers.
        bus: Where register accesses go.
        counter: Counts the executed blocks.
        pages: Register pages with compiled callbacks.
        flash_state: Record of the compiled store to flash.
    """

    def __init__(
        self,
        core: Core,
        memory: MemoryMap,
        register_pages: Iterable[int],
        bus: CoreBus,
        counter: BlockCounter,
        pages: Iterable[Page],
        flash_state: Any,
    ) -> None:
        self._engine: Any = unicorn.Uc(uc.UC_ARCH_ARM, uc.UC_MODE_THUMB)
        # Not UC_MODE_MCLASS, which makes any model a Cortex-M33.
        self._engine.ctl_set_cpu_model(_MODELS[core.cpu])
        # Translations pile up over many firmware images until this is full (default: 1 GiB).
        self._engine.ctl_set_tcg_buffer_size(_TRANSLATION_BYTES)
        self._memory = memory
        self._bus = bus
        self._callbacks: list[Any] = []
        self._pc = 0
        self._interrupt: int | None = None
        self._fault_address = 0
        self._breakpoints: dict[int, int] = {}
        self._step_over: int | None = None
        self._hit = False
        self._trap: StopKind | None = None
        #: CPACR enables floating point.
        self.fpu_enabled = False
        #: Floating-point state waits to be saved (FPCCR.LSPACT).
        self.fpu_lazy = False
        self._single = core.fpu == "fpv5-sp-d16"  # Unicorn's Cortex-M7 has double precision
        self.counter = counter
        # Largest first: after a smaller one, Unicorn 2.1 gives a memory internal addresses that
        # others have too, and stores to RAM then throw translated flash code away.
        for block in sorted(memory.memories, key=lambda memory: -memory.bytes):
            access = uc.UC_PROT_READ | uc.UC_PROT_EXEC
            if block.kind != "flash":
                access |= uc.UC_PROT_WRITE
            for origin in block.origins:
                self._engine.mem_map_ptr(origin, block.bytes, access, block.address)
        fast = {page.address: page for page in pages}
        for address in register_pages:
            self._map_registers(address, bus, fast.get(address))
        self.counter.attach(self._engine)
        self._engine.hook_add(uc.UC_HOOK_INTR, self._on_interrupt)
        self._engine.hook_add(uc.UC_HOOK_MEM_UNMAPPED, self._on_unmapped)
        self._hook_flash(flash_state)
        self._traps = FloatTraps(
            self._engine, memory.read, counter.request_stop, self._on_floating_point
        )

    def _map_registers(self, page: int, bus: CoreBus, fast: Page | None) -> None:
        # Straight to the library, as the Python binding would add two calls to every access.
        core_read, core_write = bus.core_read, bus.core_write

        def read(_engine: Any, offset: int, size: int, _data: Any) -> int:
            return core_read(page + offset, size)

        def write(_engine: Any, offset: int, size: int, value: int, _data: Any) -> None:
            core_write(page + offset, size, value)

        slow = unicorn_api.MMIO_READ_CFUNC(read), unicorn_api.MMIO_WRITE_CFUNC(write)
        self._callbacks.append(slow)
        callbacks = tuple(ctypes.cast(c, ctypes.c_void_p) for c in slow)
        state = None
        if fast is not None:
            fast.state[0].call_read = callbacks[0].value
            fast.state[0].call_write = callbacks[1].value
            callbacks = ctypes.c_void_p(fast.read), ctypes.c_void_p(fast.write)
            state = ctypes.c_void_p(fast.state.ctypes.data)
        map_registers = _library("uc_mmio_map")
        _check(map_registers(
            self._engine._uch, ctypes.c_uint64(page), ctypes.c_size_t(0x1000),
            callbacks[0], state, callbacks[1], state,
        ))  # fmt: skip

    def _hook_flash(self, state: Any) -> None:
        store = _STORE_CFUNC(self._on_flash_write)
        self._callbacks.append(store)
        state[0].call_store = ctypes.cast(store, ctypes.c_void_p).value
        handle = ctypes.c_size_t()
        add_hook = _library("uc_hook_add")
        _check(add_hook(
            self._engine._uch, ctypes.byref(handle), uc.UC_HOOK_MEM_WRITE_PROT,
            ctypes.c_void_p(flash_store.address), ctypes.c_void_p(state.ctypes.data),
            ctypes.c_uint64(1), ctypes.c_uint64(0),
        ))  # fmt: skip

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
        return self._bus.core_flash_write(address, size, value & ((1 << 8 * size) - 1))

    def _on_breakpoint(self, _engine: Any, address: int, _size: int, _data: Any) -> None:
        if self._step_over == address:
            self._step_over = None
            return
        self._hit = True
        self._engine.emu_stop()

    def _on_floating_point(self, double: bool) -> None:
        if not self.fpu_enabled:
            self._trap = StopKind.NO_COPROCESSOR
        elif double and self._single:
            self._trap = StopKind.UNDEFINED
        elif self.fpu_lazy:
            self._trap = StopKind.LAZY_STATE
        else:
            return
        self._engine.emu_stop()

    # Running.

    def run(self) -> Stop:
        """Run until something stops the core."""
        return self._run(stepped=False)

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
            stop = self._run(stepped=True)
            while not started and stop.kind is StopKind.REQUESTED:
                self.counter.clear_stop()  # it was only to trap an instruction
                stop = self._run(stepped=True)
            return stop
        finally:
            self._engine.hook_del(hook)
            self._engine.ctl_flush_tb()

    def _run(self, *, stepped: bool) -> Stop:
        self._traps.apply(
            self._pc,
            singles=self.fpu_lazy or not self.fpu_enabled,
            doubles=self._single,
        )
        self._interrupt, self._hit, self._trap = None, False, None
        self._step_over = self._pc
        error: unicorn.UcError | None = None
        try:
            self._engine.emu_start(self._pc | 1, _NEVER)
        except unicorn.UcError as failure:
            error = failure
        self._pc = self._engine.reg_read(arm.UC_ARM_REG_PC) & _PC_MASK
        if error is not None:
            kind = _ERRORS.get(error.errno, StopKind.UNKNOWN)
            return Stop(kind, self._fault_address, str(error))
        return self._why(stepped=stepped)

    def _why(self, *, stepped: bool) -> Stop:
        """Tell from what the hooks noted why the emulator returned without an error."""
        if self._hit:
            return Stop(StopKind.BREAKPOINT)
        if self._trap is not None:
            return Stop(self._trap)
        if self._interrupt is not None:
            kind = _INTERRUPTS.get(self._interrupt, StopKind.UNKNOWN)
            return Stop(kind, detail=f"exception {self._interrupt}")
        if self.counter.stop_requested or stepped:
            return Stop(StopKind.REQUESTED)
        return Stop(StopKind.SLEEP)

    def request_stop(self) -> None:
        """Stop before the next block. Safe from any thread."""
        self.counter.request_stop()

    def invalidate(self, start: int, end: int) -> None:
        """Forget translated and counted code if [start, end), which is about to change, has any."""
        if not self.counter.has_code(start, end):
            return
        # The counter forgets every block, and would not know later that one was translated.
        self.counter.forget(start, end)
        self._traps.forget()
        for block in self._memory.memories:
            for origin in block.origins:
                self._engine.ctl_remove_cache(origin, origin + block.bytes)

    # State.

    @property
    def pc(self) -> int:
        """Program counter: of the next instruction, or inside a hook of the current block."""
        return self._pc

    @pc.setter
    def pc(self, value: int) -> None:
        self._pc = value & _PC_MASK

    def locate(self, address: int, *, write: bool) -> tuple[int, str]:
        """Return the PC of the register access that is under way, and how to print it."""
        start = self._engine.reg_read(arm.UC_ARM_REG_PC) & _PC_MASK
        size = self.counter.executed(start)
        code = self._memory.read(start, size) or b""
        pc = accessing_pc(code, start, address, write=write, register=self.read_register)
        if pc is not None:
            return pc, f"PC {pc:#010x}"
        return start, f"PC in the block {start:#010x} to {start + size:#010x}"

    def read_register(self, number: int) -> int:
        """Read a register by its DCRSR number."""
        if number == PC:
            return self._pc
        if number == XPSR:
            return int(self._engine.reg_read(arm.UC_ARM_REG_XPSR)) & 0xFFFF_FFFF
        if number == SPECIAL:
            with self._privileged():
                return int.from_bytes(
                    bytes(self._engine.reg_read(r) & 0xFF for r in _SPECIAL), "little"
                )
        with self._privileged() if number in (MSP, PSP) else nullcontext():
            return int(self._engine.reg_read(_REGISTERS[number])) & 0xFFFF_FFFF

    def write_register(self, number: int, value: int) -> None:
        """Write a register by its DCRSR number."""
        if number == PC:
            self._pc = value & _PC_MASK
        elif number == XPSR:
            self._write_xpsr(value)
        elif number == SPECIAL:
            with self._privileged() as thread:
                self._engine.reg_write(arm.UC_ARM_REG_CONTROL, 0)
                self._engine.reg_write(arm.UC_ARM_REG_XPSR, thread)  # handlers cannot set SPSEL
                for register, byte in zip(_SPECIAL, struct.pack("<I", value), strict=True):
                    self._engine.reg_write(register, byte)
        else:
            with self._privileged() if number in (MSP, PSP) else nullcontext():
                self._engine.reg_write(_REGISTERS[number], value)

    def _write_xpsr(self, value: int) -> None:
        self._engine.reg_write(arm.UC_ARM_REG_XPSR_NZCVQG, value)
        # Only this write makes Unicorn notice that mode or privilege changed.
        self._engine.reg_write(arm.UC_ARM_REG_APSR_NZCV, value)

    @contextmanager
    def _privileged(self) -> Iterator[int]:
        """Be in handler mode for a moment, as Unicorn hides registers from unprivileged threads.

        Yields:
            XPSR as it is in thread mode.
        """
        xpsr = self.read_register(XPSR)
        thread = xpsr & ~0x1FF
        self._engine.reg_write(arm.UC_ARM_REG_XPSR, thread | _HARD_FAULT)
        try:
            yield thread
        finally:
            self._write_xpsr(xpsr)

    def has_register(self, number: int) -> bool:
        """Return whether DCRSR number `number` names a register of the core."""
        return number in (PC, XPSR, SPECIAL) or number in _REGISTERS

    def reset(self, stack: int, entry: int) -> None:
        """Give the registers their values after reset (ARMv7-M ARM B1.5.5)."""
        self.write_register(XPSR, XPSR_THUMB)
        self.write_register(SPECIAL, 0)
        for register in _GENERAL:
            self._engine.reg_write(register, 0)
        self._engine.reg_write(arm.UC_ARM_REG_PSP, 0)
        self._engine.reg_write(arm.UC_ARM_REG_MSP, stack & ~3)
        self._engine.reg_write(arm.UC_ARM_REG_LR, 0xFFFF_FFFF)
        self._engine.reg_write(arm.UC_ARM_REG_FPSCR, 0)
        self.fpu_enabled = self.fpu_lazy = False
        self._pc = entry & _PC_MASK

    def follow_fpu(self, *, enabled: bool, lazy: bool) -> None:
        """Follow CPACR and FPCCR, from the next block on."""
        self.fpu_enabled, self.fpu_lazy = enabled, lazy
        self.counter.request_stop()

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
