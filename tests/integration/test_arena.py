"""The search for the smallest arena, on a firmware that fails in every way there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bench import virtual_bench
from harness.boards import load_board
from harness.capture import CapturePlan
from harness.capture.session import BoardSession
from harness.firmware import build
from harness.results import open_store
from support import firmware as fakes

pytestmark = pytest.mark.usefixtures("virtual_board")
NEEDS = 96
DATA = bytes(range(100))
FAILURES = {
    "refuses": ("return 7;", "100% full: more, please"),
    "gives-other-outputs": ("wrong = 1; return 0;", "the outputs differ"),
    "faults": ('__asm__ volatile("udf #0"); return 0;', "the core took a"),
    "overflows-its-stack": (
        "return model_setup_in(bytes) + (int)bytes;",
        "the stack overflowed",
    ),
    "hangs": ("for (;;) {}", "no answer"),
}


def failing_model(statement: str) -> str:
    """Return the fake model, doing `statement` where its arena is smaller than it needs."""
    source: str = fakes.MODEL_C
    start = source.index("int model_setup_in(")
    end = source.index("uint32_t model_arena_part_count")
    setup = f"""
static volatile uint32_t wrong;
__attribute__((optimize("O0"))) int model_setup_in(uint32_t bytes) {{
    wrong = 0;
    error = "";
    if (bytes < {NEEDS}u) {{
        error = "100% full: more, please";
        {statement}
    }}
    return 0;
}}
"""
    flip = "kernel_flip(arena + BYTES, arena, BYTES, weights[0]);"
    return source[:start] + setup + source[end:].replace(flip, flip + " arena[BYTES] ^= wrong;")


@pytest.mark.parametrize("way", FAILURES)
def test_the_smallest_arena_is_found_however_smaller_ones_fail(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.capture.arena._SLACK_S", 0.5)
    statement, says = FAILURES[way]
    board = load_board("nucleo_f746zg")
    model_c = failing_model(statement)
    sources = fakes.fake_sources(tmp_path / "library", model_c=model_c)
    image = build(board, fakes.fake_model(), sources)
    plan = CapturePlan(
        warmup=1, repeats=2, layers=True, inputs=(DATA,), output_bytes=(100,), macs=100,
        verify_arena=True,
    )  # fmt: skip
    station = virtual_bench().station("virtual-nucleo_f746zg")
    with BoardSession.open(station) as session:
        capture = session.run(image, plan)
        again = session.run(image, plan)
    assert capture.outputs == (bytes(byte ^ 1 for byte in DATA),)
    assert capture.arena is not None and again.arena == capture.arena
    assert (capture.arena.min_bytes, capture.arena.below_bytes) == (NEEDS, NEEDS - 16)
    assert says in (capture.arena.below_message or "")


def test_aot_needs_exactly_what_it_planned(
    harness: Callable[..., Any], tiny: Path, tmp_path: Path
) -> None:
    database = tmp_path / "a.sqlite"
    answer = harness("measure", tiny, "--verify-arena", "--db", database, "--json")
    assert answer.code == 0, answer.err
    with open_store(database) as store:
        (row,) = store.query()
    assert row.arena_min_bytes == row.arena_planned_bytes == row.arena_bytes
    assert "static plan" in (row.arena_below_message or "")
    assert row.arena_parts is not None and list(row.arena_parts)[:2] == [
        "nonpersistent", "persistent",
    ]  # fmt: skip
    assert row.additivity_gap is not None and abs(row.additivity_gap) < 0.02
    shown = harness("results", row.key[:12], "--db", database, "--plot", tmp_path / "memory.png")
    assert shown.code == 0, shown.err
    assert "arena verified minimum" in shown.out and "the layers add up to" in shown.out
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")
    assert "× best" in harness("results", "--compare", "--db", database).out
