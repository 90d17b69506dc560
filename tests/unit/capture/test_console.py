from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from harness import protocol
from harness.capture.console import Console
from harness.errors import CaptureError, CaptureTimeout, DeviceError, DeviceHang
from harness.testing import FakeDevice, FakePort


def make(device: FakeDevice) -> tuple[Console, FakePort]:
    port = FakePort(device)
    return Console(port, where="fake"), port


def first(kind: type) -> object:
    return lambda records: next((r for r in records if isinstance(r, kind)), None)


def cycles(count: int) -> object:
    def collect(records: list) -> tuple[int, ...] | None:
        found = {r.i: r.cycles for r in records if isinstance(r, protocol.Cycle)}
        return tuple(found[i] for i in range(count)) if len(found) == count else None

    return collect


def test_boot_is_recognised() -> None:
    console, port = make(FakeDevice())
    port.reset()
    assert console.wait_for_boot(1.0).board == "nucleo_f746zg"


def test_silence_after_reset_is_a_timeout_that_names_what_was_awaited() -> None:
    console, _ = make(FakeDevice())
    with pytest.raises(CaptureTimeout, match="boot line after reset"):
        console.wait_for_boot(0.05)


def test_lost_line_is_asked_for_again_and_never_filled_in() -> None:
    lost = []

    def drop_second_cycle_once(line: bytes) -> Iterable[bytes]:
        if b"i=1 " in line and not lost:
            lost.append(line)
            return ()
        return (line,)

    device = FakeDevice(mangle=drop_second_cycle_once)
    console, _ = make(device)
    assert console.ask(protocol.encode_run(0, 3), cycles(3), what="run") == (1000, 1001, 1002)
    assert device.commands.count(b"hil-run 0 3") == 2


def test_garbled_line_is_not_data() -> None:
    garbled = []

    def flip_a_digit_once(line: bytes) -> Iterable[bytes]:
        if b"cycles=1001" in line and not garbled:
            garbled.append(line)
            return (line.replace(b"cycles=1001", b"cycles=9001"),)
        return (line,)

    console, _ = make(FakeDevice(mangle=flip_a_digit_once))
    assert console.ask(protocol.encode_run(0, 3), cycles(3), what="run") == (1000, 1001, 1002)
    assert console.garbled == 1
    assert "cycles=9001" in console.log


def test_lost_ready_does_not_wait_out_a_long_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.capture.console._READY_GRACE_S", 0.01)

    def drop_ready(line: bytes) -> Iterable[bytes]:
        return () if line == b"m-ready\r\n" else (line,)

    console, _ = make(FakeDevice(mangle=drop_ready))
    # Far below the deadline of 1,000 s: a test that hung would be stopped long before.
    answer = console.ask(protocol.encode_run(0, 3), cycles(3), what="run", timeout_s=1000)
    assert answer == (1000, 1001, 1002)


def test_random_damage_never_changes_an_answer() -> None:
    rng = random.Random(5)

    def damage(line: bytes) -> Iterable[bytes]:
        roll = rng.random()
        if roll < 0.05:
            return ()
        if roll < 0.10:
            at = rng.randrange(len(line))
            return (line[:at] + bytes([rng.randrange(256)]) + line[at + 1 :],)
        if roll < 0.15:
            return (line, line)
        return (line,)

    refused = 0
    for _ in range(60):
        console, _port = make(FakeDevice(mangle=damage))
        try:
            answer = console.ask(protocol.encode_run(0, 3), cycles(3), what="run", timeout_s=0.02)
        except CaptureError:
            refused += 1
        else:
            assert answer == (1000, 1001, 1002)
    assert refused < 20


def test_refused_command_says_what_the_device_said() -> None:
    console, _ = make(FakeDevice())
    with pytest.raises(DeviceError, match="unknown"):
        console.ask(b"hil-nonsense%", lambda records: None, what="nonsense", timeout_s=0.05)


def test_fault_names_registers_and_ends_at_once() -> None:
    fault = protocol.encode_line(
        "fault", 3,
        {"exc": "hardfault", "pc": "0800abcd", "lr": "0", "sp": "0", "psr": "0", "cfsr": "8200",
         "hfsr": "40000000", "bfar": "1ffffff8", "stack": "-"},
    )  # fmt: skip

    def crash(line: bytes) -> Iterable[bytes]:
        return (fault,) if b"m-hil-cycle" in line else ()

    console, _ = make(FakeDevice(mangle=crash))
    with pytest.raises(DeviceError, match="0800abcd") as caught:
        console.ask(protocol.encode_run(0, 1), cycles(1), what="run", timeout_s=5)
    assert "m-hil-fault" in caught.value.data["raw_log"]


def test_reset_in_the_middle_is_named() -> None:
    boot = protocol.encode_line("boot", 0, {"build": "0", "board": "b", "reset": "brownout"})

    def restart(line: bytes) -> Iterable[bytes]:
        return (boot,) if b"m-hil-cycle" in line else ()

    console, _ = make(FakeDevice(mangle=restart))
    with pytest.raises(CaptureError, match=r"reset in the middle.*brownout"):
        console.ask(protocol.encode_run(0, 1), cycles(1), what="run", timeout_s=5)


def test_a_device_that_is_silent_to_everything_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.capture.console._READY_GRACE_S", 0.05)
    console, port = make(FakeDevice(mangle=lambda line: ()))
    with pytest.raises(DeviceHang, match="does not answer any more"):
        console.ask(protocol.encode_run(0, 1), cycles(1), what="run", timeout_s=0.1)
    # It was asked once, and twice whether it is there at all.
    assert port.device.commands == [b"hil-run 0 1", b"", b""]
