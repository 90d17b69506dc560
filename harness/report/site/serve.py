"""Serve a site to this machine, write it again when the store changes, and reload open pages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.errors import ConfigError, ResultsError

if TYPE_CHECKING:
    from harness.report.site.build import Built
    from harness.results.store import Store

_POLL_S = 1.0
_ALIVE_S = 15.0
_SHARE = 5  # pause after writing, in times that writing took
_HOSTS = ("127.0.0.1", "localhost")
# Added to pages as they are served: pages that are opened as files, or from elsewhere, ask nobody.
_TAG = b'<script src="/_reload.js" defer></script>'
_SCRIPT = b'new EventSource("/_events").onmessage = () => location.reload();\n'


class _Changes:
    """Counts changes; many threads wait for the next."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = threading.Condition()

    def notify(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def wait(self, seen: int, seconds: float) -> int:
        """Wait for a change after the `seen` ones; return how many there have been."""
        with self._changed:
            self._changed.wait_for(lambda: self.count != seen, seconds)
            return self.count


class _Handler(SimpleHTTPRequestHandler):
    """Serves files, and pages with the script that waits for changes."""

    def __init__(self, changes: _Changes, *args: Any, **options: Any) -> None:
        self._changes = changes
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        """Answer a request from this machine; one under another name is refused."""
        # A page elsewhere could have its own name lead here, and read what is served.
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if host not in _HOSTS:
            self.send_error(403, "this server answers to localhost only")
            return
        path = urlsplit(self.path).path
        if path == "/_events":
            self._send_events()
        elif path == "/_reload.js":
            self._send(_SCRIPT, "text/javascript")
        elif (file := Path(self.translate_path(f"{path}index.html" if path == "/" else path))) and (
            file.suffix == ".html" and file.is_file()
        ):
            self._send(file.read_bytes() + _TAG, "text/html; charset=utf-8")
        else:
            super().do_GET()

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def _send_events(self) -> None:
        seen = self._changes.count
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b": waiting\n\n")
                self.wfile.flush()
                now = self._changes.wait(seen, _ALIVE_S)
                if now != seen:
                    self.wfile.write(b"data: changed\n\n")
                seen = now
        except OSError:
            pass  # the page was closed

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: requests are of no interest."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about a browser that closed its connection."""


@contextmanager
def serving(folder: Path, port: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serve `folder`; yield the address, and what to call when pages have changed.

    Raises:
        ConfigError: The port cannot be had.
    """
    changes = _Changes()
    try:
        server = _Server(("127.0.0.1", port), partial(_Handler, changes, directory=str(folder)))
    except OSError as failure:
        raise ConfigError(
            f"port {port} cannot be served: {failure.strerror}",
            fix="name another with --port; 0 takes a free one",
        ) from None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", changes.notify
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serve_site(
    store: Store,
    folder: Path,
    port: int,
    write: Callable[[], Built],
    *,
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    """Serve the site until `stop` is set; `write` writes it when the store has changed."""
    with serving(folder, port) as (address, notify):
        say(f"serving {address} (Ctrl-C stops)")
        seen, pause = _state(store), _POLL_S
        while not stop.wait(pause):
            try:
                now = _state(store)
                if now == seen:
                    continue
                seen, start = now, time.monotonic()
                built = write()
                # Most of the time is left to the campaign that fills the store.
                pause = max(_POLL_S, _SHARE * (time.monotonic() - start))
            except ResultsError as failure:
                say(f"the site is as it was: {failure.what}")
                continue
            if built.written or built.removed:
                say(f"{len(built.written)} pages written, {len(built.removed)} removed")
                notify()


def _state(store: Store) -> object:
    """Return what differs after a change of the store."""
    if "://" not in store.url:
        files = [Path(f"{store.url}{suffix}") for suffix in ("", "-wal")]
        facts = [file.stat() for file in files if file.exists()]
        return [(fact.st_mtime_ns, fact.st_size) for fact in facts]
    return store.count()
