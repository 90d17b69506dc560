"""Build the program of `source` with the kernels of a release, and run it on a virtual board."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ConfigError, VirtualError
from studies.fidelity.source import CYCLES_WORDS, TOTAL

if TYPE_CHECKING:
    from harness.boards import Board
    from harness.virtual.machine import VirtualMachine
    from harness.virtual.time.counting import BlockCost

_RUN_S = 300
_STACK_BYTES = 8192
_COMPILER = "arm-none-eabi-gcc"
_FPU = {"cortex-m7": "fpv5-sp-d16", "cortex-m4": "fpv4-sp-d16"}
_FOLDERS = (
    "ConvolutionFunctions", "NNSupportFunctions", "PoolingFunctions", "FullyConnectedFunctions",
)  # fmt: skip

_SUPPORT = (
    "arm_q7_to_q15_with_offset", "arm_q7_to_q15_no_shift", "arm_nn_accumulate_q7_to_q15",
)  # fmt: skip

_HEADERS = ("arm_math_types.h", "arm_math.h", "arm_common_tables.h", "arm_math_memory.h")

# Enable FPU, counter and caches, run (the second time is warm), and stop.
_START = """#include <stdint.h>
#define REG(address) (*(volatile uint32_t *)(address))
extern uint32_t stack_top, data_start, data_end, data_load;
void network(void);
volatile uint32_t cycles[%d];
__attribute__((noreturn)) void reset(void) {
    REG(0xE000ED88) |= 0xF << 20;
    __asm volatile("dsb\\n isb");
    for (uint32_t *from = &data_load, *to = &data_start; to < &data_end;) *to++ = *from++;
    REG(0xE000EDFC) |= 1 << 24;
    REG(0xE0001FB0) = 0xC5ACCE55;
    REG(0xE0001000) |= 1;
    if ((REG(0xE000ED00) & 0xFFF0) == 0xC270) REG(0xE000ED14) |= CACHES;
    __asm volatile("dsb\\n isb");
    for (int pass = 0; pass < PASSES; pass++) network();
    /* Semihosting's SYS_EXIT, for an emulator that has it; a breakpoint for one that has not. */
    register uint32_t what __asm("r0") = 0x18, why __asm("r1") = 0x20026;
    __asm volatile("bkpt 0xAB" ::"r"(what), "r"(why));
    for (;;) {}
}
__attribute__((section(".vectors"), used)) void *const vectors[] = {&stack_top, reset};
"""
_SCRIPT = """MEMORY
{
    FLASH (rx) : ORIGIN = %#x, LENGTH = 512K
    RAM (rw) : ORIGIN = 0x20000000, LENGTH = %d
}
SECTIONS
{
    .vectors : { KEEP(*(.vectors)) } >FLASH
    .text : { *(.text*) *(.rodata*) } >FLASH
    .ARM.exidx : { *(.ARM.exidx*) } >FLASH
    .stack (NOLOAD) : { . += %d; stack_top = .; } >RAM
    .data : { data_start = .; *(.data*); . = ALIGN(4); data_end = .; } >RAM AT>FLASH
    data_load = LOADADDR(.data);
    .bss (NOLOAD) : { *(.bss*) *(COMMON) } >RAM
    .arena (NOLOAD) : { *(.arena.1) *(.arena.2) *(.arena.3) } >RAM
}
"""
# What CMSIS-NN of 2020 took from CMSIS-DSP's headers.
_TYPES = """#pragma once
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "cmsis_compiler.h"
typedef int8_t q7_t;
typedef int16_t q15_t;
typedef int32_t q31_t;
typedef int64_t q63_t;
typedef float float32_t;
typedef enum { ARM_MATH_SUCCESS = 0, ARM_MATH_ARGUMENT_ERROR = -1, ARM_MATH_SIZE_MISMATCH = -3 }
    arm_status;
