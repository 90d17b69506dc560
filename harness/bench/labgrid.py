"""Stations that are places of labgrid: acquire, find the console, release.

labgrid's own client does the work, as a command; a place's console has a new TCP port each time.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness.bench.station import LABGRID_SERIAL, Station
from harness.errors import BenchError, StationLocked

COORDINATOR = "LG_COORDINATOR"  # labgrid's environment variable
_COMMAND_S = 20.0
_MINE = "already acquired place"  # by this user, who wants to keep it
_RESOURCE = re.compile(r"^(?:Matching|Acquired) resource .*:\n((?:  .*\n?)+)", re.MULTILINE)


@contextmanager
def held_place(station: Station) -> Iterator[None]:
    """Acquire the labgrid place of a station, if it has one, for the length of the block.

    A place that its user has acquired before stays acquired.

    Raises:
        StationLocked: Another user has it.
        BenchError: labgrid's client is not installed, or reports something else.
    """
    if not station.serial.startswith(LABGRID_SERIAL):
        yield
        return
    run = _client(station.serial, "acquire")
    if run.returncode and _MINE not in run.stderr:
        what = f"place of station '{station.name}': {_told(run)}"
        if "acquired by" in run.stderr:
            fix = "wait for its user, or name another station"
            raise StationLocked(what, fix=fix, station=station.name)
        raise BenchError(what, fix="see `labgrid-client places` and `labgrid-client who`")
    try:
        yield
    finally:
        if not run.returncode:
            with suppress(BenchError):  # the coordinator has gone; it gives up what was acquired
                _client(station.serial, "release")


def console_of(url: str) -> str:
    """Return the URL of the console of an acquired place, ``labgrid://PLACE``.

    Raises:
        BenchError: labgrid's client is not installed or fails, or the place has no console.
    """
    import yaml

    run = _client(url, "env")
    if run.returncode:
        raise BenchError(f"console of '{url}': {_told(run)}", fix="see `labgrid-client show`")
    found = yaml.safe_load(run.stdout)
    for target in (found or {}).get("targets", {}).values():
        console = console_in(target.get("resources"))
        if console is not None:
            return console
    raise BenchError(
        f"the place of '{url}' has no console",
        expected="a NetworkSerialPort among its resources, with a port",
        fix="match the place with the resource: `labgrid-client add-match`",
    )


def console_in(resources: Any) -> str | None:
    """Return the URL of the first NetworkSerialPort among a target's resources, if there is one.

    Args:
        resources: A mapping from class to parameters, or a list of such mappings.
    """
    for group in resources if isinstance(resources, list) else [resources]:
        facts = group.get("NetworkSerialPort") if isinstance(group, Mapping) else None
        if isinstance(facts, Mapping) and facts.get("host") and facts.get("port"):
            raw = facts.get("protocol") == "raw"
            return f"{'socket' if raw else 'rfc2217'}://{facts['host']}:{facts['port']}"
    return None


def places(coordinator: str | None = None) -> dict[str, tuple[dict[str, str], str | None]]:
    """Return tags, and the host of a resource, of each place that the coordinator has.

    Raises:
        BenchError: labgrid's client is not installed, or the coordinator is not there.
    """
    query = f"?coordinator={coordinator}" if coordinator else ""
    run = _client(f"{LABGRID_SERIAL}{query}", "places")
    if run.returncode:
        raise BenchError(
            f"labgrid: {_told(run)}", fix=f"name the coordinator: {COORDINATOR}=HOST:PORT"
        )
    found = {}
    for line in filter(None, map(str.strip, run.stdout.splitlines())):
        name = line.split()[0]
        shown = _client(f"{LABGRID_SERIAL}{name}{query}", "show").stdout
        tags = re.search(r"^  tags: (.*)$", shown, re.MULTILINE)
        pairs = (item.partition("=") for item in (tags.group(1).split(", ") if tags else ()))
        hosts = (_host(text) for text in _RESOURCE.findall(shown))
        found[name] = {key: value for key, _, value in pairs}, next(filter(None, hosts), None)
    return found


def _host(text: str) -> str | None:
    with suppress(ValueError, SyntaxError, AttributeError):
        facts = ast.literal_eval(text.strip())
        return facts["params"].get("host") if facts["cls"] == "NetworkSerialPort" else None
    return None


def _client(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = shutil.which("labgrid-client")
    if command is None:
        raise BenchError(
            "labgrid-client is not on the PATH",
            where=url,
            fix="install labgrid (`pipx install labgrid`)",
        )
    place = urlsplit(url)
    coordinator = parse_qs(place.query).get("coordinator")
    options = ["-p", place.netloc] if place.netloc else []
    options += ["-x", coordinator[0]] if coordinator else []
    environment = {key: value for key, value in os.environ.items() if key != "LG_ENV"}
    try:
        return subprocess.run(
            [command, *options, *arguments],
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(
            f"labgrid-client {arguments[0]} has not ended after {_COMMAND_S:.0f} s",
            where=url,
            fix="check that the coordinator is well",
        ) from None


def _told(run: subprocess.CompletedProcess[str]) -> str:
    lines = (run.stderr.strip() or run.stdout.strip() or "no message").splitlines()
    return lines[-1].removeprefix("labgrid-client: ").removeprefix("Error: ")
