"""Offer a station to other hosts: its probe as pyOCD's server does, its console by RFC 2217.

Neither protocol asks who is there. Each door lets one client in at a time, and lets the next one in
when a client has gone, without a word too.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, ClassVar

import serial
from pyocd.core import exceptions
from pyocd.core.session import Session
from pyocd.probe.shared_probe_proxy import SharedDebugProbeProxy
from pyocd.probe.tcp_probe_server import DebugProbeRequestHandler, TCPProbeServer
from serial.rfc2217 import PortManager

from harness.errors import BenchError, ConfigError, HarnessError

LOOPBACK = "localhost"
_IDLE_S, _BETWEEN_S, _PROBES = 10, 5, 3  # until a silent client counts as gone
_READ_S = 0.05
_CHUNK = 4096
# What a connection asks for and has to give back, in the order in which it is asked for.
_PAIRS = {"open": "close", "connect": "disconnect", "lock": "unlock"}


def check_host(host: str, *, unauthenticated: bool) -> None:
    """Raise `ConfigError` if `host` lets other machines in and that was not asked for."""
    if unauthenticated or host == LOOPBACK:
        return
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    raise ConfigError(
        f"serving on '{host}' lets every machine that reaches it program the board",
        where="neither pyOCD's protocol nor RFC 2217 asks who is there",
        expected="the loopback interface, reached through a tunnel (`ssh -L`)",
        fix="leave --host out, or add --unauthenticated on a network of your own",
    )


@contextmanager
def serve_probe(probe: Any, host: str, port: int, *, about: Any = None) -> Iterator[int]:
    """Offer a pyOCD probe that is not open; yield its TCP port.

    Args:
        probe: pyOCD's object.
        host: Name or address to listen on.
        port: TCP port; 0 for any free one.
        about: What clients of the harness read as the property ``harness_stations``.

    Raises:
        BenchError: The port is taken.
    """
    shared = SharedDebugProbeProxy(probe)
    shared.harness_stations = about
    server = _ProbeServer((host, port), Session(None, options={"persist": True}), shared)
    with _listening(server, host, port) as found:
        yield found


@contextmanager
def serve_console(
    opened: Callable[[], AbstractContextManager[Any]], host: str, port: int, *, greeting: str = ""
) -> Iterator[int]:
    """Offer a console by RFC 2217; yield its TCP port.

    Args:
        opened: Opens the console for a client; a pyserial port for the length of a block.
        host: Name or address to listen on.
        port: TCP port; 0 for any free one.
        greeting: What a client reads first.

    Raises:
        BenchError: The port is taken.
    """
    server = _ConsoleServer((host, port), _ConsoleHandler, bind_and_activate=False)
    server.opened, server.greeting = opened, greeting
    with _listening(server, host, port) as found:
        yield found


@contextmanager
def _listening(server: _Server, host: str, port: int) -> Iterator[int]:
    try:
        server.server_bind()
        server.server_activate()
    except OSError as failure:
        server.server_close()
        raise BenchError(
            f"cannot listen on port {port} of {host}: {failure.strerror or failure}",
            expected="a free TCP port",
            fix="name another port, or 0 for any free one",
            port=port,
        ) from failure
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()


class _Server(ThreadingTCPServer):
    """A server with one client at a time that uses the board; others may ask what it is."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._mutex = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._user: tuple[object, str] | None = None

    def claim(self, client: BaseRequestHandler) -> str | None:
        """Make a client the user of the board; return who uses it where it is another one."""
        with self._mutex:
            if self._user is not None and self._user[0] is not client:
                return self._user[1]
            if self._user is None:
                since = time.strftime("%H:%M:%S")
                self._user = client, f"in use by {client.client_address[0]} since {since}"
            return None

    def release(self, client: BaseRequestHandler) -> None:
        """Let the next one use the board."""
        with self._mutex:
            if self._user is not None and self._user[0] is client:
                self._user = None

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a client, and find out if it goes without a word."""
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("KEEPIDLE", _IDLE_S), ("KEEPINTVL", _BETWEEN_S), ("KEEPCNT", _PROBES)):
            if hasattr(socket, f"TCP_{name}"):
                request.setsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_{name}"), value)
        with self._mutex:
            self._clients.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a client."""
        with self._mutex:
            self._clients.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End all connections."""
        with self._mutex:
            for client in self._clients:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave a client that has gone to itself."""


