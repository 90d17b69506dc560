"""What pyOCD needs of a probe, on every virtual board and through pyOCD's own API and CLI."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.boards import all_boards, load_board
from harness.errors import VirtualError
from support import needs

pytestmark = needs.emulator
BOARDS = ("nucleo_f746zg", "nucleo_f767zi", "nucleo_f446re", "nucleo_l4r5zi")
RAM = 0x2000_0000
# movs r0, #0; loop: adds r0, #1; adds r1, r0, #0; b loop
COUNT = bytes.fromhex("00200130011cfce7")
BKPT = bytes.fromhex("00be")


def open_session(board_id: str, **options: Any) -> Any:
    from pyocd.core.helpers import ConnectHelper

    return ConnectHelper.session_with_chosen_probe(
        unique_id=f"virtual:{board_id}", return_first=True, options=options
    )


@pytest.fixture(params=BOARDS)
def session(request: pytest.FixtureRequest) -> Iterator[Any]:
    from harness.virtual.registry import discard_machine

    with open_session(request.param) as session:
        session.target.halt()
        yield session
    discard_machine(request.param)


def put(session: Any, code: bytes) -> Any:
    """Load code into RAM and point the core at it."""
    target = session.target
    target.write_memory_block8(RAM, list(code))
    target.write_core_register("pc", RAM)
    target.write_core_register("xpsr", 0x0100_0000)
    return target


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def wait_halted(target: Any) -> None:
    until(target.is_halted)


def test_discovery_finds_core_and_components(session: Any) -> None:
    board = load_board(session.board.name and session.probe.unique_id.split(":")[1])
    core = session.target.selected_core
    assert core.name == ("Cortex-M4" if board.facts.core.cpu == "cortex-m4" else "Cortex-M7")
    assert core.has_fpu
    assert core.fpb is not None
    assert len(core.dwt.watchpoints) == 4
    assert session.target.read32(0xE004_2000) & 0xFFF == board.facts.chip.device_id
    assert session.board.target_type == board.facts.pyocd_target


def test_core_registers(session: Any) -> None:
    names = [f"r{n}" for n in range(13)] + ["lr", "psp", "s0", "s31", "fpscr", "primask", "control"]
    for index, name in enumerate(names):
        value = {"primask": 1, "control": 4}.get(name, 0x1000 + 8 * index)
        if name == "fpscr":
            value = 0x0040_0000
        session.target.write_core_register(name, value)
    for index, name in enumerate(names):
        value = {"primask": 1, "control": 4}.get(name, 0x1000 + 8 * index)
        if name == "fpscr":
            value = 0x0040_0000
        assert session.target.selected_core.read_core_register_raw(name) == value, name


def test_memory_of_every_width(session: Any) -> None:
    target = session.target
    target.write_memory_block32(RAM, [0x0403_0201, 0x0807_0605])
    assert target.read8(RAM + 1) == 2
    assert target.read16(RAM + 2) == 0x0403
    target.write8(RAM + 4, 0xEE)
    target.write16(RAM + 6, 0xBEEF)
    assert target.read32(RAM + 4) == 0xBEEF_06EE
    assert target.read_memory_block8(RAM + 1, 5) == [2, 3, 4, 0xEE, 6]


def test_plain_access_port_transfers(session: Any) -> None:
    """The path of a probe without fast memory access, as a remote probe's client may use it."""
    from harness.virtual.ports.access_port import BD0, CSW, DRW, TAR

    probe = session.probe
    probe.write_ap(CSW, 0x2300_0012)
    probe.write_ap(TAR, RAM)
    probe.write_ap_multiple(DRW, [1, 2, 3])
    probe.write_ap(TAR, RAM)
    assert probe.read_ap_multiple(DRW, 3) == [1, 2, 3]
    assert probe.read_ap(TAR) == RAM + 12
    probe.write_ap(TAR, RAM)
    probe.write_ap(BD0 + 4, 7)
    assert probe.read_ap(BD0 + 4, now=False)() == 7
    probe.write_ap(CSW, 0x2300_0010)
    probe.write_ap(TAR, RAM + 1)
    probe.write_ap(DRW, 0xAB00)
    probe.write_ap(TAR, RAM + 1)
    assert probe.read_ap(DRW) == 0xAB00
    assert probe.read_dp(0x4) & 0xF000_0000 == 0xF000_0000
    assert probe.read_ap(0x0100_00FC) == 0


