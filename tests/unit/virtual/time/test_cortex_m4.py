"""The Cortex-M4 model against the reference manual's table, one rule a case."""

from __future__ import annotations

import pytest

from harness.boards import load_board
from harness.virtual.time import timing_model

BOARD = load_board("nucleo_f446re")

# (name, assembly, machine code, cycles)
SNIPPETS = [
    ("alu", "add.w r0, r1, r2; eor.w r3, r0, r4", "01eb020080ea0403", 2),
    (
        "macs",
        "mla r0, r1, r2, r0; smlad r0, r3, r4, r0; smlal r5, r6, r7, r8",
        "01fb020023fb0400c7fb0856",
        3,
    ),
    ("one-load", "ldr r0, [r1]", "0868", 2),
    ("load-then-alu", "ldr r0, [r1]; add.w r2, r0, r3", "086800eb0302", 3),
    ("three-loads", "ldr r0, [r3]; ldr r1, [r4]; ldr r2, [r5]", "186821682a68", 4),
    ("dependent-loads", "ldr r0, [r1]; ldr r2, [r0]", "08680268", 4),
    ("load-then-store", "ldr r0, [r1]; str r0, [r2]", "08681060", 2),
    ("store-then-load", "str r0, [r1]; ldr r2, [r3]", "08601a68", 4),
    ("post-index-one-base", "ldr r0, [r2], #4; ldr r1, [r2], #4", "52f8040b52f8041b", 4),
    ("post-index-two-bases", "ldr r0, [r2], #4; ldr r1, [r3], #4", "52f8040b53f8041b", 3),
    ("indexed-store", "str r0, [r1, r2]", "8850", 2),
    ("address-wait", "add.w r0, r1, r2; ldr r3, [r0]", "01eb02000368", 4),
    ("ldm-4", "ldmia r0!, {r1, r2, r3, r4}", "1ec8", 5),
    ("push-pop", "push {r4, r5, r6, lr}; pop {r4, r5, r6, pc}", "70b570bd", 12),
    ("ldrd", "ldrd r0, r1, [r2]", "d2e90001", 3),
    ("divide", "sdiv r0, r1, r2", "91fbf2f0", 7),
    ("loop-countdown", "l: subs r0, #1; bne.n l", "0138fdd1", 4),
    ("forward-branch", "cmp r0, #0; bne.n .+8", "002802d1", 2),
    ("call", "bl .+8", "00f002f8", 3),
    ("return", "bx lr", "7047", 3),
    ("table-branch", "tbb [pc, r0]", "dfe800f0", 4),
    ("it-block", "cmp r0, r1; it gt; movgt r0, r1", "8842c8bf0846", 3),
    ("fp-chain", "vmul.f32 s0, s1, s2; vadd.f32 s3, s0, s4", "20ee810a70ee021a", 3),
    ("fp-mac", "vfma.f32 s0, s1, s2", "a0ee810a", 3),
    ("fp-divide", "vdiv.f32 s0, s1, s2", "80ee810a", 14),
    ("isb", "isb sy", "bff36f8f", 3),
]


@pytest.mark.parametrize(
    ("code", "cycles"), [(s[2], s[3]) for s in SNIPPETS], ids=[s[0] for s in SNIPPETS]
)
def test_snippet(code: str, cycles: int) -> None:
    assert timing_model(BOARD, "issue").block_cycles(bytes.fromhex(code), 0x0800_0000) == cycles


def test_version_and_name_are_recorded() -> None:
    model = timing_model(BOARD, "issue")
    assert (model.name, model.version) == ("cortex-m4-issue", "2")
