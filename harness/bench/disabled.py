"""Disable a station that keeps failing, until somebody has looked at it.

Each host and user keeps a note per station here; `harness.campaign.health` has all hosts agree by
the results store.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.bench.station import Station
from harness.errors import HarnessError, StationDisabled
from harness.files import draft_of
from harness.paths import cache_dir


@dataclass(frozen=True, slots=True)
class Note:
    """Whether a station is disabled, why, and who says so.

    Attributes:
        station: Name that the station has at that host.
        disabled: Whether it is; False after a clean check.
        code: Of the last failure; empty where it is not disabled.
        reason: Message of that failure.
        since: When this was noted, in ISO 8601.
        host: Where.
    """

    station: str
    disabled: bool
    code: str
    reason: str
    since: str
    host: str

    @property
    def text(self) -> str:
        """The note in a few words, for people."""
        when = f"since {self.since[:19]}" if self.disabled else f"checked {self.since[:19]}"
        by = "" if self.host in ("", platform.node()) else f" by host {self.host}"
        return f"disabled {when}{by}: {self.reason}" if self.disabled else f"{when}{by}"


def disable(station: Station, failure: HarnessError) -> StationDisabled:
    """Disable a station for every later run; return the error that says so."""
    note = _now(station, disabled=True, code=failure.code, reason=failure.what)
    write_note(station, note)
    return _error(station, note)


def enable(station: Station) -> None:
    """Let a station be used again."""
    write_note(station, _now(station, disabled=False, code="", reason=""))


def note_of(station: Station) -> Note | None:
    """Return what is noted about a station on this host, None where nothing is."""
    try:
        return Note(**json.loads(_path(station).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        # An unreadable note still says that the station was disabled.
        return Note(station.name, True, "unknown", "its note cannot be read", "an unknown time", "")


def write_note(station: Station, note: Note) -> None:
    """Replace what is noted about a station on this host."""
    with draft_of(_path(station)) as draft:
        draft.write_text(json.dumps(asdict(note)), encoding="utf-8")


def why_disabled(station: Station) -> Note | None:
    """Return why a station is disabled, None where it is not."""
    note = note_of(station)
    return note if note is not None and note.disabled else None


def check_enabled(station: Station) -> None:
    """Raise `StationDisabled`, with the reason and since when, if the station is disabled."""
    if note := why_disabled(station):
        raise _error(station, note)


def fingerprint(station: Station) -> str:
    """Return what identifies a station on any host, whatever its name is there.

    By probe and port: a station with another cable, or without faults, is another one. A virtual
    board is its host's own.
    """
    parts = [station.probe, station.serial, *([platform.node()] if station.virtual else [])]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _now(station: Station, *, disabled: bool, code: str, reason: str) -> Note:
    since = datetime.now(UTC).isoformat(timespec="microseconds")
    return Note(station.name, disabled, code, reason, since, platform.node())


def _error(station: Station, note: Note) -> StationDisabled:
    return StationDisabled(
        f"station '{station.name}' is {note.text} (error[{note.code}])",
        where=f"probe {station.probe}, {station.serial}",
        fix=f"fix the fault and run `harness bench check {station.name}`; a clean check re-enables "
        "the station",
        station=station.name,
        reason=note.code,
        key=fingerprint(station),
        note=asdict(note),
    )


def _path(station: Station) -> Path:
    return cache_dir() / "disabled" / f"{fingerprint(station)}.json"