def test_a_fault_is_a_transfer_fault(session: Any) -> None:
    from pyocd.core import exceptions

    for access in (
        lambda: session.target.read32(0x3000_0000),
        lambda: session.target.write32(0x3000_0000, 1),
        lambda: session.target.write32(0x0800_0000, 1),
    ):
        with pytest.raises(exceptions.TransferFaultError):
            access()


def test_a_register_that_is_not_modelled_is_named(session: Any) -> None:
    with pytest.raises(VirtualError, match="0x40001000"):
        session.target.write32(0x4000_1000, 1)


def test_run_halt_step(session: Any) -> None:
    target = put(session, COUNT)
    target.step()
    assert target.read_core_register("pc") == RAM + 2
    target.resume()
    time.sleep(0.05)
    target.halt()
    first = target.read_core_register("r0")
    assert first > 100
    assert RAM + 2 <= target.read_core_register("pc") <= RAM + 6
    target.write_core_register("pc", RAM + 2)
    for _ in range(3):
        target.step()
    assert target.read_core_register("pc") == RAM + 2
    assert target.read_core_register("r0") == first + 1


def test_memory_is_read_and_written_while_the_core_runs(session: Any) -> None:
    # ldr r1, [pc, #8]; loop: ldr r0, [r1]; adds r0, #1; str r0, [r1, #4]; b loop; .word RAM+0x100
    target = put(session, bytes.fromhex("0249086801304860fbe700bf0001002000010020"))
    target.write32(RAM + 0x100, 41)
    target.resume()
    until(lambda: target.read32(RAM + 0x104) == 42)
    target.write32(RAM + 0x100, 99)
    until(lambda: target.read32(RAM + 0x104) == 100)
    target.write16(RAM, 0xBE00)  # code that has run, changed under a running core
    assert not target.is_halted()
    target.halt()


def test_a_bkpt_instruction_halts(session: Any) -> None:
    target = put(session, bytes.fromhex("0020") + BKPT)
    target.resume()
    wait_halted(target)
    assert target.read_core_register("pc") == RAM + 2
    assert target.get_halt_reason() == target.HaltReason.BREAKPOINT


def test_code_written_again_is_executed(session: Any) -> None:
    for value in (1, 2, 3):
        target = put(session, bytes([value, 0x20]) + BKPT)
        target.resume()
        wait_halted(target)
        assert target.read_core_register("r0") == value


def test_a_hardware_breakpoint_halts_and_goes_on(session: Any) -> None:
    from pyocd.core.target import Target
    from pyocd.flash.file_programmer import FileProgrammer

    flash = 0x0800_0000
    image = (0x2000_1000).to_bytes(4, "little") + (flash + 9).to_bytes(4, "little") + COUNT
    FileProgrammer(session, progress=lambda done: None).program(
        _file(image), base_address=flash, file_format="bin"
    )
    target = session.target
    target.reset_and_halt()
    assert target.read_core_register("pc") == flash + 8
    for offset in (10, 12):  # both halves of a word
        assert target.set_breakpoint(flash + offset, Target.BreakpointType.HW)
        target.resume()
        wait_halted(target)
        assert target.read_core_register("pc") == flash + offset
        before = target.read_core_register("r0")
        target.resume()
        wait_halted(target)
        assert target.read_core_register("pc") == flash + offset
        assert target.read_core_register("r0") == before + 1
        target.remove_breakpoint(flash + offset)
    target.resume()
    time.sleep(0.02)
    assert not target.is_halted()


def _file(content: bytes) -> str:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".bin", delete=False) as file:
        file.write(content)
    return file.name


def test_reset_and_halt_stops_before_the_first_instruction(session: Any) -> None:
    session.target.reset_and_halt()
    assert session.target.is_halted()
    pc = session.target.read_core_register("pc")
    # Erased; the L4+ starts the boot loader in its ROM then.
    assert pc in (0xFFFF_FFFE, 0x1FFF_0000)


