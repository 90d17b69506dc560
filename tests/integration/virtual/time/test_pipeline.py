"""The pipeline models: each rule as a few instructions that run on a virtual board.

Expected cycles and where they were measured or documented are named at the constants of
`pipeline_m7` and `pipeline_m4`. What a rule costs here is the difference between two programs, or
the count of its event.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import needs
from support.needs import EMULATOR

pytest.importorskip("unicorn", reason=EMULATOR)

from harness.boards import load_board
from harness.errors import VirtualError
from harness.virtual.machine import VirtualMachine
from harness.virtual.time import events, timing_model
from harness.virtual.time.counting import BlockCost
from harness.virtual.time.pipeline_m4 import SPLIT_LOAD, TARGET_UNALIGNED
from harness.virtual.time.pipeline_m7 import (
    BUS_FLASH,
    MISPREDICTED,
    MISPREDICTED_EARLY,
    UNALIGNED,
    fetch_cycles,
)

F746, F767, F446 = "nucleo_f746zg", "nucleo_f767zi", "nucleo_f446re"
CACHES_ON = "ldr r0, =0xE000ED14; ldr r1, [r0]; orr r1, #0x30000; str r1, [r0]; dsb; isb"
SRAM = 0x2001_0000  # behind the data cache on the F746; DTCM is before it


@dataclass(frozen=True)
class Ran:
    """What a program did: blocks, their total, and counts of events by number."""

    blocks: list[BlockCost]
    cycles: int
    counts: Counter[int]


def run(program: str, board: str, folder: Path, *, timing: str = "pipeline") -> Ran:
    """Assemble `program` behind a vector table, run it to its BKPT and count."""
    source, obj, binary = folder / "p.s", folder / "p.o", folder / "p.bin"
    head = [".syntax unified", ".thumb", ".cpu cortex-m7", ".fpu fpv5-sp-d16"]
    vectors = [".word 0x20004000", ".word start + 1", ".balign 64", "start:"]
    tail = ["bkpt 1", ".pool"]
    source.write_text("\n".join([*head, *vectors, *program.split("; "), *tail]) + "\n")
    subprocess.run(["arm-none-eabi-as", str(source), "-o", str(obj)], check=True)
    copy = ["arm-none-eabi-objcopy", "-O", "binary", str(obj), str(binary)]
    subprocess.run(copy, check=True)
    # The linker would add the origin of flash.
    image = bytearray(binary.read_bytes())
    image[4:8] = (int.from_bytes(image[4:8], "little") + 0x0800_0000).to_bytes(4, "little")
    found = load_board(board)
    machine = VirtualMachine(found, model=timing_model(found, timing))
    try:
        machine.core.halt()
        machine.memory.flash.data[: len(image)] = image
        machine.core.reset()
        machine.core.wait_halted(30)
        assert machine.core.locked_up
        blocks = machine.cpu.counter.snapshot()
    finally:
        machine.close()
    counts: Counter[int] = Counter()
    cycles = 0
    for block in blocks:
        counts.update({n: c for n, c in enumerate(block.events) if c})
        cycles += block.count * block.cycles
        cycles += sum(n * p for n, p in zip(block.events, block.event_cycles, strict=True))
    return Ran(blocks, cycles, counts)


@needs.compiler
def test_a_loop_is_predicted_but_for_its_end(tmp_path: Path) -> None:
    loop = "movs r0, #100; l: subs r0, #1; bne.n l"
    ran = run(f"{CACHES_ON}; {loop}", F746, tmp_path)
    assert ran.counts[events.MISPREDICTED] == 1
    assert ran.counts[events.TAKEN] == 99


@needs.compiler
def test_an_alternating_branch_is_not_predicted(tmp_path: Path) -> None:
    # Taken every other time: a two-bit counter is wrong half the time or always.
    body = "l: tst r0, #1; beq.n e; nop; e: subs r0, #1; bne.n l"
    ran = run(f"{CACHES_ON}; movs r0, #100; {body}", F746, tmp_path)
    assert 49 <= ran.counts[events.MISPREDICTED] <= 101


def test_early_flags_shorten_a_misprediction() -> None:
    # subs r0, #1; bne -- and with three cycles of dependent work between [J].
    model = timing_model(load_board(F746), "pipeline")
    late = bytes.fromhex("0138fdd1")
    early = bytes.fromhex("0138" + "81ea0202" * 4 + "f5d1")  # eor.w r2, r1, r2, four times
    assert model.event_cycles(late, 0)[events.MISPREDICTED] == MISPREDICTED
    assert model.event_cycles(early, 0)[events.MISPREDICTED] == MISPREDICTED_EARLY


def test_fetch_bounds_a_loop_across_windows() -> None:
    # Eight bytes fetched a cycle: a four-byte loop at offset 6 touches two aligned windows.
    loop = bytes.fromhex("0138fdd1")
    assert fetch_cycles(loop, 0x0800_0000) == 1
    assert fetch_cycles(loop, 0x0800_0006) == 2
    model = timing_model(load_board(F746), "pipeline")
    assert model.block_cycles(loop, 0x0800_0006) == model.block_cycles(loop, 0x0800_0000) + 1


@needs.compiler
@pytest.mark.parametrize(("board", "low", "high"), [(F746, 384, 514), (F767, 256, 258)])
def test_data_cache_holds_what_fits(board: str, low: int, high: int, tmp_path: Path) -> None:
    # 8 KiB of flash read twice, a word of each of its 256 lines, and up to two literals: 4 KiB of
    # cache keep half of it at most, 16 KiB all.
    sweep = "ldr r1, =0x08010000; mov r2, #256; {0}: ldr r3, [r1], #32; subs r2, #1; bne.n {0}"
    ran = run(f"{CACHES_ON}; {sweep.format('a')}; {sweep.format('b')}", board, tmp_path)
    assert low <= ran.counts[events.DCACHE_FLASH] <= high


@needs.compiler
def test_tightly_coupled_memory_has_no_misses(tmp_path: Path) -> None:
    sweep = "ldr r1, ={0}; mov r2, #128; l: ldr r3, [r1], #32; subs r2, #1; bne.n l"
    tcm = run(f"{CACHES_ON}; {sweep.format(0x2000_8000)}", F746, tmp_path)
    ram = run(f"{CACHES_ON}; {sweep.format(SRAM)}", F746, tmp_path)
    assert tcm.counts[events.DCACHE_RAM] == 0
    assert ram.counts[events.DCACHE_RAM] == 128
    assert ram.cycles > tcm.cycles


@needs.compiler
def test_a_miss_costs_the_wait_states_of_the_board(tmp_path: Path) -> None:
    load = "ldr r1, =0x08010000; {0}; ldr r3, [r1]; ldr r3, [r1]"
    board = load_board(F746)
    ran = run(f"{CACHES_ON}; {load.format('nop')}", F746, tmp_path)
    prices = {b.event_cycles[events.DCACHE_FLASH] for b in ran.blocks}
    assert prices == {board.facts.clock.flash_wait_states + 1 + BUS_FLASH}


@needs.compiler
def test_caches_that_are_off_always_miss(tmp_path: Path) -> None:
    loads = f"ldr r1, ={SRAM}; movs r2, #10; l: ldr r3, [r1]; subs r2, #1; bne.n l"
    off = run(loads, F746, tmp_path)
    on = run(f"{CACHES_ON}; {loads}", F746, tmp_path)
    assert off.counts[events.DCACHE_RAM] == 10
    assert on.counts[events.DCACHE_RAM] == 1


@needs.compiler
def test_unaligned_loads_cost_three_cycles(tmp_path: Path) -> None:
    loop = "ldr r1, ={0}; movs r2, #50; l: ldr r3, [r1]; subs r2, #1; bne.n l"
    aligned = run(f"{CACHES_ON}; {loop.format(0x2000_8000)}", F746, tmp_path)
    unaligned = run(f"{CACHES_ON}; {loop.format(0x2000_8002)}", F746, tmp_path)
    assert unaligned.counts[events.UNALIGNED] == 50
    assert unaligned.cycles - aligned.cycles == 50 * UNALIGNED


@needs.compiler
@pytest.mark.parametrize(("step", "unaligned"), [(4, 0), (2, 64)])
def test_loads_that_walk_into_another_memory(step: int, unaligned: int, tmp_path: Path) -> None:
    """From DTCM into cached RAM: what an address met before says nothing about the next one."""
    loads = f"l: ldr r3, [r2]; ldr r4, [r2, #8]; adds r2, #{step}; subs r0, #1; bne.n l"
    walk = f"ldr r2, ={SRAM - 64}; movs r0, #{128 // step}; {loads}"
    ran = run(f"{CACHES_ON}; {walk}", F746, tmp_path)
    assert ran.counts[events.UNALIGNED] == unaligned
    assert ran.counts[events.SPLIT_LOAD] == 8 // step
    assert ran.counts[events.DCACHE_RAM] == 3


@needs.compiler
def test_m4_pays_the_refill_only_where_a_branch_is_taken(tmp_path: Path) -> None:
    # [T]: 1 + P where taken (P = 2), 1 where not.
    loop = "movs r0, #{0}; .balign 4; l: subs r0, #1; bne.n l"
    short, long = (run(loop.format(n), F446, tmp_path) for n in (10, 110))
    assert long.cycles - short.cycles == 100 * (1 + 1 + 2)


@needs.compiler
def test_m4_pays_for_an_unaligned_wide_target(tmp_path: Path) -> None:
    # [A]: "branches to unaligned wide instructions take one extra cycle".
    loop = "movs r0, #100; .balign 4; {0}l: subs.w r0, r0, #1; bne.n l"
    aligned = run(loop.format(""), F446, tmp_path)
    unaligned = run(loop.format("nop; "), F446, tmp_path)
    assert unaligned.cycles - aligned.cycles == 1 + 99 * TARGET_UNALIGNED


@needs.compiler
def test_m4_keeps_eight_lines_of_data(tmp_path: Path) -> None:
    # RM0390 3.4.2: 8 lines of 128 bits: 128 bytes in a loop stay, 256 do not.
    sweep = (
        "movs r5, #10; o: ldr r1, =0x08010000; movs r2, #{0}; l: ldr r3, [r1], #16; subs r2, #1; "
        "bne.n l; subs r5, #1; bne.n o"
    )
    few = run(sweep.format(4), F446, tmp_path)
    many = run(sweep.format(16), F446, tmp_path)
    assert few.counts[events.DCACHE_FLASH] <= 4 + 2
    assert many.counts[events.DCACHE_FLASH] >= 160


@needs.compiler
def test_m4_loads_of_two_memories_are_not_pipelined(tmp_path: Path) -> None:
    # [J]: "load pipelining happens only when targeting the same memory block by all loads".
    pair = (
        "ldr r1, =0x08010000; ldr r2, ={0}; movs r0, #100; .balign 4; "
        "l: ldr r3, [r1]; ldr r4, [r2]; subs r0, #1; bne.n l"
    )
    same = run(pair.format(0x0801_0004), F446, tmp_path)
    other = run(pair.format(0x2000_0104), F446, tmp_path)
    split = other.counts[events.SPLIT_LOAD] - same.counts[events.SPLIT_LOAD]
    assert split == 100
    assert other.cycles - same.cycles == 100 * SPLIT_LOAD


@needs.compiler
@pytest.mark.parametrize("board", [F746, F446])
def test_same_program_same_cycles(board: str, tmp_path: Path) -> None:
    program = (
        f"ldr r1, ={SRAM if board == F746 else 0x2000_4000}; mov r2, #500; "
        "l: ldr r3, [r1], #12; str r3, [r1, #64]; tst r2, #4; beq.n e; adds r4, r3; e: subs r2, #1;"
        " bne.n l"
    )
    head = f"{CACHES_ON}; " if board == F746 else ""
    first, second = (run(head + program, board, tmp_path) for _ in range(2))
    assert (first.cycles, first.counts, first.blocks) == (
        second.cycles,
        second.counts,
        second.blocks,
    )


@needs.compiler
def test_the_issue_model_stays_without_events(tmp_path: Path) -> None:
    ran = run("movs r0, #100; l: subs r0, #1; bne.n l", F746, tmp_path, timing="issue")
    assert ran.counts == Counter()
    assert not any(any(block.events) or any(block.event_cycles) for block in ran.blocks)


def test_model_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_TIMING", "pipeline")
    for board, name in ((F746, "cortex-m7-pipeline"), (F446, "cortex-m4-pipeline")):
        loaded = load_board(board)
        model = timing_model(loaded)
        assert model.identity == f"{name}/1"
    monkeypatch.setenv("HARNESS_TIMING", "exact")
    with pytest.raises(VirtualError, match="exact"):
        timing_model(load_board(F746))