class _ProbeServer(_Server, TCPProbeServer):
    def __init__(self, address: tuple[str, int], session: Session, probe: Any) -> None:
        super().__init__(address, session, probe)
        self.RequestHandlerClass = _ProbeHandler


class _ProbeHandler(DebugProbeRequestHandler):
    """pyOCD's own, which gives back what its client took, also when that was killed."""

    server: _ProbeServer
    client_address: tuple[str, int]

    def setup(self) -> None:
        """Note what the client takes and gives back."""
        # pyOCD looks up the client's name, for its log; a name server may take longer to answer
        # than a client waits.
        address, self.client_address = self.client_address, ("127.0.0.1", 0)
        super().setup()
        self.client_address, self._client_domain = address, address[0]
        self._held: list[str] = []
        handlers = self._REQUEST_HANDLERS
        for take, give in _PAIRS.items():
            for name, wrapped in ((take, self._take), (give, self._give)):
                action, count = handlers[name]
                handlers[name] = partial(wrapped, take, action), count

    def _take(self, name: str, action: Callable[..., Any], *arguments: Any) -> Any:
        if name == "open" and (user := self.server.claim(self)):
            raise exceptions.ProbeError(f"the probe is {user}")
        result = action(*arguments)
        self._held.append(name)
        return result

    def _give(self, name: str, action: Callable[..., Any], *arguments: Any) -> Any:
        if name in self._held:
            self._held.reverse()
            self._held.remove(name)
            self._held.reverse()
        result = action(*arguments)
        if not self._held:
            self.server.release(self)
        return result

    def finish(self) -> None:
        """Give back what the client still had."""
        for name in reversed(self._held):
            with suppress(exceptions.Error, OSError, HarnessError, RuntimeError):
                getattr(self._probe, _PAIRS[name])()
        self.server.release(self)
        with suppress(OSError):
            super().finish()


class _ConsoleServer(_Server):
    opened: Callable[[], AbstractContextManager[Any]]
    greeting: str


class _Manager(PortManager):
    def check_modem_lines(self, force_notification: bool = False) -> None:
        """Leave out the lines of a port that has none."""
        with suppress(OSError):
            super().check_modem_lines(force_notification)


class _ConsoleHandler(BaseRequestHandler):
    server: _ConsoleServer
    _failures: ClassVar = (serial.SerialException, OSError)

    def handle(self) -> None:
        """Tie a client to the console until either goes."""
        self._sending = threading.Lock()
        user = self.server.claim(self)
        if user is not None:
            self._say(f"the console is {user}")
            return
        try:
            with self.server.opened() as port:
                port.timeout = _READ_S
                if self.server.greeting:
                    self._say(self.server.greeting)
                self._tie(port)
        except HarnessError as failure:
            self._say(failure.what)
        finally:
            self.server.release(self)

    def _tie(self, port: Any) -> None:
        manager, gone = _Manager(port, self), threading.Event()
        thread = threading.Thread(target=self._pump, args=(port, manager, gone), daemon=True)
        thread.start()
        try:
            while data := self.request.recv(_CHUNK):
                content = b"".join(manager.filter(data))
                with suppress(HarnessError):  # the other direction shows it
                    if content:
                        port.write(content)
        except self._failures:
            pass
        finally:
            gone.set()
            thread.join()

    def _pump(self, port: Any, manager: PortManager, gone: threading.Event) -> None:
        shown = ""
        try:
            while not gone.is_set():
                try:
                    data = port.read(1)
                    data += port.read(port.in_waiting) if data else b""
                except HarnessError as failure:
                    # A virtual board that has stopped; a reset lets it go on.
                    if str(failure) != shown:
                        self._say(str(failure))
                    shown = str(failure)
                    gone.wait(_READ_S)
                else:
                    self.write(b"".join(manager.escape(data)))
        except self._failures:
            with suppress(OSError):
                self.request.shutdown(socket.SHUT_RDWR)

    def write(self, data: bytes) -> None:
        """Send bytes to the client; for pyserial's manager too."""
        if data:
            with self._sending:
                self.request.sendall(data)

    def _say(self, text: str) -> None:
        with suppress(OSError):
            self.write(b"[" + text.replace("\n", "\r\n").encode("ascii", "replace") + b"]\r\n")
