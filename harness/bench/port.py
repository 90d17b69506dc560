"""Open a station's console, with errors that say what is wrong with the bench."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.bench.station import LABGRID_SERIAL
from harness.errors import BenchError, SerialUnavailable, StationLocked

_VIRTUAL = "harness.virtual.ports.serialurl"
_RFC2217, _SOCKET = "rfc2217://", "socket://"
# A console takes a command within milliseconds, all of an input within this time at 115,200 baud.
_WRITE_S = 8.0
_TOLD_S = 0.5


def open_port(url: str, baud: int = 115200) -> Any:
    """Open a console exclusively; the caller closes it.

    Raises `SerialUnavailable`: missing, not permitted, or held by another program (says which);
    `StationLocked` if another client of `harness bench serve` has it.
    """
    import serial

    if _VIRTUAL not in serial.protocol_handler_packages:
        serial.protocol_handler_packages.append(_VIRTUAL)
    if url.startswith(LABGRID_SERIAL):
        from harness.bench.labgrid import console_of

        url = console_of(url)
    try:
        port = _new_port(url, baud)
        if hasattr(port, "exclusive"):
            port.exclusive = True
        port.open()
    except (serial.SerialException, OSError, ValueError) as failure:
        raise serial_error(url, failure) from failure
    return port


def has_rate(url: str) -> bool:
    """Return whether the rate of the console at `url` can be changed."""
    return not url.startswith(_SOCKET)


def _new_port(url: str, baud: int) -> Any:
    """Return a port that is not open, whose operations all end within seconds."""
    import serial

    if url.startswith(_RFC2217):  # pyserial gives a write 5 s, and takes no other value
        from harness.bench.rfc2217 import RemotePort

        port = RemotePort(None, baudrate=baud, timeout=0)
        port.port = url
        return port
    return serial.serial_for_url(
        url, baudrate=baud, timeout=0, write_timeout=_WRITE_S, do_not_open=True
    )


def serial_error(url: str, failure: Exception) -> BenchError:
    """Return the typed error for a console that does not open."""
    code, text = getattr(failure, "errno", None), str(failure)
    what, fix = f"serial port '{url}' does not open: {text}", "check the station's 'serial'"
    holders: tuple[tuple[int, str], ...] = ()
    if url.startswith((_RFC2217, _SOCKET)):
        user = None if "Could not open" in text else _user_of(url)
        if user is not None:
            fix = "wait for it (--wait), end it, or name another station"
            return StationLocked(f"console '{url}': {user}", fix=fix, serial=url)
        what = f"console '{url}' cannot be used: {text}"
        fix = "check host and port, and that the console is served there (`harness bench serve`)"
    elif code == errno.ENOENT or isinstance(failure, FileNotFoundError):
        what = f"no serial port '{url}'"
        fix = "check the cable; `harness bench discover` shows the ports"
    elif code == errno.EACCES or "Permission denied" in text:
        what = f"no permission to open serial port '{url}'"
        fix = (
            "add your user to the port's group (`sudo usermod -aG dialout $USER`) and log in again"
        )
    elif code in (errno.EBUSY, errno.EAGAIN) or "lock" in text.lower():
        holders = tuple(found for found in port_holders(url) if found[0] != os.getpid())
        who = ", ".join(f"process {pid} ({command})" for pid, command in holders)
        what = f"serial port '{url}' is held by {who or 'another program'}"
        fix = "close the terminal or monitor that has it open"
    return SerialUnavailable(what, fix=fix, serial=url, holders=holders)


def _user_of(url: str) -> str | None:
    """Return what `harness bench serve` says of a console that is in use, else None."""
    place = urlsplit(url)
    try:
        with socket.create_connection((place.hostname, place.port), _TOLD_S) as connection:
            text = connection.recv(256).decode("ascii", "replace").strip()
    except (OSError, ValueError):
        return None
    return text.strip("[]") if text.startswith("[") and "in use" in text else None


def port_holders(device: str, proc: Path = Path("/proc")) -> list[tuple[int, str]]:
    """Return (pid, command) of the processes that have a device open, as far as /proc shows.

    psutil's `open_files` leaves device files out.
    """
    try:
        wanted = Path(device).resolve(strict=True)
    except OSError:
        return []
    holders = []
    for folder in sorted(proc.glob("[0-9]*")):
        try:
            links = [os.readlink(link) for link in (folder / "fd").iterdir()]  # noqa: PTH115
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue  # the process ended, or belongs to another user
        if str(wanted) in links:
            holders.append((int(folder.name), command.decode("utf-8", "replace").strip()))
    return holders
