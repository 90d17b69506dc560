"""The core path on all boards: boot, console, cycles, faults, errors, reset."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness.errors import VirtualError

_IN_A_PROCESS = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from support.board import Bench, power_on
elf = Path(sys.argv[2])
bench = Bench(power_on(elf.stem))
bench.load(elf)
print(*[bench.ask(b"t") for _ in range(3)], sep=",")
bench.machine.close()
"""


def test_echo(bench: Any) -> None:
    assert bench.ask(b"ehello, board%") == "hello, board"


def test_a_long_echo_passes_the_rings_unchanged(bench: Any) -> None:
    text = bytes(random.Random(1).choices(b"abcdefgh0123456789", k=40_000))
    bench.console.write(b"e" + text + b"%")
    assert bench.line() == text.decode()


def test_unique_id_is_the_machine_s_and_differs_between_boards(bench: Any) -> None:
    words = bench.ask(b"i")
    uid = b"".join(bytes.fromhex(words[i : i + 8])[::-1] for i in (0, 8, 16))
    assert uid == bench.machine.chip.uid
    assert uid.startswith(b"VIRT")


def test_clock_is_the_board_s_maximum(bench: Any) -> None:
    assert bench.machine.chip.clock.hclk_hz == bench.machine.board.clock_hz


def test_cycles_repeat_exactly_while_the_core_is_stopped_and_the_host_is_busy(bench: Any) -> None:
    calm = {bench.ask(b"t") for _ in range(20)}
    assert len(calm) == 1
    done = threading.Event()

    def pester() -> None:
        while not done.is_set():
            bench.machine.core.halt()
            bench.machine.core.resume()
            time.sleep(0.0002)

    def burn() -> None:
        while not done.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=work) for work in (pester, burn)]
    for thread in threads:
        thread.start()
    busy = {bench.ask(b"t") for _ in range(20)}
    done.set()
    for thread in threads:
        thread.join()
    assert busy == calm


def test_cycles_are_equal_in_fresh_processes(tiny: Path) -> None:
    here = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", _IN_A_PROCESS, here, str(tiny)]
    runs = {
        subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2)
    }
    assert len(runs) == 1
    assert len(set(runs.pop().strip().split(","))) == 1


def test_waiting_for_input_takes_modelled_time_but_no_host_time(bench: Any) -> None:
    bench.ask(b"t")
    # Of this board's own thread: other boards of the process may be busy.
    clock = time.pthread_getcpuclockid(bench.machine.core.thread_id)
    before, host = bench.machine.cpu.counter.cycles(), time.clock_gettime(clock)
    time.sleep(0.5)
    used = time.clock_gettime(clock) - host
    bench.ask(b"t")
    waited = (bench.machine.cpu.counter.cycles() - before) / bench.machine.board.clock_hz
    assert 0.4 < waited < 5
    assert used < 0.2


