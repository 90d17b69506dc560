"""Micro-benchmarks of the Cortex-M7 model: a few instructions and the cycles that the rules give.

The rules and where they were measured are named in `harness.virtual.time.cortex_m7`. Bytes are
what GNU as makes of the text beside them; `test_assembled_bytes` checks that where it is installed.
"""

from __future__ import annotations

import pytest

from harness.boards import load_board
from harness.virtual.time import timing_model

BOARD = load_board("nucleo_f746zg")

# (name, assembly, machine code, cycles)
SNIPPETS = [
    ("two-independent-adds", "add.w r0, r1, r2; add.w r3, r4, r5", "01eb020004eb0503", 1),
    ("add-feeds-late-alu", "add.w r0, r1, r2; eor.w r3, r0, r4", "01eb020080ea0403", 1),
    (
        "late-alu-does-not-feed-same-cycle",
        "eor.w r0, r1, r2; add.w r3, r0, r4",
        "81ea020000eb0403",
        2,
    ),
    ("movw-movt", "movw r0, #0x1234; movt r0, #0x2000", "41f23420c2f20000", 1),
    (
        "four-independent",
        "mov r0, r8; mov r1, r9; mov r2, r10; mov r3, r11",
        "4046494652465b46",
        2,
    ),
    ("two-macs", "mla r0, r1, r2, r0; mla r3, r4, r5, r3", "01fb020004fb0533", 2),
    (
        "mac-chain",
        "smlad r0, r1, r2, r0; smlad r0, r3, r4, r0; smlad r0, r5, r6, r0; smlad r0, r7, r8, r0",
        "21fb020023fb040025fb060027fb0800",
        4,
    ),
    ("mac-result-latency", "mul r0, r1, r2; eor.w r3, r0, r4", "01fb02f080ea0403", 3),
    ("mac-beside-store", "mla r0, r1, r2, r0; str r3, [r4]", "01fb02002360", 2),
    ("mac-beside-load", "mla r0, r1, r2, r0; ldr r3, [r4]", "01fb02002368", 1),
    ("load-then-alu", "ldr r0, [r1]; eor.w r2, r0, r3", "086880ea0302", 2),
    ("byte-load-then-alu", "ldrb r0, [r1]; eor.w r2, r0, r3", "087880ea0302", 3),
    ("load-then-multiplicand", "ldr r0, [r1]; mul r2, r0, r3", "086800fb03f2", 3),
    ("load-then-accumulator", "ldrb r0, [r1]; mla r0, r2, r3, r0", "087802fb0300", 2),
    ("load-then-shifted-operand", "ldr r0, [r1]; add.w r2, r3, r0, lsl #2", "086803eb8002", 3),
    ("load-then-address", "ldr r0, [r1]; ldr r2, [r0]", "08680268", 3),
    ("two-stores", "str r0, [r1]; str r2, [r3]", "08601a60", 2),
    ("load-beside-its-store", "ldr r0, [r1]; str r0, [r2]", "08681060", 1),
    ("loads-other-bank", "ldr r0, [r2]; ldr r1, [r2, #4]", "10685168", 1),
    ("loads-same-bank", "ldr r0, [r2]; ldr r1, [r2, #8]", "10689168", 2),
    (
        "loads-unknown-banks",
        "ldr r0, [r4]; ldr r1, [r5]; ldr r2, [r6]; ldr r3, [r7]",
        "2068296832683b68",
        3,
    ),
    ("post-index-chain", "ldr r0, [r2], #4; ldr r1, [r2], #4", "52f8040b52f8041b", 2),
    ("two-dsp", "sxtb16 r0, r1; sxtb16 r2, r3", "2ffa81f02ffa83f2", 2),
    ("dsp-older", "sxtb16 r0, r1; add.w r2, r3, r4", "2ffa81f003eb0402", 1),
    ("dsp-younger", "add.w r2, r3, r4; sxtb16 r0, r1", "03eb04022ffa81f0", 2),
    ("sxtb16-with-smlad", "sxtb16 r0, r1; smlad r2, r3, r4, r2", "2ffa81f023fb0422", 1),
    ("early-extract", "eor.w r0, r1, r2; uxtab r3, r4, r0", "81ea020054fa80f3", 3),
    ("two-shifted", "add.w r0, r1, r2, lsl #3; add.w r3, r4, r5, lsl #3", "01ebc20004ebc503", 2),
    ("shifted-constants", "orr.w r0, r1, #0x1fc0; orr.w r2, r3, #0x1fc0", "41f4fe5043f4fe52", 2),
    (
        "pattern-constants",
        "eor.w r0, r1, #0x1b1b1b1b; eor.w r2, r3, #0x1b1b1b1b",
        "81f01b3083f01b32",
        1,
    ),
    ("ldm-4", "ldmia r0!, {r1, r2, r3, r4}", "1ec8", 2),
    ("ldm-5-and-alu", "ldmia r0!, {r1, r2, r3, r4, r5}; add.w r6, r7, r8", "3ec807eb0806", 4),
    ("push-pop", "push {r4, r5, r6, lr}; pop {r4, r5, r6, pc}", "70b570bd", 4),
    ("ldrd-alone", "ldrd r0, r1, [r2]; add.w r3, r4, r5", "d2e9000104eb0503", 2),
    ("divide", "sdiv r0, r1, r2; add.w r3, r4, r5", "91fbf2f004eb0503", 8),
    ("branch-pairs", "add.w r0, r1, r2; bne.n .+8", "01eb020002d1", 1),
    ("loop-countdown", "l: subs r0, #1; bne.n l", "0138fdd1", 1),
    (
        "loop-mac",
        "l: ldr r1, [r3], #4; ldr r2, [r4], #4; smlad r0, r1, r2, r0; subs r5, #1; bne.n l",
        "53f8041b54f8042b21fb0200013df7d1",
        5,
    ),
    ("it-block", "cmp r0, r1; it gt; movgt r0, r1", "8842c8bf0846", 2),
    ("saturate", "ssat r0, #8, r1; eor.w r2, r0, r3", "01f3070080ea0302", 3),
    ("fp-adds", "vadd.f32 s0, s1, s2; vadd.f32 s3, s4, s5", "30ee810a72ee221a", 2),
    ("fp-chain", "vmul.f32 s0, s1, s2; vadd.f32 s3, s0, s4", "20ee810a70ee021a", 4),
    (
        "fma-chain",
        "vfma.f32 s0, s1, s2; vfma.f32 s0, s3, s4; vfma.f32 s0, s5, s6",
        "a0ee810aa1ee820aa2ee830a",
        7,
    ),
    ("fp-divide", "vdiv.f32 s0, s1, s2; add.w r0, r1, r2", "80ee810a01eb0200", 17),
    ("fp-load-beside-add", "vadd.f32 s0, s1, s2; vldr s3, [r0]", "30ee810ad0ed001a", 1),
    ("fp-load-beside-fma", "vfma.f32 s0, s1, s2; vldr s3, [r0]", "a0ee810ad0ed001a", 2),
    ("barrier", "dsb sy; add.w r0, r1, r2", "bff34f8f01eb0200", 4),
    ("table-branch", "tbb [pc, r0]", "dfe800f0", 2),
]


