"""What pyserial promises of a port, on the virtual console."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import serial

from harness.errors import VirtualError
from support import needs

pytestmark = needs.emulator
URL = "virtual://nucleo_f746zg"


@pytest.fixture(autouse=True)
def handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    packages = [*serial.protocol_handler_packages, "harness.virtual.ports.serialurl"]
    monkeypatch.setattr(serial, "protocol_handler_packages", packages)
    yield
    from harness.virtual.registry import discard_machine

    discard_machine("nucleo_f746zg")


@pytest.fixture
def port() -> Iterator[Any]:
    with serial.serial_for_url(URL, baudrate=115200, timeout=0.2) as port:
        yield port


def say(data: bytes) -> None:
    from harness.virtual.registry import get_machine

    for byte in data:
        get_machine("nucleo_f746zg").console.put(byte)


def test_reading(port: Any) -> None:
    say(b"one\r\ntwo\r\n")
    assert port.in_waiting == 10
    assert port.readline() == b"one\r\n"
    assert port.read(100) == b"two\r\n"
    assert port.read_until(b"x") == b""


def test_a_timeout_is_kept(port: Any) -> None:
    began = time.monotonic()
    assert port.read(1) == b""
    assert time.monotonic() - began > 0.15
    port.timeout = 0
    assert port.read(1) == b""


def test_a_byte_ends_the_waiting(port: Any) -> None:
    port.timeout = 10
    threading.Timer(0.05, say, (b"!",)).start()
    began = time.monotonic()
    assert port.read(1) == b"!"
    assert time.monotonic() - began < port.timeout


def test_cancelling_a_read(port: Any) -> None:
    port.timeout = None
    threading.Timer(0.05, port.cancel_read).start()
    assert port.read(1) == b""


def test_buffers_can_be_dropped(port: Any) -> None:
    say(b"old")
    port.reset_input_buffer()
    assert port.in_waiting == 0
    assert port.write(b"abc") == 3
    port.flush()
    assert port.out_waiting == 0
    port.reset_output_buffer()
    port.send_break(0)


def test_lines_and_settings(port: Any) -> None:
    port.rts = port.dtr = False
    port.break_condition = False
    assert port.cts and port.dsr and port.cd and not port.ri
    port.baudrate = 921600
    assert port.name == URL


def test_what_is_said_with_nobody_listening_is_lost() -> None:
    from harness.virtual.registry import get_machine

    get_machine("nucleo_f746zg")
    say(b"nobody")
    with serial.serial_for_url(URL, baudrate=115200, timeout=0.05) as port:
        assert port.read(6) == b""


def test_a_second_opening_finds_the_port_busy(port: Any) -> None:
    with pytest.raises(serial.SerialException, match="busy"):
        serial.serial_for_url(URL)
    port.close()
    serial.serial_for_url(URL).close()


def test_a_closed_port_is_refused(port: Any) -> None:
    port.close()
    for use in (
        lambda: port.read(1),
        lambda: port.write(b"x"),
        lambda: port.in_waiting,
        port.flush,
    ):
        with pytest.raises(serial.SerialException):
            use()
    port.open()
    assert port.is_open


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("virtual://nucleo_f746zz", "nucleo_f746zg"),
        ("virtual://", "expected virtual://<board>"),
        ("virtual://nucleo_f746zg/x", "expected virtual://<board>"),
        ("virtual://nucleo_f746zg?lose=1", "unknown option 'lose'"),
        ("virtual://nucleo_f746zg?faults=dorp:1", "did you mean .drop."),
        ("virtual://nucleo_f746zg?faults=drop:0.1&seed=x", "seed is"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, message: str) -> None:
    with pytest.raises(serial.SerialException, match=message):
        serial.serial_for_url(url)


def test_unread_output_beyond_the_limit_is_reported(port: Any) -> None:
    from harness.virtual.native.console import TX_BYTES
    from harness.virtual.registry import get_machine

    wire = get_machine("nucleo_f746zg").console.state[0]
    wire["tx_head"] = wire["tx_tail"] + TX_BYTES
    say(b"xyz")
    assert len(port.read(TX_BYTES)) == TX_BYTES
    with pytest.raises(VirtualError, match="3 bytes of the console were lost"):
        port.read(1)