def test_a_board_that_nobody_listens_to_leaves_the_host_alone(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    usart = bench.machine.chip.console
    status = usart._status_flags
    monkeypatch.setattr(usart, "_status_flags", lambda: asked.append(1) or status())
    bench.console.close()
    time.sleep(0.5)
    assert len(asked) < 200  # some before it waits, then twenty a second


@pytest.mark.parametrize(
    ("command", "cfsr"),
    [
        (b"u", "00010000"),  # UNDEFINSTR
        (b"m", "00008200"),  # PRECISERR, BFARVALID
        (b"w", "00000400"),  # IMPRECISERR: store to flash without PG
        (b"l", "00000100"),  # IBUSERR
    ],
)
def test_a_fault_reaches_the_hardfault_handler_and_returns(
    bench: Any, command: bytes, cfsr: str
) -> None:
    text = bench.ask(command)
    assert text.startswith("fault pc=")
    assert f"cfsr={cfsr}" in text
    assert "hfsr=40000000" in text
    assert bench.line() == "survived"
    assert bench.ask(b"eon%") == "on"


def test_reset_by_software_sets_the_flag(bench: Any) -> None:
    first = int(bench.ask(b"c"), 16)
    assert first & 1 << 27  # power-on
    assert bench.ask(b"r") == "ready"
    assert int(bench.ask(b"c"), 16) & 0xFE00_0000 == 1 << 28 | 1 << 26
    bench.machine.core.reset()
    assert bench.line() == "ready"
    assert int(bench.ask(b"c"), 16) & 0xFE00_0000 == 1 << 26


@pytest.mark.parametrize(("command", "block"), [(b"p", "no peripheral is modelled"), (b"q", "ART")])
def test_an_access_that_is_not_modelled_stops_the_run(
    bench: Any, command: bytes, block: str
) -> None:
    with pytest.raises(VirtualError) as caught:
        bench.ask(command)
    assert block in str(caught.value)
    assert f"{caught.value.data['address']:#010x}" in str(caught.value)
    pc = caught.value.data["pc"]
    assert f"PC {pc:#010x}" in str(caught.value)
    first = int.from_bytes(bench.machine.memory.read(pc, 2), "little")
    assert first & 0xFF70 == 0xF850 or first & 0xF800 == 0x6800  # ldr.w or ldr
    with pytest.raises(VirtualError):
        bench.console.write(b"x")
    bench.machine.core.reset()
    assert bench.line() == "ready"


def test_bytes_before_an_error_are_read_first(bench: Any) -> None:
    bench.console.write(b"ebefore%p")
    assert bench.line() == "before"
    with pytest.raises(VirtualError):
        bench.line()


def test_wfi_sleeps_until_reset(bench: Any) -> None:
    bench.console.write(b"s")
    deadline = time.monotonic() + 5
    while not bench.machine.core.sleeping:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    bench.machine.core.reset()
    assert bench.line() == "ready"


def test_another_baud_rate_on_the_host_is_reported(bench: Any) -> None:
    bench.console.baud = 9600
    with pytest.raises(VirtualError, match=r"115\d+ baud, the console is opened at 9600"):
        bench.ask(b"ex%")


def test_an_erased_board_is_silent(erased: Any) -> None:
    erased.core.wait_halted(5)
    assert erased.core.locked_up
    assert erased.core.error is None
    assert erased.console.open("test", 115200)
    assert erased.console.read(1, 0.05, lambda: False) == b""


def test_a_fault_without_a_handler_locks_up(erased: Any) -> None:
    erased.core.halt()
    erased.memory.flash.data[0:8] = bytes.fromhex("0040002009000008")  # stack, entry 0x08000008
    erased.memory.flash.data[8:10] = bytes.fromhex("00de")  # udf #0
    erased.core.reset()
    erased.core.wait_halted(5)
    assert erased.core.error is not None
    assert "locked up" in str(erased.core.error)
    assert erased.core.error.data["pc"] == 0x0800_0008


def test_reflashed_code_runs_and_is_priced_anew(bench: Any, tiny: Path) -> None:
    before = bench.ask(b"t")
    machine = bench.machine
    machine.core.halt()
    flash = machine.memory.flash
    for origin in flash.origins:
        machine.cpu.invalidate(origin, origin + 0x4000)
    at = bytes(flash.data[:0x4000]).index(b"ready\r\n\0")
    flash.data[at : at + 5] = b"other"
    machine.core.reset()
    assert bench.line() == "other"
    assert bench.ask(b"t") == before


@pytest.mark.parametrize(
    "board_id", ["nucleo_f746zg", "nucleo_f767zi", "nucleo_f446re", "nucleo_l4r5zi"]
)
def test_stores_to_ram_leave_translated_flash_code_alone(board_id: str) -> None:
    from unicorn.unicorn_const import UC_HOOK_EDGE_GENERATED

    from harness.boards import load_board
    from harness.virtual.machine import VirtualMachine

    machine = VirtualMachine(load_board(board_id), block_cycles=lambda code, address: 1)
    machine.core.halt()
    flash, offset = machine.memory.flash, 0x1D00
    # loop: str r0, [r1]; adds r1, r1, r2; cmp r1, r3; bne loop; bkpt
    flash.data[offset : offset + 10] = bytes.fromhex("086089189942fbd100be")
    translated: list[int] = []
    machine.cpu._engine.hook_add(
        UC_HOOK_EDGE_GENERATED, lambda uc, now, before, data: translated.append(now.pc)
    )
    for region in machine.board.facts.memory:
        if region.kind == "flash":
            continue
        for _ in range(2):
            translated.clear()
            for number, value in ((1, region.origin), (2, 4), (3, region.end)):
                machine.cpu.registers[number] = value
            machine.cpu.registers[15] = flash.origins[0] + offset
            machine.cpu.counter.clear_stop()
            machine.cpu.run()
        assert not translated, region.name
    machine.close()


def test_step_runs_one_instruction(bench: Any) -> None:
    machine = bench.machine
    machine.core.halt()
    entry = int.from_bytes(machine.memory.flash.data[4:8], "little") & ~1
    machine.cpu.registers[15] = entry
    machine.core.step()
    assert entry < machine.cpu.registers[15] <= entry + 4


def test_a_bug_in_the_model_is_an_error_too(
    bench: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_master: object) -> int:
        raise ZeroDivisionError("oops")

    rcc = bench.machine.chip.clock
    rcc.registers[0x94 if bench.machine.board.family == "stm32l4" else 0x74].read = broken
    with pytest.raises(VirtualError, match="bug in the virtual board: ZeroDivisionError"):
        bench.ask(b"c")
    assert "bug in the virtual board" in caplog.text


def test_powering_off_ends_a_pending_read(erased: Any) -> None:
    assert erased.console.open("test", 115200)
    failure: list[BaseException] = []

    def read() -> None:
        try:
            erased.console.read(1, None, lambda: False)
        except VirtualError as error:
            failure.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    erased.close()
    thread.join(5)
    assert not thread.is_alive()
    assert "powered off" in str(failure[0])
