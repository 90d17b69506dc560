"""Check that a station is ready, and say what to do where it is not."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.bench.discovery import SeenProbe, list_probes
from harness.bench.probe import (
    DBGMCU_IDCODE,
    connect_error,
    is_bench_trouble,
    match_probe,
    open_session,
    quiet_pyocd,
)
from harness.bench.station import VIRTUAL_SERIAL, Station
from harness.boards import Board
from harness.errors import HarnessError, SerialUnavailable

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: ``ok``, ``warning`` or ``error``.
        what: What was found.
        fix: What to do about it; None where all is well.
    """

    level: Level
    what: str
    fix: str | None = None


def check(
    station: Station,
    board: Board,
    *,
    probes: Callable[[], Sequence[SeenProbe]] = list_probes,
    device_id: Callable[[Station], int] | None = None,
    open_serial: Callable[[str], None] | None = None,
) -> list[Finding]:
    """Look at probe, chip and console of a station, without changing what the chip runs.

    Args:
        station: What to look at.
        board: The board type that it should be.
        probes: Lists probes.
        device_id: Reads DBGMCU_IDCODE of the chip.
        open_serial: Opens and closes the console, raising `SerialUnavailable`.

    Returns:
        Findings in the order in which a user would mend them.
    """
    findings = []
    try:
        seen = match_probe(station.probe, probes())
        findings.append(Finding("ok", f"probe {seen.unique_id} {seen.description}".rstrip()))
        findings.append(_check_chip(station, board, device_id or read_device_id))
    except HarnessError as problem:
        findings.append(_finding(problem))
    try:
        (open_serial or try_serial)(station.serial)
        findings.append(Finding("ok", f"console {station.serial} opens"))
    except HarnessError as problem:
        findings.append(_finding(problem))
    return findings


def _finding(problem: HarnessError) -> Finding:
    what = f"{problem.what} ({problem.where})" if problem.where else problem.what
    return Finding("error", what, problem.fix)


def _check_chip(station: Station, board: Board, read: Callable[[Station], int]) -> Finding:
    idcode = read(station)
    found, expected = idcode & 0xFFF, board.facts.chip.device_id
    if found == expected:
        return Finding("ok", f"chip is a {board.mcu} (device id 0x{found:03X})")
    return Finding(
        "error",
        f"the chip's device id is 0x{found:03X}, that of {board.id} is 0x{expected:03X}",
        f"correct 'board' or 'probe' of station '{station.name}'",
    )


def read_device_id(station: Station) -> int:
    """Return DBGMCU_IDCODE of the chip behind a station's probe; the chip keeps running.

    Raises:
        BenchError: As `harness.bench.probe.open_session`.
    """
    options = {
        "target_override": "cortex_m",
        "connect_mode": "attach",
        "resume_on_disconnect": False,
    }
    with quiet_pyocd():
        session = open_session(station.probe, options)
        try:
            return int(session.target.read32(DBGMCU_IDCODE))
        except Exception as failure:
            if isinstance(failure, HarnessError) or not is_bench_trouble(failure):
                raise
            raise connect_error(failure, station.probe) from failure
        finally:
            session.close()


def try_serial(url: str) -> None:
    """Open a console exclusively and close it again.

    Raises:
        SerialUnavailable: It is not there, not permitted or held by another program (says which).
    """
    import serial

    if url.startswith(VIRTUAL_SERIAL):
        packages = serial.protocol_handler_packages
        if "harness.virtual.ports.serialurl" not in packages:
            packages.append("harness.virtual.ports.serialurl")
    try:
        options: dict[str, Any] = {} if "://" in url else {"exclusive": True}
        serial.serial_for_url(url, timeout=0, **options).close()
    except (serial.SerialException, OSError, ValueError) as failure:
        raise serial_error(url, failure) from failure


def serial_error(url: str, failure: Exception) -> SerialUnavailable:
    """Return the typed error for a console that does not open."""
    code = getattr(failure, "errno", None)
    text = str(failure)
    if code == errno.ENOENT or isinstance(failure, FileNotFoundError):
        return SerialUnavailable(
            f"no serial port '{url}'",
            fix="check the cable; `harness bench discover` shows the ports",
            serial=url,
        )
    if code == errno.EACCES or "Permission denied" in text:
        return SerialUnavailable(
            f"no permission to open serial port '{url}'",
            fix="add your user to the port's group (`sudo usermod -aG dialout $USER`) and log in "
            "again",
            serial=url,
        )
    if code in (errno.EBUSY, errno.EAGAIN) or "lock" in text.lower():
        holders = [h for h in port_holders(url) if h[0] != os.getpid()]
        who = ", ".join(f"process {pid} ({command})" for pid, command in holders)
        return SerialUnavailable(
            f"serial port '{url}' is held by {who or 'another program'}",
            fix="close the terminal or monitor that has it open",
            serial=url,
            holders=tuple(holders),
        )
    return SerialUnavailable(
        f"serial port '{url}' does not open: {text}", fix="check the station's 'serial'", serial=url
    )


def port_holders(device: str, proc: Path = Path("/proc")) -> list[tuple[int, str]]:
    """Return (pid, command) of the processes that have a device open, as far as /proc tells."""
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
