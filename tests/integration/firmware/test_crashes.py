"""Networks that crash or hang a virtual board: what the session says, and that it goes on after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.boards import load_board
from harness.errors import (
    ArenaTooSmall,
    AssertionFailed,
    CoreFault,
    DeviceHang,
    HarnessError,
    StackOverflow,
)
from harness.firmware import build
from support import firmware as fakes

BOARDS = ("nucleo_f746zg", "nucleo_f446re", "nucleo_h743zi", "nrf52840_dk")
DEEPER = """
__attribute__((noinline)) static uint32_t deeper(volatile uint32_t *above) {
    volatile uint32_t here[8];
    here[0] = above[0] + 1u;
    return here[0] == 0u ? 0u : deeper(here) + here[0];
}
int model_invoke(void) {
    volatile uint32_t start = 1;
    arena[0] = (uint8_t)deeper(&start);
"""
INVOKE = "int model_invoke(void) {\n"
Run = Callable[..., Any]


@pytest.fixture
def run(library: Any, cache: Any, virtual_board: None) -> Iterator[Run]:
    """Return a function that runs the fake model, with its C changed, on a virtual board."""
    from harness.bench import virtual_bench
    from harness.capture.record import CapturePlan
    from harness.capture.session import BoardSession
    from harness.virtual.registry import discard_machine

    opened: dict[str, Any] = {}
    plan = CapturePlan(0, 1, layers=False, inputs=(bytes(100),), output_bytes=(100,), macs=0)

    def measure(board: str, old: str = "", new: str = "") -> Any:
        assert old in fakes.MODEL_C
        sources = fakes.fake_sources(library, model_c=fakes.MODEL_C.replace(old, new, 1))
        image = build(load_board(board), fakes.fake_model(), sources, cache_dir=cache)
        if board not in opened:
            station = next(s for s in virtual_bench().stations if s.board == board)
            opened[board] = BoardSession.open(station)
        return opened[board].run(image, plan)

    yield measure
    for board, session in opened.items():
        session.close()
        discard_machine(board)


def failure_of(run: Run, board: str, old: str, new: str) -> HarnessError:
    """Return what a network fails with."""
    with pytest.raises(HarnessError) as caught:
        run(board, old, new)
    return caught.value


@pytest.mark.parametrize("board", BOARDS)
def test_a_stack_that_overflows_is_caught_by_the_mpu(run: Run, board: str) -> None:
    failure = failure_of(run, board, INVOKE, DEEPER)
    assert isinstance(failure, StackOverflow)
    assert "the stack overflowed" in failure.what and "the MPU forbids" in failure.what
    # A device that faulted is fine after the next reset.
    assert run(board).outputs == (bytes([1]) * 100,)


def test_an_access_below_the_stack_tells_its_place(run: Run) -> None:
    code = INVOKE + "    *(volatile uint32_t *)0x1FFFFF00u = 1;\n"
    failure = failure_of(run, BOARDS[0], INVOKE, code)
    assert isinstance(failure, StackOverflow)
    assert "(address 0x1fffff00)" in failure.what
    assert "in model_invoke" in failure.what and "bench" in failure.what
    # Further down is no guard, only nothing.
    failure = failure_of(run, BOARDS[0], INVOKE, code.replace("0x1FFFFF00", "0x1FFFDF00"))
    assert type(failure) is CoreFault and "MPU" not in failure.what


def test_an_assertion_that_does_not_hold(run: Run) -> None:
    code = "#include <assert.h>\n" + INVOKE + "    assert(arena[0] == 77);\n"
    failure = failure_of(run, BOARDS[0], INVOKE, code)
    assert isinstance(failure, AssertionFailed)
    assert "in model_invoke (" in failure.what and "arena[0] == 77" in failure.what


def test_an_arena_that_cannot_be_allocated(run: Run) -> None:
    old = "int model_setup(void) { return 0; }\n"
    new = 'int model_setup(void) { error = "48 bytes missing"; return 4; }\n'
    new = "static const char *error;\n" + new
    failure = failure_of(run, BOARDS[0], old, new)
    assert isinstance(failure, ArenaTooSmall) and "48 bytes missing" in failure.what


def test_an_inference_without_end_meets_a_deadline(run: Run) -> None:
    failure = failure_of(run, BOARDS[0], INVOKE, INVOKE + "    while (arena[0] != 77) {\n    }\n")
    assert isinstance(failure, DeviceHang)
    assert "the timed run, and the device does not answer any more" in failure.what
