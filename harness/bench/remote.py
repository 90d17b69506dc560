"""Client of a probe on another host: pyOCD's own remote probe, with a deadline on every request.

pyOCD's client waits for an answer for ever, and spins when the server has gone. What is added to
its protocol are properties that the harness's own servers know; a stock ``pyocd server`` answers
that they are unknown.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyocd.core import exceptions
from pyocd.probe.tcp_client_probe import TCPClientProbe
from pyocd.utility.sockets import ClientSocket

from harness.bench.discovery import REMOTE_PROBE
from harness.bench.station import Bench, Station
from harness.errors import ProbeNotFound

CONNECT_S = 5.0
#: The longest that a sound server takes for one request is a block of memory over a slow network.
ANSWER_S = 8.0

#: Properties of the harness's servers: the stations that they offer, and those of a virtual board.
STATIONS, TIMING_MODEL, SECONDS = "harness_stations", "harness_timing_model", "harness_seconds"


class _Socket(ClientSocket):
    """A connection that is given up for good once the server leaves a request unanswered."""

    _socket: Any
    _buffer: bytearray

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, timeout=CONNECT_S)
        self._place = f"{host}:{port}"
        self._lost: str | None = None

    def set_timeout(self, timeout: float) -> None:
        """Do nothing: pyOCD's 0.1 s would cut off a long write, and `readline` has a deadline."""

    def write(self, data: bytes) -> None:
        """Send all of a request."""
        self._check()
        try:
            self._socket.settimeout(ANSWER_S)
            self._socket.sendall(data)
        except TimeoutError:
            self._lose(f"the server at {self._place} has taken no request for {ANSWER_S:.0f} s")
        except OSError as failure:
            self._lose(f"the server at {self._place} closed the connection: {failure}")

    def readline(self) -> bytes:
        """Return the answer to a request."""
        deadline = time.monotonic() + ANSWER_S
        while b"\n" not in self._buffer:
            self._check()
            try:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                data = self._socket.recv(65536)
            except TimeoutError:
                self._lose(f"the server at {self._place} has not answered for {ANSWER_S:.0f} s")
            except OSError as failure:
                self._lose(f"the server at {self._place} closed the connection: {failure}")
            if not data:
                self._lose(f"the server at {self._place} closed the connection")
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        try:
            json.loads(line)
        except ValueError:
            self._lose(
                f"what listens at {self._place} is no server of pyOCD's (`pyocd server`); it "
                f"says {line[:60].decode('ascii', 'backslashreplace')!r}"
            )
        return line

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()  # pyOCD's own leaves it open if the server has closed it
        self._socket = None

    def _check(self) -> None:
        if self._lost is not None or self._socket is None:
            raise exceptions.ProbeDisconnected(self._lost or "the connection is closed")

    def _lose(self, why: str) -> None:
        # An answer that still came would be taken for that to the next request.
        self._lost = why
        self.close()
        self._check()


class RemoteProbe(TCPClientProbe):
    """A probe that another host serves, ``remote:HOST[:PORT]``.

    Every method raises pyOCD's ``ProbeDisconnected`` once the server has left one request
    unanswered for `ANSWER_S`, and at once from then on.
    """

    _is_open: bool

    def __init__(self, probe_id: str) -> None:
        """Check the id; nothing is connected yet. Raises `ProbeNotFound` if it names no port."""
        host, _, port = probe_id.removeprefix(REMOTE_PROBE).partition(":")
        if not host or (port and not (port.isdecimal() and int(port) < 65536)):
            raise ProbeNotFound(
                f"'{probe_id}' names no probe server",
                expected=f"{REMOTE_PROBE}HOST:PORT, such as {REMOTE_PROBE}localhost:5555",
                fix="correct the station's 'probe'",
                probe=probe_id,
                seen=(),
            )
        number = int(port or self.DEFAULT_PORT)
        super().__init__(f"{host}:{number}")
        self._socket = _Socket(host, number)

    def connect_server(self) -> None:
        """Connect to the server, without opening its probe."""
        if not self._is_open:
            self._socket.connect()
            self._is_open = True
            self._perform_request("hello", self.PROTOCOL_VERSION)

    def open(self) -> None:
        """Connect to the server and open its probe."""
        self.connect_server()
        self._perform_request("open")

    def close(self) -> None:
        """Close the probe; the connection ends in any case."""
        try:
            super().close()
        finally:
            self.hang_up()

    def hang_up(self) -> None:
        """End the connection."""
        self._socket.close()
        self._is_open = False

    def ping(self) -> None:
        """Ask the server for something that does not touch the board."""
        self._perform_request("readprop", "vendor_name")

    def ask(self, name: str) -> Any:
        """Return a property of the harness's servers; None where the server does not know it."""
        try:
            return self._perform_request("readprop", name)
        except exceptions.Error as failure:
            if type(failure) is exceptions.Error and "unknown property" in str(failure):
                return None
            raise


@contextmanager
def connected(probe_id: str) -> Iterator[RemoteProbe]:
    """Connect to a probe server, without opening its probe.

    Raises `ProbeNotFound` if it cannot be reached, does not answer, or is no probe server.
    """
    from harness.bench.probe import quiet_pyocd, typed_errors

    probe = RemoteProbe(probe_id)
    with quiet_pyocd(), typed_errors(probe_id):
        try:
            probe.connect_server()
            yield probe
        finally:
            probe.hang_up()


def discover_remote(place: str) -> Bench:
    """Return the stations that a host serves with ``harness bench serve`` or ``virtual serve``.

    Args:
        place: ``HOST[:PORT]`` of one of its probes.

    Raises:
        ProbeNotFound: The host does not answer.
    """
    with connected(REMOTE_PROBE + place.removeprefix(REMOTE_PROBE)) as probe:
        told = probe.ask(STATIONS)
        seen = f"probe {probe.unique_id} ({probe.vendor_name} {probe.product_name})"
        host = probe.unique_id.removeprefix(REMOTE_PROBE).rpartition(":")[0]
    if not isinstance(told, list):
        return Bench(
            stations=(),
            notes=(
                f"{seen} does not tell its board and console: add a [[station]] by hand, or "
                "serve it with `harness bench serve`",
            ),
        )
    stations, notes = [], []
    for item in told:
        name, board = str(item.get("name")), str(item.get("board"))
        try:
            stations.append(
                Station(
                    name=name,
                    board=board,
                    probe=f"{REMOTE_PROBE}{host}:{item.get('probe_port')}",
                    serial=f"rfc2217://{host}:{item.get('console_port')}",
                    tags=tuple(item.get("tags", ())),
                    baud=item.get("baud"),
                    emulated=item.get("emulated"),
                )
            )
        except ValueError as failure:
            notes.append(f"{seen} tells of a station '{name}' that cannot be used: {failure}")
    return Bench(stations=tuple(stations), notes=tuple(notes))
