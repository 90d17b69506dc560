from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench import load_bench
from harness.boards import load_board
from harness.capture import answers
from harness.capture import session as session_module
from harness.capture.console import Console
from harness.capture.session import BoardSession
from harness.errors import BenchError, CaptureTimeout, CounterError, IdentityError, ImageCorrupt
from harness.testing import FakeDevice, FakePort, FakeTarget
from support.capture import PLAN, Image


def open_session(device: FakeDevice) -> tuple[BoardSession, FakeTarget]:
    port = FakePort(device)
    target = FakeTarget(port)
    station = load_bench(None).station("virtual-nucleo_f746zg")
    board = load_board("nucleo_f746zg")
    return BoardSession(station, board, port, target, ExitStack()), target


def test_a_whole_capture() -> None:
    device = FakeDevice()
    session, target = open_session(device)
    capture = session.run(Image(), replace(PLAN, inputs=(bytes(i % 251 for i in range(490)),)))
    assert target.programmed == [Path("firmware.elf")]
    assert capture.cycles == (1000, 1001, 1002)
    assert capture.outputs == (bytes(range(12)),)
    assert [(layer.op, layer.cycles) for layer in capture.layers] == [
        ("CONV_2D", 900),
        ("SOFTMAX", 90),
    ]
    assert capture.memory.painted == 1900
    assert bytes(device.received[0]) == bytes(i % 251 for i in range(490))
    assert "m-hil-boot" in capture.raw_log
    assert capture.timing_model is None  # no machine counts the cycles of a fake device


@pytest.mark.parametrize(("told", "known"), [(1, True), (0, False), (-1, None)])
def test_the_accelerator_is_what_the_device_reads(told: int, known: bool | None) -> None:
    device = FakeDevice()
    device.art = told
    assert open_session(device)[0].run(Image(), PLAN).identity.art is known


def test_repeats_across_resets() -> None:
    device = FakeDevice()
    capture = open_session(device)[0].run(Image(), replace(PLAN, boots=3))
    assert capture.cycles == (1000, 1001, 1002) * 3
    assert device.commands.count(b"hil-setup") == 3
    assert capture.raw_log.count("m-hil-boot") == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"build": "ffffffffffffffff"}, "build id is ffffffffffffffff"),
        ({"board": "nucleo_f767zi"}, "board is nucleo_f767zi"),
        ({"model": "0" * 16}, "model id is 0000"),
        ({"input_bytes": (10,)}, "inputs and outputs"),
    ],
)
def test_an_answer_from_the_wrong_image_or_board_is_refused(
    change: dict[str, object], message: str
) -> None:
    session, _ = open_session(replace(FakeDevice(), **change))
    with pytest.raises(IdentityError, match=message):
        session.run(Image(), PLAN)


def test_two_boards_of_one_kind_whose_cables_were_swapped_are_told_apart() -> None:
    # Same board, same image: what the probe programs is not what answers on the port.
    answering, programmed = FakeDevice(uid="a" * 24), FakeDevice(uid="b" * 24)
    session, _ = open_session(answering)
    session._target = FakeTarget(FakePort(programmed))
    session._target.reset_and_run = session._port.reset
    with pytest.raises(IdentityError, match="unique id is aaaa") as caught:
        session.run(Image(), PLAN)
    assert "bench check" in (caught.value.fix or "")


def test_lines_that_a_bad_wire_damages_are_sent_again_and_get_shorter() -> None:
    wire = random.Random(3)

    class Deaf(FakeDevice):
        def answer(self, command: bytes) -> bytes:
            return super().answer(bytes(b for b in command if wire.random() > 0.0005))

    content = bytes(range(256)) * 108
    device = Deaf(input_bytes=(len(content),))
    console = Console(FakePort(device), where="fake")
    answers.write_inputs(console, [content])
    assert device.received[0] == content
    lengths = [len(command) for command in device.commands if command.startswith(b"hil-in ")]
    assert lengths[0] > 1000 and max(lengths[-20:]) < 300
    assert "code=crc" in console.log


def test_a_long_output_is_read_in_pieces_and_only_damaged_ones_again() -> None:
    wire = random.Random(3)

    def lose(line: bytes) -> Iterable[bytes]:
        return (line,) if wire.random() > 0.02 or b"-out" not in line else ()

    content = bytes(range(256)) * 60
    device = FakeDevice(outputs=(content,), mangle=lose)
    console = Console(FakePort(device), where="fake")
    assert answers.output(console, 0, len(content)) == content


def test_a_counter_that_stands_still_makes_no_row() -> None:
    session, _ = open_session(FakeDevice(counter_stuck=True))
    with pytest.raises(CounterError, match="stands still"):
        session.run(Image(), PLAN)


def test_flash_that_changed_after_it_was_verified_makes_no_row() -> None:
    session, _ = open_session(FakeDevice(flash_rots=True))
    with pytest.raises(ImageCorrupt, match="they changed after they were verified") as caught:
        session.run(Image(), PLAN)
    assert caught.value.code == "image-corrupt"
    assert session.broken


def test_a_broken_session_refuses_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(session_module._BOOT_S, "emulated", 0.05)

    def silence(line: bytes) -> Iterable[bytes]:
        return ()

    session, target = open_session(FakeDevice(mangle=silence))
    with pytest.raises(CaptureTimeout):
        session.run(Image(), PLAN)
    with pytest.raises(BenchError, match="already failed"):
        session.run(Image(), PLAN)
    assert len(target.programmed) == 1


def test_a_chip_in_its_boot_loader_is_called_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(session_module._BOOT_S, "emulated", 0.05)
    session, target = open_session(FakeDevice(mangle=lambda line: ()))
    target.loader = True
    with pytest.raises(CaptureTimeout, match="boot loader in its ROM") as caught:
        session.run(Image(), PLAN)
    assert "BOOT0" in str(caught.value.fix)
