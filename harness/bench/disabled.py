"""Disable a station that keeps failing, until somebody has looked at it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.bench.station import Station
from harness.errors import HarnessError, StationDisabled
from harness.files import draft_of
from harness.paths import cache_dir


@dataclass(frozen=True, slots=True)
class Disabled:
    """Why a station is disabled."""

    station: str
    code: str  # of the last failure
    reason: str  # message of that failure
    since: str  # in ISO 8601


def disable(station: Station, failure: HarnessError) -> StationDisabled:
    """Disable a station for every later run; return the error that says so."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    note = Disabled(station.name, failure.code, failure.what, now)
    with draft_of(_path(station)) as draft:
        draft.write_text(json.dumps(asdict(note)), encoding="utf-8")
    return _error(station, note)


def why_disabled(station: Station) -> Disabled | None:
    """Return why a station is disabled, None where it is not."""
    try:
        return Disabled(**json.loads(_path(station).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        # An unreadable note still says that the station was disabled.
        return Disabled(station.name, "unknown", "its note cannot be read", "an unknown time")


def check_enabled(station: Station) -> None:
    """Raise `StationDisabled`, with the reason and since when, if the station is disabled."""
    if note := why_disabled(station):
        raise _error(station, note)


def enable(station: Station) -> None:
    """Let a station be used again."""
    _path(station).unlink(missing_ok=True)


def _error(station: Station, note: Disabled) -> StationDisabled:
    return StationDisabled(
        f"station '{station.name}' is disabled since {note.since}: {note.reason} "
        f"(error[{note.code}])",
        where=f"probe {station.probe}, {station.serial}",
        fix=f"fix the fault and run `harness bench check {station.name}`; a clean check re-enables "
        "the station",
        station=station.name,
        reason=note.code,
    )


def _path(station: Station) -> Path:
    # By probe and port: a station with another cable, or without faults, is another one.
    digest = hashlib.sha256(f"{station.probe}\n{station.serial}".encode()).hexdigest()
    return cache_dir() / "disabled" / f"{digest[:24]}.json"