def test_the_reset_line(session: Any) -> None:
    probe, target = session.probe, session.target
    put(session, COUNT).resume()
    probe.assert_reset(True)
    assert probe.is_reset_asserted()
    assert probe._access.machine.core.halted
    probe.assert_reset(False)
    assert not probe.is_reset_asserted()
    probe.reset()
    assert target.read32(0xE000_EDF0) & 1 << 25  # S_RESET_ST
    assert not target.read32(0xE000_EDF0) & 1 << 25


def test_an_error_of_the_model_reaches_who_polls(session: Any) -> None:
    # movs r0, #1; lsls r0, #30; ldr r1, [r0, #0x7c]; b .  (0x4000007c: not modelled)
    target = put(session, bytes.fromhex("01208007c16ffee7"))
    target.resume()
    with pytest.raises(VirtualError, match="0x4000007c"):
        wait_halted(target)
    target.halt()
    assert put(session, BKPT) is target
    target.resume()
    wait_halted(target)


def test_an_error_after_a_reset_is_not_who_programmed_s(session: Any) -> None:
    target = session.target
    # Vectors, then: movs r0, #1; lsls r0, #30; ldr r1, [r0, #0x7c]; b .
    content = bytes.fromhex("00400020 09000008 01208007 c16ffee7")
    flash = session.probe._access.machine.memory.flash
    target.halt()
    flash.data[: len(content)] = content
    target.reset()
    until(lambda: target.get_state() == target.State.LOCKUP)
    flash.data[: len(content)] = b"\xff" * len(content)


def test_a_register_view_reads_what_is_reserved_as_zero(
    session: Any, caplog: pytest.LogCaptureFixture
) -> None:
    target = session.target
    for block in (0xE000_1000, 0x4000_3000, 0x4002_3800, 0x4000_0000):
        assert len(target.read_memory_block32(block, 0x100)) == 0x100
    assert caplog.text.count("it reads as 0") == 1
    assert target.read32(0xE000_1000) >> 28 == 4


def test_watchpoints_stop_behind_the_access(session: Any) -> None:
    from pyocd.core.target import Target

    # loop: ldr r2, [r1]; adds r2, #1; str r2, [r1]; nop; b loop
    target = put(session, bytes.fromhex("0a6801320a6000bffae7"))
    start = target.read_core_register("pc")
    data = start + 0x100
    for kind, behind in ((Target.WatchpointType.WRITE, 6), (Target.WatchpointType.READ, 2)):
        target.write_core_register("pc", start)
        target.write_core_register("r1", data)
        assert target.set_watchpoint(data, 4, kind)
        for _ in range(3):
            target.resume()
            wait_halted(target)
            assert target.read_core_register("pc") == start + behind
            assert target.get_halt_reason() is Target.HaltReason.WATCHPOINT
        target.remove_watchpoint(data, 4, kind)
    target.write_core_register("r1", data + 8)
    assert target.set_watchpoint(data, 4, Target.WatchpointType.READ_WRITE)
    target.resume()
    time.sleep(0.02)
    assert not target.is_halted()
    target.halt()
    target.remove_watchpoint(data, 4, Target.WatchpointType.READ_WRITE)


def test_a_lockup_is_seen_as_on_the_chip(session: Any) -> None:
    target = put(session, bytes.fromhex("00de"))  # udf, and an erased vector table
    session.target.selected_core.set_vector_catch(0)
    target.resume()
    until(lambda: target.get_state() == target.State.LOCKUP)
    target.halt()
    assert target.is_halted()


def test_an_error_reaches_a_remote_client(session: Any) -> None:
    from pyocd.core import exceptions
    from pyocd.core.session import Session
    from pyocd.probe.tcp_client_probe import TCPClientProbe
    from pyocd.probe.tcp_probe_server import DebugProbeServer

    put(session, bytes.fromhex("01208007c16ffee7")).resume()
    server = DebugProbeServer(Session(None), session.probe, 0, serve_local_only=True)
    server.start()
    client = TCPClientProbe(f"localhost:{server._server.server_address[1]}")
    client.open()
    try:
        with pytest.raises(exceptions.ProbeError, match="0x4000007c"):
            client.write_ap(0x4, 0xE000_EDF0)
            for _ in range(1000):
                client.read_ap(0xC)
    finally:
        client.close()
        server.stop()
        server._server.server_close()


