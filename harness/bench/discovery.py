"""Find debug probes and their serial ports.

pyOCD lists ST-LINK, CMSIS-DAP and J-Link probes; pyserial lists the ports. A probe and its virtual
COM port are one USB device, so they share the USB serial number. Board ids come from the probe's
own board id (ST-LINK/V2-1 and V3, CMSIS-DAP with an mbed id); a J-Link on a board has none, and is
told by the chip behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from harness.bench.station import VIRTUAL_PROBE, Bench, Station
from harness.boards import Board, all_boards
from harness.errors import HarnessError

REMOTE_PROBE = "remote:"


@dataclass(frozen=True, slots=True)
class SeenProbe:
    """A debug probe that pyOCD lists."""

    unique_id: str  # pyOCD's; the USB serial number of a USB probe
    description: str = ""  # vendor and product
    board_id: str | None = None  # four-character mbed id
    board_name: str | None = None  # such as NUCLEO-F746ZG


@dataclass(frozen=True, slots=True)
class SeenPort:
    """A serial port that pyserial lists."""

    device: str  # path or name to open, the same after the next plugging in where there is one
    serial_number: str | None = None  # of its USB device
    description: str = ""  # product


def list_probes(wanted: str = "") -> tuple[SeenProbe, ...]:
    """Return the probes that pyOCD sees now, virtual ones included.

    A `wanted` that names a kind, as ``remote:HOST:PORT`` does, is looked for alone. Raises
    `ProbeNotFound` if a remote one's server does not answer.
    """
    if wanted.startswith(REMOTE_PROBE):
        return (_remote_probe(wanted),)
    from pyocd.core.helpers import ConnectHelper

    found = []
    for probe in ConnectHelper.get_all_connected_probes(
        blocking=False, unique_id=wanted if ":" in wanted else None, print_wait_message=False
    ):
        description = f"{probe.vendor_name} {probe.product_name}".strip()
        board_id = getattr(probe, "board_id", None)
        name = getattr(probe.associated_board_info, "name", None)
        found.append(SeenProbe(probe.unique_id, description, board_id, name))
    return tuple(found)


def _remote_probe(wanted: str) -> SeenProbe:
    from harness.bench.remote import connected

    with connected(wanted) as probe:
        return SeenProbe(probe.unique_id, f"{probe.vendor_name} {probe.product_name}".strip())


def list_ports() -> tuple[SeenPort, ...]:
    """Return the serial ports that pyserial sees now."""
    from serial.tools import list_ports as pyserial_ports

    return tuple(
        SeenPort(stable_path(port.device), port.serial_number, port.description or "")
        for port in pyserial_ports.comports()
    )


def stable_path(device: str, links: Path = Path("/dev/serial/by-id")) -> str:
    """Return udev's link to a port, which names its USB device; `device` where there is none.

    Linux numbers ``/dev/ttyACM`` in the order of plugging in, so that a number may be another board
    tomorrow.
    """
    try:
        target = Path(device).resolve(strict=True)
        found = sorted(link for link in links.iterdir() if link.resolve() == target)
    except OSError:
        return device
    return str(found[0]) if found else device


def discover(
    probes: Callable[[], Sequence[SeenProbe]] = list_probes,
    ports: Callable[[], Sequence[SeenPort]] = list_ports,
    boards: Sequence[Board] | None = None,
    by_chip: Callable[[str, Sequence[Board]], Sequence[Board]] | None = None,
) -> Bench:
    """Pair the probes that are plugged in with their serial ports.

    The bench has a station for every probe whose board and port are known; its `notes` say what is
    missing for the others. Virtual probes are skipped, as they need no file.

    Args:
        probes: Lists the probes.
        ports: Lists the serial ports.
        boards: Board types to look for; all by default.
        by_chip: Asks the chip behind a probe, by its id, which of these boards have such a one;
            None to leave the chips of probes that name no board alone.
    """
    known = tuple(boards) if boards is not None else all_boards()
    seen_ports = sorted(ports(), key=lambda port: port.device)
    stations: list[Station] = []
    notes: list[str] = []
    for probe in sorted(probes(), key=lambda seen: seen.unique_id):
        if probe.unique_id.startswith(VIRTUAL_PROBE):
            continue
        label = f"probe {probe.unique_id} ({probe.description or 'unknown kind'})"
        board = _board_of(probe, known)
        if board is None and by_chip is not None and not (probe.board_name or probe.board_id):
            board, told = _ask_chip(probe, known, by_chip)
            notes += [f"{label} does not report its board, {text}" for text in told]
            if told and board is None:
                continue
        if board is None:
            notes.append(f"{label} {_why_unknown(probe)}")
            continue
        own = [port for port in seen_ports if _same_device(probe.unique_id, port.serial_number)]
        if not own:
            notes.append(
                f"{label} on {board.id} has no serial port of its own: "
                "connect its console and add a [[station]] by hand"
            )
            continue
        if len(own) > 1:
            others = ", ".join(port.device for port in own[1:])
            notes.append(f"{label} has several ports: took {own[0].device}, not {others}")
        name = _free_name(f"{board.id}-{probe.unique_id[-4:].lower()}", stations)
        stations.append(
            Station(name=name, board=board.id, probe=probe.unique_id, serial=own[0].device)
        )
    return Bench(stations=tuple(stations), notes=tuple(notes))


def _board_of(probe: SeenProbe, boards: Sequence[Board]) -> Board | None:
    by_id = (board for board in boards if probe.board_id in board.facts.probe_board_ids)
    name = _plain(probe.board_name or "")
    by_name = (board for board in boards if name and name == _plain(board.id))
    return next(chain(by_id, by_name), None)


def _ask_chip(
    probe: SeenProbe,
    boards: Sequence[Board],
    by_chip: Callable[[str, Sequence[Board]], Sequence[Board]],
) -> tuple[Board | None, list[str]]:
    """Return the board with the chip behind a probe if it is the only one, and what to say."""
    try:
        found = by_chip(probe.unique_id, boards)
    except HarnessError as problem:
        return None, [f"and its chip does not either ({problem.what}): add a [[station]] by hand"]
    if len(found) == 1:
        return found[0], [f"but its chip is that of {found[0].id}: correct 'board' if it differs"]
    if found:
        names = ", ".join(board.id for board in found)
        return None, [f"and its chip is that of {names}: add a [[station]] by hand"]
    return None, []


def _why_unknown(probe: SeenProbe) -> str:
    named = probe.board_name or probe.board_id
    by_hand = "add a [[station]] by hand if it is a known board"
    if named:
        return f"says it is on '{named}': {by_hand}"
    if "stlink" in _plain(probe.description):
        # pyOCD's MIN_JTAG_VERSION_GET_BOARD_IDS; then only a mounted drive would tell.
        return (
            "does not report its board, as ST-LINK firmware before V2J36 or V3J6 does not: update "
            f"it with STM32CubeProgrammer (or ST's STSW-LINK007) and discover again, or {by_hand}"
        )
    return f"does not report its board: {by_hand}"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _same_device(unique_id: str, serial_number: str | None) -> bool:
    if not serial_number:
        return False
    # J-Link drops the leading zeros of its USB serial number.
    return unique_id.lower().lstrip("0") == serial_number.lower().lstrip("0")


def _free_name(wanted: str, stations: Sequence[Station]) -> str:
    clean = re.sub(r"[^A-Za-z0-9._-]", "-", wanted)
    taken = {station.name for station in stations}
    names = chain([clean], (f"{clean}-{number}" for number in count(2)))
    return next(name for name in names if name not in taken)
