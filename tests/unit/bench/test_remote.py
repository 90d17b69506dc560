"""A probe and a console on another host: what a user sees when it is busy, silent or gone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
import serial

from harness.bench import remote
from harness.bench.port import open_port
from harness.bench.remote import RemoteProbe, connected, discover_remote
from harness.bench.serve import check_host, serve_console
from harness.errors import ConfigError, ProbeNotFound, SerialUnavailable, StationLocked

Listen = Callable[[Callable[[socket.socket], object]], int]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Return a function that starts a server of its own kind; yields its port."""
    sockets = []

    def start(answer: Callable[[socket.socket], object]) -> int:
        server = socket.create_server(("localhost", 0))
        sockets.append(server)

        def serve() -> None:
            client, _ = server.accept()
            sockets.append(client)
            answer(client)

        threading.Thread(target=serve, daemon=True).start()
        return int(server.getsockname()[1])

    yield start
    for item in sockets:
        item.close()


@pytest.fixture
def echo() -> Iterator[str]:
    """Serve a console that echoes; return its URL."""

    def opened() -> closing[Any]:
        return closing(serial.serial_for_url("loop://"))

    with serve_console(opened, "localhost", 0, greeting="hello") as port:
        yield f"rfc2217://localhost:{port}"


def test_a_silent_server_is_given_up_and_not_asked_again(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ANSWER_S", 0.2)
    place = f"remote:localhost:{listen(lambda client: client.recv(1000))}"
    with pytest.raises(ProbeNotFound, match="has not answered"), connected(place):
        raise AssertionError("it said hello")
    probe = RemoteProbe(place)
    monkeypatch.setattr(remote, "ANSWER_S", 60)
    with pytest.raises(Exception, match="connection is closed"):
        probe.ping()  # at once, as it is not connected


def test_a_server_that_ends_is_noticed_at_once(listen: Listen) -> None:
    port = listen(lambda client: client.close())
    with pytest.raises(ProbeNotFound, match="closed the connection") as caught:
        discover_remote(f"localhost:{port}")
    assert "bench serve" in str(caught.value.fix)


def test_what_is_no_probe_server_is_named(listen: Listen) -> None:
    port = listen(lambda client: client.sendall(b"SSH-2.0-OpenSSH_9.9\r\n"))
    with pytest.raises(ProbeNotFound, match=r"no server of pyOCD's.*SSH-2\.0"):
        discover_remote(f"localhost:{port}")


@pytest.mark.parametrize("probe", ["remote:", "remote:host:high", "remote:host:70000"])
def test_a_probe_id_without_host_or_port_is_refused(probe: str) -> None:
    with pytest.raises(ProbeNotFound, match="names no probe server"):
        RemoteProbe(probe)


def test_nobody_listens() -> None:
    with closing(socket.create_server(("localhost", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ProbeNotFound, match="cannot be reached"):
        discover_remote(f"localhost:{port}")
    with pytest.raises(SerialUnavailable, match="cannot be used") as caught:
        open_port(f"socket://localhost:{port}")
    assert "host and port" in str(caught.value.fix)


def test_a_served_console_carries_every_byte_and_has_one_user(echo: str) -> None:
    every = bytes(range(256)) * 20
    with closing(open_port(echo, 115200)) as port:
        port.timeout = 5
        port.write(every)
        assert port.read(len(every)) == every
        port.ping()
        with pytest.raises(StationLocked, match="in use by 127"):
            open_port(echo)
    place = urlsplit(echo)
    with (
        socket.create_connection((place.hostname, place.port), 5) as terminal,
        terminal.makefile("rb") as lines,
    ):
        assert b"[hello]" in lines.readline()


def test_a_console_server_that_ends_is_a_failure_of_the_port() -> None:
    def opened() -> closing[Any]:
        return closing(serial.serial_for_url("loop://"))

    with serve_console(opened, "localhost", 0) as number:
        port = open_port(f"rfc2217://localhost:{number}")
        port.timeout = 5
    with closing(port), pytest.raises(serial.SerialException):
        port.read(1)
        port.read(1)


def test_other_machines_are_let_in_only_when_asked_for() -> None:
    for host in ("localhost", "127.0.0.1", "::1"):
        check_host(host, unauthenticated=False)
    check_host("0.0.0.0", unauthenticated=True)
    for host in ("0.0.0.0", "", "192.0.2.7", "bench.lab"):
        with pytest.raises(ConfigError, match="every machine") as caught:
            check_host(host, unauthenticated=False)
        assert "--unauthenticated" in str(caught.value.fix)