def test_a_closed_probe_is_refused() -> None:
    from pyocd.core import exceptions

    from harness.virtual.ports.probe import VirtualProbe

    probe = VirtualProbe.get_probe_with_id("virtual:nucleo_f746zg")
    assert probe is not None
    assert not probe.is_open
    with pytest.raises(exceptions.ProbeError, match="not open"):
        probe.read_dp(0)
    assert VirtualProbe.get_probe_with_id("nosuch") is None


def test_two_boards_in_one_process() -> None:
    from harness.virtual.registry import discard_machine

    with open_session(BOARDS[0]) as first, open_session(BOARDS[2]) as second:
        for session, value in ((first, 5), (second, 6)):
            session.target.halt()
            put(session, bytes([value, 0x20]) + BKPT).resume()
        for session, value in ((first, 5), (second, 6)):
            wait_halted(session.target)
            assert session.target.read_core_register("r0") == value
    for board in BOARDS:
        discard_machine(board)


def test_flashing_writes_what_the_file_holds(tmp_path: Path) -> None:
    from pyocd.flash.file_programmer import FileProgrammer

    from harness.virtual.registry import discard_machine, get_machine

    image = tmp_path / "image.bin"
    image.write_bytes(bytes(range(256)) * 480)
    with open_session(BOARDS[0]) as session:
        session.options["smart_flash"] = False
        FileProgrammer(session, progress=lambda done: None).program(
            str(image), base_address=0x0800_0000
        )
    content = bytes(get_machine(BOARDS[0]).memory.flash.data[: 120 * 1024])
    assert content == image.read_bytes()
    discard_machine(BOARDS[0])


def test_pyocd_lists_the_boards_without_starting_the_emulator() -> None:
    code = (
        "import sys; from pyocd.probe.aggregator import DebugProbeAggregator as A; "
        "print([p.unique_id for p in A.get_all_connected_probes('virtual:')]); "
        "print('unicorn' in sys.modules, 'numba' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    listed, modules = run.stdout.splitlines()[-2:]
    for board in BOARDS:
        assert f"virtual:{board}" in listed
    assert modules == "False False"


@pytest.mark.parametrize(
    "first",
    ["harness.virtual.ports.probe", "harness.pyocd_plugin", "harness.flash", "pyocd.core.session"],
)
def test_boards_are_found_whichever_module_is_imported_first(first: str) -> None:
    code = (
        f"import {first}\n"
        "from pyocd.core.helpers import ConnectHelper\n"
        "for board in sys.argv[1:]:\n"
        "    probe = 'virtual:' + board\n"
        "    with ConnectHelper.session_with_chosen_probe(unique_id=probe) as session:\n"
        "        print(session.target.part_number)\n"
    )
    command = [sys.executable, "-c", "import sys\n" + code, *BOARDS]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.split()) == len(BOARDS)


def test_pyocd_has_the_targets_where_the_emulator_is_not_installed() -> None:
    code = (
        "import importlib.util as util, sys\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'unicorn' else find(name, *rest)\n"
        "from pyocd.core.session import Session\n"
        "from pyocd.target import TARGET\n"
        "print(*[board in TARGET for board in sys.argv[1:]], 'unicorn' in sys.modules)\n"
    )
    names = [load_board(board).facts.pyocd_target for board in BOARDS]
    command = [sys.executable, "-c", code, *names]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.stdout.split() == ["True"] * len(BOARDS) + ["False"], run.stderr