#define Q31_MAX ((q31_t)0x7FFFFFFF)
#define Q31_MIN ((q31_t)0x80000000)
static inline void write_q15x2_ia(q15_t **at, q31_t value) {
    memcpy(*at, &value, 4);
    *at += 2;
}
"""


@dataclass(frozen=True, slots=True)
class Replay:
    """A run of kernels.

    Attributes:
        board: Where.
        timing: Name and version of the model.
        cycles: Modelled cycles of the second pass.
        layers: The same by layer.
        blocks: What each basic block cost in both passes.
        latency_ms: `cycles` at the board's clock.
    """

    board: str
    timing: str
    cycles: int
    layers: tuple[int, ...]
    blocks: tuple[BlockCost, ...]
    latency_ms: float


def build(
    source: str,
    board: Board,
    kernels: Path,
    *,
    optimization: str,
    folder: Path,
    passes: int = 2,
    flash: int | None = None,
    data_cache: bool = True,
) -> Path:
    """Compile `source` with the CMSIS-NN tree `kernels` and return the ELF.

    Args:
        source: C of `void network(void)`.
        board: Core and memories.
        kernels: CMSIS-NN tree.
        optimization: Compiler flag.
        folder: Where to build.
        passes: How often the network runs; the cycles are those of the last time.
        flash: First address of code; the board's flash unless another machine is to run it.
        data_cache: Whether the program switches it on, where there is one.

    Raises:
        ConfigError: The tree is not CMSIS-NN.
        VirtualError: The compiler refused it.
    """
    import bakenn

    if not (kernels / "Include/arm_nnfunctions.h").is_file():
        raise ConfigError(
            f"no CMSIS-NN in {kernels}",
            expected="a folder with Include/arm_nnfunctions.h and Source",
            fix="git archive the release you want from ARM-software/CMSIS-NN",
        )
    folder.mkdir(parents=True, exist_ok=True)
    core = board.facts.core.cpu
    ram = sum(r.bytes for r in board.facts.memory if r.kind == "ram")
    origin = board.flash.origin if flash is None else flash
    (folder / "link.ld").write_text(_SCRIPT % (origin, ram, _STACK_BYTES))
    (folder / "start.c").write_text(_START % CYCLES_WORDS)
    (folder / "network.c").write_text(source)
    for name in _HEADERS:
        (folder / name).write_text(
            _TYPES if name == "arm_math_types.h" else '#include "arm_math_types.h"\n'
        )
    vendored = Path(bakenn.__file__).parent / "backend/cmsis_nn/vendor/cmsis_core/Include"
    found = [p for f in _FOLDERS for p in sorted((kernels / "Source" / f).glob("*s8*.c"))]
    # The linker drops what a release does not use.
    found += [p for name in _SUPPORT for p in sorted((kernels / "Source").glob(f"*/{name}.c"))]
    elf = folder / "replay.elf"
    command = [
        shutil.which(_COMPILER) or _COMPILER, f"-mcpu={core}", "-mthumb", f"-mfpu={_FPU[core]}",
        "-mfloat-abi=hard", optimization, "-DARM_MATH_DSP", "-D__FPU_PRESENT=1",
        f"-DPASSES={passes}", f"-DCACHES={3 if data_cache else 2}<<16", "-w",
        "-ffunction-sections", "-Wl,--gc-sections", "-nostartfiles", f"-I{folder}",
        f"-I{kernels / 'Include'}", f"-I{vendored}", "-T", str(folder / "link.ld"),
        str(folder / "start.c"), str(folder / "network.c"), *map(str, found), "-o", str(elf),
        "-lm",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VirtualError("the kernels do not compile", fix=done.stderr[-1000:])
    return elf


def run(elf: Path, board: Board, *, timing: str, layers: int) -> Replay:
    """Run a built program on a virtual board with the timing model of that name.

    Raises:
        VirtualError: It did not come to its end.
    """
    from harness.virtual.machine import VirtualMachine
    from harness.virtual.time import timing_model

    machine = VirtualMachine(board, model=timing_model(board, timing))
    try:
        machine.core.halt()
        at = load(elf, machine)
        machine.chip.flash.power_on()  # or an L4 that was empty starts its boot loader
        machine.core.reset()
        machine.core.wait_halted(_RUN_S)
        if not machine.core.locked_up:
            raise VirtualError(f"the replay did not end within {_RUN_S} s", where=str(elf))
        raw = machine.memory.read(at, 4 * CYCLES_WORDS) or b""
        words = struct.unpack(f"<{CYCLES_WORDS}I", raw)
        return Replay(
            board=board.id,
            timing=machine.model.identity,
            cycles=words[TOTAL],
            layers=words[:layers],
            blocks=tuple(machine.cpu.counter.snapshot()),
            latency_ms=1000 * words[TOTAL] / board.clock_hz,
        )
    finally:
        machine.close()


def load(elf: Path, machine: VirtualMachine) -> int:
    """Put a built program into the flash of a halted machine; return where its cycles will be.

    Raises:
        VirtualError: It does not fit the board.
    """
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as file:
        content = ELFFile(file)
        for segment in content.iter_segments():
            if segment["p_type"] != "PT_LOAD" or not segment["p_filesz"]:
                continue
            found = machine.memory.find(segment["p_paddr"])
            if found is None:
                raise VirtualError(f"no memory at {segment['p_paddr']:#010x}")
            memory, offset = found
            memory.data[offset : offset + segment["p_filesz"]] = segment.data()
        symbols = content.get_section_by_name(".symtab")
        return int(symbols.get_symbol_by_name("cycles")[0]["st_value"])
