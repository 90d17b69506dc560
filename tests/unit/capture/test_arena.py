from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import protocol
from harness.bench import load_bench
from harness.boards import load_board
from harness.capture.arena import GRANULARITY, smallest_arena
from harness.capture.session import BoardSession
from harness.errors import DeviceError
from harness.testing import FakeDevice, FakePort, FakeTarget
from support.capture import PLAN, Image

VERIFY = replace(PLAN, verify_arena=True)


def open_session(device: FakeDevice) -> BoardSession:
    port = FakePort(device)
    station = load_bench(None).station("virtual-nucleo_f746zg")
    return BoardSession(station, load_board(station.board), port, FakeTarget(port), ExitStack())


@given(
    capacity=st.integers(1, 400_000),
    needs=st.integers(0, 400_000),
    start=st.integers(0, 500_000),
)
def test_the_search_finds_the_smallest_size_that_works(
    capacity: int, needs: int, start: int
) -> None:
    needs = min(needs, capacity)
    tried: list[int] = []

    def works(size: int) -> bool:
        tried.append(size)
        return size >= needs

    found = smallest_arena(works, start=start, capacity=capacity)
    expected = min(max(GRANULARITY, -(-needs // GRANULARITY) * GRANULARITY), capacity)
    assert found == expected
    assert all(0 < size < capacity and size % GRANULARITY == 0 for size in tried)
    assert len(tried) == len(set(tried)) <= 40


@pytest.mark.parametrize(("needs", "most"), [(22_832, 8), (3_024, 9), (2_676, 4)])
def test_near_the_guess_few_tries_do(needs: int, most: int) -> None:
    used = {22_832: 22_916, 3_024: 2_676, 2_676: 2_676}[needs]
    tried: list[int] = []

    def works(size: int) -> bool:
        tried.append(size)
        return size >= needs

    assert smallest_arena(works, start=used, capacity=250_000) == -(-needs // 16) * 16
    assert len(tried) <= most + 2


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        ("refuse", "8 bytes missing"),
        ("differ", "the outputs differ"),
        ("fault", "the core took a HardFault"),
        ("hang", "no answer"),
    ],
)
@pytest.mark.parametrize("needs", [1000, 1992])
def test_a_size_that_fails_in_any_way_does_not_work(
    monkeypatch: pytest.MonkeyPatch, fails: str, says: str, needs: int
) -> None:
    monkeypatch.setattr("harness.capture.arena._SLACK_S", 0.05)
    device = FakeDevice(arena_needs=needs, arena_fails=fails)
    session = open_session(device)
    capture = session.run(Image(), VERIFY)
    assert capture.arena is not None
    assert capture.arena.min_bytes == -(-needs // 16) * 16
    assert capture.arena.below_bytes == capture.arena.min_bytes - 16
    assert says in (capture.arena.below_message or "")
    assert device.commands[-1] == b"hil-setup"
    assert "arena" in capture.seconds
    # The session is fit for the next image.
    assert session.run(Image(), PLAN).arena is None


def test_a_garbled_answer_is_asked_for_again_and_is_no_failure() -> None:
    seen: set[bytes] = set()

    def first_time_garbled(line: bytes) -> tuple[bytes, ...]:
        if line.startswith(b"m-hil-arena ") and (mark := line.split()[2]) not in seen:
            seen.add(mark)
            return (line.replace(b"rc=0", b"rc=1"),)
        return (line,)

    session = open_session(FakeDevice(mangle=first_time_garbled))
    capture = session.run(Image(), VERIFY)
    assert capture.arena is not None and capture.arena.min_bytes == 1600


def test_a_model_that_fails_in_its_whole_arena_is_an_error() -> None:
    session = open_session(FakeDevice(arena_needs=9999))
    with pytest.raises(DeviceError, match="whole arena of 2000 bytes: 7999 bytes missing"):
        session.run(Image(), VERIFY)


def test_the_arena_s_parts_are_read() -> None:
    session = open_session(FakeDevice())
    assert session.run(Image(), PLAN).arena_parts == (
        protocol.ArenaPart(0, "nonpersistent", 1500, 1490, 1),
        protocol.ArenaPart(1, "persistent", 500, 490, 1),
    )