def test_another_process_flashes_a_served_board(tmp_path: Path) -> None:
    import serial

    from harness.bench.serve import serve_probe
    from harness.virtual.ports.probe import VirtualProbe
    from harness.virtual.ports.serve import on_terminal

    board = load_board(BOARDS[0])
    image, flash_file = tmp_path / "image.bin", tmp_path / "flash"
    image.write_bytes(bytes(range(1, 200)) * 100)
    with (
        on_terminal(board, flash_file=flash_file) as terminal,
        serve_probe(VirtualProbe(board), "localhost", 0) as tcp,
    ):
        with serial.Serial(terminal.name, 115200, timeout=0.1) as port:
            port.write(b"hello")  # nobody answers on an erased board
            assert port.read(1) == b""
        command = [sys.executable, "-m", "pyocd", "flash", "-u", f"remote:localhost:{tcp}"]
        command += ["-t", board.facts.pyocd_target, "--base-address", "0x08000000", str(image)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stdout + run.stderr
    assert flash_file.read_bytes()[: image.stat().st_size] == image.read_bytes()


def test_a_served_probe_has_one_user_and_outlives_one_that_is_killed() -> None:
    from pyocd.core import exceptions

    from harness.bench.probe import typed_errors
    from harness.bench.remote import RemoteProbe
    from harness.bench.serve import serve_probe
    from harness.errors import ProbeBusy
    from harness.virtual.ports.probe import VirtualProbe
    from harness.virtual.registry import discard_machine

    board = load_board(BOARDS[0])
    with serve_probe(VirtualProbe(board), "localhost", 0) as tcp:
        one, two = (RemoteProbe(f"remote:localhost:{tcp}") for _ in range(2))
        one.open()
        one.connect()
        one.lock()
        with pytest.raises(ProbeBusy, match="in use by"), typed_errors(two.unique_id):
            two.open()
        two.ping()  # asking what it is needs no turn
        one.hang_up()  # as when its process is killed
        deadline = time.monotonic() + 20
        while True:
            try:
                two.open()
                break
            except exceptions.ProbeError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        two.connect()
        two.lock()  # else the server would still wait for the first
        assert two.read_dp(0) == 0x5BA02477
        two.unlock()
        two.disconnect()
        two.close()
    discard_machine(board.id)


def test_a_server_that_falls_silent_is_given_up_and_closed(monkeypatch: Any) -> None:
    import socket
    from contextlib import ExitStack, suppress
    from threading import Event, Thread

    from harness.bench import Station, remote
    from harness.bench.serve import serve_probe
    from harness.errors import BenchError, ProbeNotFound
    from harness.flash import open_target
    from harness.virtual.ports.probe import VirtualProbe
    from harness.virtual.registry import discard_machine

    board, silent = load_board(BOARDS[0]), Event()
    with ExitStack() as stack:
        tcp = stack.enter_context(serve_probe(VirtualProbe(board), "localhost", 0))
        front = stack.enter_context(socket.create_server(("localhost", 0)))
        back = stack.enter_context(socket.create_connection(("localhost", tcp)))

        def relay(source: socket.socket, sink: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    if not silent.is_set():
                        sink.sendall(data)

        station = Station(
            name="far",
            board=board.id,
            probe=f"remote:localhost:{front.getsockname()[1]}",
            serial="rfc2217://localhost:1",
            emulated="pipeline",
        )

        def accept() -> None:
            client = stack.enter_context(front.accept()[0])
            Thread(target=relay, args=(back, client), daemon=True).start()
            relay(client, back)

        Thread(target=accept, daemon=True).start()
        with open_target(station, board) as target:
            assert target.chip_is_emulated()
            target.ping()
            assert target.seconds() >= 0
            assert str(target.timing_model()).startswith("cortex-m7-pipeline/")
            monkeypatch.setattr(remote, "ANSWER_S", 0.3)
            silent.set()
            with pytest.raises(ProbeNotFound, match="has not answered"):
                target.read_word(0x2000_0000)
            monkeypatch.setattr(remote, "ANSWER_S", 1000)  # nothing waits any more
            with pytest.raises(BenchError, match="already failed"):
                target.ping()
        back.shutdown(socket.SHUT_RDWR)
    discard_machine(board.id)


@pytest.mark.parametrize("board_id", [*BOARDS, "nucleo_h743zi", "nrf52840_dk"])
def test_the_chip_behind_a_probe_tells_its_board(board_id: str) -> None:
    from harness.bench.check import boards_by_chip
    from harness.virtual.registry import discard_machine

    found = boards_by_chip(f"virtual:{board_id}", all_boards())
    discard_machine(board_id)
    assert [board.id for board in found] == [board_id]
