"""Read stations from what other programs keep of a bench: labgrid, Zephyr's Twister."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.bench.discovery import SeenPort, list_ports, stable_path
from harness.bench.labgrid import console_in, places
from harness.bench.station import LABGRID_SERIAL, Bench, Station
from harness.boards import all_boards, load_board
from harness.errors import ConfigError

_PROBES = ("USBDebugger", "NetworkUSBDebugger")
_SERIALS = ("USBSerialPort", "RawSerialPort")


def import_twister(path: Path, boards: Mapping[str, str] | None = None) -> Bench:
    """Return the stations of a hardware map of Twister's, ``hardware-map.yml``.

    Args:
        path: The file: a list of ``id``, ``platform``, ``serial``, ``connected`` and others.
        boards: Board ids of platforms that are called otherwise.

    Raises:
        ConfigError: The file is not a hardware map, or a board is unknown.
    """
    found = _Found(boards)
    content = _read(path)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise _not_a(
            "hardware map", path, "a list with 'id', 'platform' and 'serial' of each board"
        )
    for item in content:
        platform, probe = str(item.get("platform")), item.get("probe_id") or item.get("id")
        label = f"{platform}, {probe or 'no id'}"
        if not item.get("connected"):
            found.notes.append(f"{label}: not connected")
            continue
        board = found.board_of(platform.partition("/")[0])
        if board is None:
            found.notes.append(f"{label}: unknown platform; name its board with --board")
        elif not item.get("serial") or not probe:
            found.notes.append(f"{label}: no serial port or id: add a [[station]] by hand")
        else:
            serial = stable_path(str(item["serial"]))
            found.add(f"{board}-{str(probe)[-4:].lower()}", board, str(probe), serial)
    return found.bench()


def import_labgrid(
    path: Path | None = None,
    boards: Mapping[str, str] | None = None,
    ports: Callable[[], Sequence[SeenPort]] = list_ports,
) -> Bench:
    """Return the stations of an exporter's or an environment file of labgrid, or of all places.

    Args:
        path: The file; None for the places of the coordinator that ``LG_COORDINATOR`` names.
        boards: Board ids of groups, targets or places that do not say theirs.
        ports: The serial ports of this machine, for an exporter's ``USBSerialPort``.

    Raises:
        ConfigError: The file is neither of them, or a board is unknown.
        BenchError: Places are needed, and the coordinator or its client is not there.
    """
    found = _Found(boards)
    if path is None:
        for name, (tags, host) in places().items():
            _add_place(found, name, name, tags, host)
        return found.bench()
    content = _read(path)
    if not isinstance(content, dict):
        raise _not_a("file of labgrid", path, "groups of resources, or 'targets'")
    environment = isinstance(content.get("targets"), dict)
    known: dict[str, Any] | None = None
    groups = content["targets"] if environment else content
    for name, group in groups.items():
        resources = group.get("resources") if environment and isinstance(group, dict) else group
        place = _one(resources, ("RemotePlace",))
        if place is not None:
            known = places() if known is None else known
            wanted = str(place.get("name"))
            if wanted in known:
                _add_place(found, name, wanted, *known[wanted])
            else:
                found.notes.append(f"{name}: the coordinator has no place '{wanted}'")
        else:
            _add_resources(found, str(name), resources, ports)
    return found.bench()


def _add_place(
    found: _Found, name: str, place: str, tags: Mapping[str, str], host: str | None
) -> None:
    board = found.board_of(name, place, tags.get("board"))
    if board is None:
        found.notes.append(
            f"place {place}: unknown board; set its tag (`labgrid-client -p {place} set-tags "
            "board=...`) or use --board"
        )
        return
    probe = tags.get("probe") or f"remote:{host or 'HOST'}:5555"
    if "probe" not in tags:
        found.notes.append(f"place {place}: serve its probe at {probe} (`pyocd server`)")
    serial = f"{LABGRID_SERIAL}{place}"
    found.add(name, board, probe, serial, power=f"labgrid-client -p {place} power cycle")


def _add_resources(
    found: _Found, name: str, resources: Any, ports: Callable[[], Sequence[SeenPort]]
) -> None:
    serial = console_in(resources) or _local_port(_one(resources, _SERIALS), ports)
    debugger = _one(resources, _PROBES)
    if serial is None and debugger is None:
        return  # a group of other things
    board = found.board_of(name)
    if board is None:
        found.notes.append(f"{name}: unknown board; name it with --board")
    elif serial is None:
        found.notes.append(f"{name}: no serial port that is here: add 'serial' by hand")
    elif debugger is None:
        found.notes.append(f"{name}: no USBDebugger: add 'probe' by hand")
    else:
        match = debugger.get("match")
        number = match.get("ID_SERIAL_SHORT") if isinstance(match, Mapping) else None
        host = debugger.get("host") or "HOST"
        if number is None:
            found.notes.append(f"{name}: serve its probe at remote:{host}:5555 (`pyocd server`)")
        found.add(name, board, str(number or f"remote:{host}:5555"), serial)


def _local_port(
    facts: Mapping[str, Any] | None, ports: Callable[[], Sequence[SeenPort]]
) -> str | None:
    if facts is None:
        return None
    if facts.get("port"):
        return stable_path(str(facts["port"]))
    match = facts.get("match")
    number = match.get("ID_SERIAL_SHORT") if isinstance(match, Mapping) else None
    return next((p.device for p in ports() if number and p.serial_number == number), None)


def _one(resources: Any, kinds: Sequence[str]) -> Mapping[str, Any] | None:
    """Return the parameters of the first resource of these classes."""
    for name, facts in _resources(resources):
        kind = facts.get("cls", name)
        if kind in kinds:
            return facts
    return None


def _resources(resources: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for group in resources if isinstance(resources, list) else [resources]:
        for name, facts in group.items() if isinstance(group, Mapping) else ():
            yield str(name), facts if isinstance(facts, Mapping) else {}


class _Found:
    """Stations and notes so far."""

    def __init__(self, boards: Mapping[str, str] | None) -> None:
        self._named = {name: load_board(board).id for name, board in (boards or {}).items()}
        self._stations: list[Station] = []
        self.notes: list[str] = []

    def board_of(self, *names: str | None) -> str | None:
        """Return the board that was named for one of these, or whose id one of them contains."""
        for name in filter(None, names):
            if name in self._named:
                return self._named[name]
        plain = [_plain(name) for name in names if name]
        return next(
            (b.id for b in all_boards() if any(_plain(b.id) in name for name in plain)), None
        )

    def add(self, name: str, board: str, probe: str, serial: str, power: str | None = None) -> None:
        """Add a station, with a name that is free."""
        clean = re.sub(r"[^A-Za-z0-9._-]", "-", name)
        taken = {station.name for station in self._stations}
        number = 2
        unique = clean
        while unique in taken:
            unique, number = f"{clean}-{number}", number + 1
        self._stations.append(
            Station(name=unique, board=board, probe=probe, serial=serial, power=power)
        )

    def bench(self) -> Bench:
        """Return all of it."""
        return Bench(stations=tuple(self._stations), notes=tuple(self.notes))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _read(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as failure:
        what = f"cannot read {path}: {failure.strerror}"
        raise ConfigError(what, fix="check the path", path=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as failure:
        what = f"{path} is not YAML: {str(failure).splitlines()[0]}"
        raise ConfigError(what, fix="correct the file", path=str(path)) from None


def _not_a(kind: str, path: Path, expected: str) -> ConfigError:
    return ConfigError(f"{path} is no {kind}", expected=expected, fix="name another file")