@pytest.mark.parametrize(
    ("code", "cycles"), [(s[2], s[3]) for s in SNIPPETS], ids=[s[0] for s in SNIPPETS]
)
def test_snippet(code: str, cycles: int) -> None:
    assert timing_model(BOARD, "issue").block_cycles(bytes.fromhex(code), 0x0800_0000) == cycles


def test_a_loop_pays_for_what_it_carries_round() -> None:
    # l: ldr r0, [r0]; cmp r0, #0; bne l -- the next address is this iteration's load
    looped = timing_model(BOARD, "issue").block_cycles(bytes.fromhex("00680028fcd1"), 0)
    straight = timing_model(BOARD, "issue").block_cycles(bytes.fromhex("00680028"), 0)
    assert straight == 2
    assert looped == 2  # load to address: available after one cycle, needed one cycle early


def test_the_cost_does_not_depend_on_address_or_history() -> None:
    model = timing_model(BOARD, "issue")
    costs = [model.block_cycles(bytes.fromhex(s[2]), a) for s in SNIPPETS for a in (0, 0x2000_0002)]
    again = timing_model(BOARD, "issue")
    backwards = [again.block_cycles(bytes.fromhex(s[2]), 4) for s in reversed(SNIPPETS)]
    assert costs[::2] == costs[1::2] == backwards[::-1]


def test_empty_block_is_free() -> None:
    assert timing_model(BOARD, "issue").block_cycles(b"", 0) == 0
